"""One run of erasing from a recipe to its folder."""
