"""Weights that are computed one by one when they are asked for, so that no second model is held."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LazyWeights(Mapping[str, Tensor]):
    """Some weights of a network, each made from its name and value."""

    source: Mapping[str, Tensor]
    names: tuple[str, ...]
    change: Callable[[str, Tensor], Tensor]
    """Name and value -> new value of the same shape; it does not write to what it is given."""
    made_of: Mapping[str, Tensor] = field(default_factory=dict)
    """What was searched or learned for them, by name; empty where settings say it all."""

    def __getitem__(self, name: str) -> Tensor:
        return self.change(name, self.source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def matrices(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the matrices and convolutions, which are what a compression changes."""
    return tuple(name for name, value in weights.items() if value.dim() >= 2)
