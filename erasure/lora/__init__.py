"""Thin factors of layers: which layers have them, the files that hold them, and merging them."""
