"""Fill networks of diffusers and transformers with a checkpoint's weights."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erasure.errors import CheckpointError


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
    with torch.device("meta"):
        network = build({k: v for k, v in config.items() if not k.startswith("_")})
    fill(network, weights, component)
    return network.eval().requires_grad_(False)


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
