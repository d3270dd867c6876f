"""`erasure audit`: attack an erased model, with controls, and say only what was seen."""
