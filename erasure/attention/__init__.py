"""Cross-attention seen from outside: its maps, where an object is, and how to put it out."""
