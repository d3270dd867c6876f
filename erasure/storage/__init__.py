"""Files: whole or not at all, checked when read, claimed while written."""
