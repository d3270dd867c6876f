"""What can go wrong while evaluating; a message says what was found, wanted, and what to do."""


class EvalError(Exception):
    """Root of every error this package raises on purpose."""
