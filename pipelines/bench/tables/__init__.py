"""The table of a benchmark: its columns, its order, and the forms it is written in."""
