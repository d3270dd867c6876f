"""`erasure evaluate`, `audit`, `distance` and `judge`: what a model shows, and how far it is."""
