"""From raw files to prepared arrays: get them, split them, keep them."""
