"""Attacks that take gradients by prompts and embeddings; no weight moves."""
