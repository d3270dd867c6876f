"""How numbers and tables are written for people, the same in every report."""
