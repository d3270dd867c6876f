"""Text encoders and tokenizers, and how prompts become conditions through them."""
