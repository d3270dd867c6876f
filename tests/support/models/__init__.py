"""Random models of a few thousand weights, of every family, as their publishers store them."""
