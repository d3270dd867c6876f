"""Data sets of the classifier commands."""
