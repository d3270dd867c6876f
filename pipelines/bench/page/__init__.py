"""The page of a benchmark: one file, no server, no network."""
