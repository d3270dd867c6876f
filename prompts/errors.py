"""What can go wrong with prompts; a message says what was found, wanted, and what to do."""


class PromptError(ValueError):
    """Root of every error this package raises on purpose."""
