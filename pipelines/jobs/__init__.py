"""What a command is asked for, as plain values, and the work that does it."""
