"""Weights of judges: found, checked, never fetched in silence."""
