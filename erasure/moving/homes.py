"""Where the weights of a network lie: with it, or those of streamed blocks in main memory."""

from collections.abc import Mapping

from torch import Tensor, nn

Homes = Mapping[nn.Parameter, Tensor]
"""Parameter of a streamed block -> its values in main memory; empty where nothing is streamed."""


def learned_at(network: nn.Module, homes: Homes) -> dict[str, Tensor]:
    """Name -> values of each parameter, where they lie; whoever changes one changes it there."""
    return {name: homes.get(one, one.detach()) for name, one in network.named_parameters()}


def weights_at(network: nn.Module, homes: Homes) -> dict[str, Tensor]:
    """The same of all weights, those that no training moves among them."""
    weights: dict[str, Tensor] = network.state_dict()
    there = network.named_parameters(remove_duplicate=False)
    return {**weights, **{name: homes[one] for name, one in there if one in homes}}
