"""Say which package to install where an optional one is missing."""

from eval.errors import EvalError

PROJECT = "diffusion-erasure"


def not_installed(what: str, extra: str, cause: ImportError) -> EvalError:
    """The error to raise where `what` needs an extra of this project that is not there."""
    return EvalError(
        f"{what} cannot be loaded ({cause}); install it with pip install '{PROJECT}[{extra}]'"
    )
