"""From which score on a picture is flagged."""

from eval.errors import EvalError


def checked_share(threshold: float) -> float:
    """Return a threshold for a probability.

    Raises:
        EvalError: it is outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise EvalError(f"the threshold is {threshold:g}; give a share in 0 to 1")
    return threshold
