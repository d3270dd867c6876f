"""Fill networks of diffusers and transformers with a checkpoint's weights."""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint


_DROPOUT: Final = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class OnDevice(Mapping[str, Tensor]):
    """Weights that go to a device one after the other, each when it is asked for.

    A network of them is built without a copy of the whole in main memory, where the weights are
    mapped to their files.
    """

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        self._weights, self._device = weights, device

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[name].to(self._device)

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def on_device(checkpoint: "Checkpoint", device: torch.device) -> "Checkpoint":
    """The checkpoint with weights that go to a device when they are asked for."""
    if device.type == "cpu":
        return checkpoint
    moved = {name: OnDevice(part, device) for name, part in checkpoint.components.items()}
    return replace(checkpoint, components=moved)


class Unset(TorchFunctionMode):
    """Draws no first values for weights, which a third of the time to build a network went into.

    They have no memory on `meta`, and a checkpoint's weights take their place.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def maker_of(kind: str) -> Callable[[Mapping[str, Any]], nn.Module]:
    """What makes the network that a config of diffusers' class of that name describes."""

    def made(config: Mapping[str, Any]) -> nn.Module:
        import diffusers

        network: nn.Module = getattr(diffusers, kind).from_config(dict(config))
        return network

    return made


def loaded(
    build: Callable[[Mapping[str, Any]], nn.Module],
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    component: str,
) -> Any:  # noqa: ANN401
    """Build the network of a config with these weights, which it takes over, in evaluation mode.

    Raises:
        CheckpointError: the weights do not fit the config.
    """
    network = unfilled(build, {k: v for k, v in config.items() if not k.startswith("_")})
    fill(network, weights, component)
    return network


def unfilled(build: Callable[[Mapping[str, Any]], nn.Module], config: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Build the network of a config on `meta`, in evaluation mode: without memory for weights.

    An erasure builds the same network several times, and to build one takes five times as long as
    to unpickle it. The pickle never leaves this process.
    """
    pickled = _pickled(build, json.dumps(dict(config), sort_keys=True))
    return _built(build, config) if pickled is None else pickle.loads(pickled)


def _built(build: Callable[[Mapping[str, Any]], nn.Module], config: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"), Unset():
        return build(config).eval().requires_grad_(False)


@lru_cache(maxsize=16)
def _pickled(build: Callable[[Mapping[str, Any]], nn.Module], config: str) -> bytes | None:
    network = _built(build, json.loads(config))
    try:
        return pickle.dumps(network, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):  # a class that cannot be imported
        return None


def recomputing(network: nn.Module) -> None:
    """Bring a network into the mode in which libraries recompute activations, which is that of
    training, and leave its dropout as in evaluation: an edit does not depend on how it is
    computed."""
    network.train()
    for module in network.modules():
        if isinstance(module, _DROPOUT):
            module.eval()


def copied(
    checkpoint: "Checkpoint",
    dtype: torch.dtype,
    *,
    build: Callable[[Mapping[str, Any]], nn.Module],
    component: str,
) -> nn.Module:
    """Build the network of a component in evaluation mode, its weights copied, so that training
    leaves the checkpoint as it is.

    Args:
        build: makes the network that a config describes.

    Raises:
        CheckpointError: the weights do not fit the config.
    """
    weights = {k: v.to(dtype, copy=True) for k, v in checkpoint.components[component].items()}
    config = checkpoint.description.components[component]
    network: nn.Module = loaded(build, config, weights, component)
    return network


def fill(network: nn.Module, weights: Mapping[str, Tensor], component: str) -> None:
    """Put weights into a network built on `meta`.

    Raises:
        CheckpointError: they do not fit it.
    """
    try:
        network.load_state_dict(dict(weights), assign=True)
    except RuntimeError as err:
        reason = str(err).splitlines()[-1].strip()
        raise CheckpointError(
            f"the weights of the {component} do not fit its config ({reason}); check that both "
            "come from the same checkpoint"
        ) from err
