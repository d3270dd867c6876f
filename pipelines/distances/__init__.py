"""The distances of a model to one that was trained without the concept."""
