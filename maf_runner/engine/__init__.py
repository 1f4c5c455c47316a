"""How a model is computed, not what: steps, Adam, blocks, products, chunks."""

CHOICES = ("auto", "native", "compiled", "eager")  # of the setting ``engine``
