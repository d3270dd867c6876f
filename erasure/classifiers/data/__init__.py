"""Batches, samples and recipes of classifier training."""
