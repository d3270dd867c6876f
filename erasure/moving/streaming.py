"""A network whose blocks lie in main memory, each on the device while it computes.

For models whose weights alone do not fit the device. diffusers and accelerate move blocks too; the
hooks here also serve passes with a gradient and weights that a training writes to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.building import build_network
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.pass_costs import recomputed_blocks, require_recomputing

_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a block has a parameter."""

    module: nn.Module
    key: str
    parameter: nn.Parameter

    def put(self, values: Tensor) -> None:
        """Compute with these values from now on.

        A backward pass is left with what it saved: torch saves a parameter that wants a gradient
        apart from its values of later, but one that wants none as it is. So that one is another
        each time.
        """
        if self.parameter.requires_grad:
            self.parameter.data = values
        else:
            self.module._parameters[self.key] = nn.Parameter(values, requires_grad=False)

    def clear(self, away: Tensor) -> None:
        """Hold no values any more."""
        self.parameter.data = away
        self.module._parameters[self.key] = self.parameter


class Streamed:
    """Brings the weights of each block to the device before it computes, and lets them go after.

    While a block is away, its parameters are a single NaN, spread to their shapes, on the device:
    they take no memory, gradients find the type and the place that they are of, and whatever read
    them by mistake would end in a loss that is not finite. Backward passes need gradient
    checkpointing, which computes a block anew, and so brings it back, before its gradients are
    taken.
    """

    def __init__(self, network: nn.Module, blocks: Iterable[str], device: torch.device) -> None:
        """Take the weights of the blocks into main memory that a device copies from by itself, and
        put all others onto the device.

        Args:
            network: on the CPU, in the type that it computes in.
            blocks: names of modules that gradient checkpointing computes anew.
        """
        self.homes: dict[nn.Parameter, Tensor] = {}
        """Parameter of a block -> its values in main memory; whoever changes a weight changes them
        here."""
        self._hooks: list[Any] = []
        for name in blocks:
            block = network.get_submodule(name)
            own = [
                _Place(module, key, parameter)
                for module in block.modules()
                for key, parameter in module.named_parameters(recurse=False)
            ]
            for parameter in (place.parameter for place in own):
                home = parameter.data
                self.homes[parameter] = home.pin_memory() if device.type == "cuda" else home
                parameter.data = _away(home, device)
            self._hook(block, own, device)
        network.to(device)

    def _hook(self, block: nn.Module, own: "list[_Place]", device: torch.device) -> None:
        computes = False

        def bring(*_: object) -> None:
            nonlocal computes
            computes = True
            self._bring(own, device)

        def let_go(*_: object) -> None:
            nonlocal computes
            computes = False
            self._let_go(own, device)

        self._hook_one(block, bring, let_go)
        for module in block.modules():
            alone = [place for place in own if place.module is module]
            if module is block or not alone:
                continue

            # What a network computes by a part of a block apart from the block, as DiT its last
            # layer's condition.
            def bring_alone(*_: object, alone: list[_Place] = alone) -> None:
                if not computes:
                    self._bring(alone, device)

            def let_go_alone(*_: object, alone: list[_Place] = alone) -> None:
                if not computes:
                    self._let_go(alone, device)

            self._hook_one(module, bring_alone, let_go_alone)

    def _hook_one(
        self, module: nn.Module, bring: Callable[..., None], let_go: Callable[..., None]
    ) -> None:
        self._hooks.append(module.register_forward_pre_hook(bring))
        # Checkpointing ends a pass by an error once it has all that the backward pass wants.
        self._hooks.append(module.register_forward_hook(let_go, always_call=True))

    def _bring(self, places: "list[_Place]", device: torch.device) -> None:
        for place in places:
            # On the stream that computes, so that what follows waits for it.
            home = self.homes[place.parameter]
            place.put(home.to(device, non_blocking=True, copy=True))

    def _let_go(self, places: "list[_Place]", device: torch.device) -> None:
        for place in places:
            place.clear(_away(self.homes[place.parameter], device))

    def restore(self) -> None:
        """Take the hooks off and leave the blocks in main memory, with the values that they have;
        the network computes no more."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for parameter, home in self.homes.items():
            parameter.data = home


def streamed_network(
    checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, Streamed]:
    """The main component, in evaluation mode, its weights copied, and what moves its blocks.

    Raises:
        ConfigError: its activations cannot be computed anew, by which its blocks are known.
    """
    family = checkpoint.architecture
    config = checkpoint.description.components[family.main]
    require_recomputing(family, config, "stream")
    network = build_network(checkpoint, dtype, _CPU)
    # Passes without a gradient are as before; those with one do not hold all blocks at once.
    network.enable_gradient_checkpointing()  # type: ignore[operator]
    return network, Streamed(network, recomputed_blocks(family, config), device)


def _away(home: Tensor, device: torch.device) -> Tensor:
    return torch.full((), nan, dtype=home.dtype, device=device).expand(home.shape)
