"""The weights that come out of a training, each made when it is asked for."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from erasure.diffusion.precision import wide
from erasure.masks.positions import Positions


class Trained(Mapping[str, Tensor]):
    """Name -> weight of a network that was trained, float32 or wider on the CPU, made when it is
    asked for: a second copy of the whole network is never there."""

    def __init__(
        self, network: nn.Module, rows: Mapping[str, Positions], selected: Mapping[str, Tensor]
    ) -> None:
        """Hold the network, which may be of bfloat16.

        Args:
            network: with the values of `selected` in it, rounded to its type.
            rows: where they lie in it.
            selected: a vector for each weight that moved.
        """
        self._weights = dict(network.state_dict())
        self._rows = rows
        self.selected = {name: value.detach() for name, value in selected.items()}

    @torch.no_grad()
    def __getitem__(self, name: str) -> Tensor:
        value = wide(self._weights[name].detach().cpu())
        if value.dtype != self._weights[name].dtype and name in self._rows:
            flat, places = value.flatten(), self._rows[name].indices().long().cpu()
            value = flat.index_copy(0, places, self.selected[name].cpu()).view(value.shape)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
