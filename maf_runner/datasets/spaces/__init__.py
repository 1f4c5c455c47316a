"""The spaces that models work in, and the way back: images, tables."""
