"""From a checkpoint in memory to folders and single files that others load."""
