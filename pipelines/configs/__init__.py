"""Recipes: read, checked, merged, written back."""
