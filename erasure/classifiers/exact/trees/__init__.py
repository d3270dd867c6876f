"""Tree ensembles that forget exactly."""

from erasure.classifiers.exact.trees.forest import ExtraTrees, Forest, RandomForest

__all__ = ["ExtraTrees", "Forest", "RandomForest"]
