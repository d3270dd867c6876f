"""The process a command runs in, and those beside it."""
