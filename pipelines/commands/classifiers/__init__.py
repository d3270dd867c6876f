"""`erasure classify`: the same for classifiers."""
