"""How updates of the parameters are computed: the paths of a training step."""
