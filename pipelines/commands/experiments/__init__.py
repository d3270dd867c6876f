"""Commands that run a whole experiment of many erasures."""
