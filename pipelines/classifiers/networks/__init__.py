"""Networks that `classify train` can train."""
