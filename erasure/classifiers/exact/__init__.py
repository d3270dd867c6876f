"""Models that forget exactly, or with a bound."""
