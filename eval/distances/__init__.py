"""How far a model is from one that never saw the concept, in units of two such models."""
