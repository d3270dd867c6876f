"""An edit as a sparse, reversible file."""
