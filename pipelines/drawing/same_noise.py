"""Pictures of two models that are put beside each other begin with the same noise."""

from erasure.architectures.building import own_size
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError, way


def require_same_size(before: Checkpoint, after: Checkpoint) -> None:
    """Refuse two models that are to draw at their own sizes, where these differ: noise of another
    shape is other noise.

    Raises:
        ConfigError: they differ; both are named.
    """
    sizes = [own_size(one) for one in (before, after)]
    if sizes[0] != sizes[1]:
        one, other = (f"{width}x{height}" for width, height in sizes)
        raise ConfigError(
            f"the model before draws {one} pixels by itself and the one after {other}, so that "
            "their pictures would not begin with the same noise; give ",
            way("size"),
            " for both",
        )
