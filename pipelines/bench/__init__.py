"""The benchmark of diffusion unlearning: every method on every concept, cell by cell."""
