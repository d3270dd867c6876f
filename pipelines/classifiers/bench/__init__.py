"""The benchmark of all classifier methods."""
