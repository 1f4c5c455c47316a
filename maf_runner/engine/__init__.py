"""How a model is computed, not what: steps, Adam, blocks, products, chunks."""
