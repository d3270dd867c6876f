"""Several runs side by side: one table, what was recognised, where weights moved, attacks."""
