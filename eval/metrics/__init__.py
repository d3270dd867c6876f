"""Distances between sets of pictures, and scores of single ones."""
