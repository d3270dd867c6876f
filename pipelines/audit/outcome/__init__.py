"""What an audit found: counts, verdicts, and the file that holds them."""
