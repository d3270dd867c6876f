"""Searches for prompts and embeddings, as pure functions of a denoiser and a text encoder."""
