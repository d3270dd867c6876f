"""Times that a network in bfloat16 hears as they were drawn.

diffusers casts s to the type of the hidden states before it is multiplied by 1000, and bfloat16 has
8 bits of it: 0.5019 becomes 0.5. The sample was noised at the time that was drawn, and a network in
float32 is told that, so a step's update in bfloat16 went astray by the time alone, and not by the
rounding of its products.
"""

# B samples.

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erasure.architectures.loading import maker_of


class ExactTimes:
    """Takes the time that a network is called with to the part that embeds it."""

    def __init__(self, factor: float) -> None:
        """Begin.

        Args:
            factor: by which the network multiplies s before that part.
        """
        self._factor = factor
        self._time: Tensor | None = None

    def note(self, network: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Note the time, (B,), that the network is called with."""
        self._time = named.get("timestep")

    def put(self, part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Put it in the place of the rounded one; leave what was not rounded, or came rounded."""
        time, rounded = self._time, inputs[0]
        self._time = None  # so that nothing of a pass stays in the network
        if time is None or time.dtype != torch.float32 or rounded.dtype == time.dtype:
            return None
        return (self._factor * time, *inputs[1:])


def exact_maker_of(
    kind: str, part: str, factor: float = 1000.0
) -> Callable[[Mapping[str, Any]], nn.Module]:
    """What makes the network of a config, as `maker_of`; it embeds the time as it is told it.

    In float32 it is that of diffusers. What a pipeline of diffusers has rounded itself stays so.

    Args:
        kind: class of a transformer in diffusers, which is called with `timestep` by name.
        part: its module whose first input is the time.
        factor: by which s is multiplied before that module.
    """
    make = maker_of(kind)

    def made(config: Mapping[str, Any]) -> nn.Module:
        network, times = make(config), ExactTimes(factor)
        network.register_forward_pre_hook(times.note, with_kwargs=True)
        network.get_submodule(part).register_forward_pre_hook(times.put)
        return network

    return made
