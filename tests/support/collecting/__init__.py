"""What of the tests runs, and where."""
