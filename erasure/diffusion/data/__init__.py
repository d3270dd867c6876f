"""What an erasure reads: pictures and prompts, encoded once."""
