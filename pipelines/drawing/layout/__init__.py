"""Grids and sheets of pictures: where things stand, and the letters on them."""
