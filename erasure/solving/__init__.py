"""Least squares over the rows of weights: what the methods in closed form share."""
