"""Tables laid out, and written in five forms."""
