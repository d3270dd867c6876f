"""Models that are told a class by its number and read no text."""
