"""The networks of all shards as the tensors of one file, and back."""

# S shards.

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from erasure.classifiers.exact.sisa.sisa_training import frozen
from erasure.errors import CheckpointError


def shard_tensors(shards: Sequence[nn.Module | None]) -> dict[str, Tensor]:
    """Weights and statistics of every shard, on CPU, `shard-000.` and so on before the name."""
    return {
        f"{_front(number)}{name}": value.detach().cpu()
        for number, shard in enumerate(shards)
        if shard is not None
        for name, value in shard.state_dict().items()
    }


def shard_networks(
    path: Path, start: nn.Module, tensors: Mapping[str, Tensor], count: int
) -> tuple[nn.Module | None, ...]:
    """The inverse of `shard_tensors`: (S,), None for a shard of which there is no tensor.

    Args:
        path: of the file, for the message.
        start: a network of their kind.
        count: S.

    Raises:
        CheckpointError: they are of another network.
    """
    return tuple(_network(path, start, tensors, _front(number)) for number in range(count))


def _front(number: int) -> str:
    return f"shard-{number:03d}."


def _network(
    path: Path, start: nn.Module, tensors: Mapping[str, Tensor], front: str
) -> nn.Module | None:
    own = {name[len(front) :]: t for name, t in tensors.items() if name.startswith(front)}
    if not own:
        return None
    model = copy.deepcopy(start)
    try:
        model.load_state_dict(own)
    except RuntimeError as err:
        raise CheckpointError(f"{path} holds shards of another network ({err})") from err
    return frozen(model)
