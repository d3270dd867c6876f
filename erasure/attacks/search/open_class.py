"""The concept's row in a model's table of classes, left open for a learned one."""

# M samples, B samples, E features of a row.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from erasure.architectures.labels.label_encoder import LABELS
from erasure.attacks.forward.lazy_weights import LazyWeights
from erasure.attacks.payload import Case, Payload
from erasure.attacks.search.soft_row import Vectors
from erasure.attacks.target import Target
from erasure.diffusion.denoiser import Condition

ROW: Final = "row"
"""Name in a condition of the row that stands in the place of the class's own, (B, E), all equal."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenClass:
    """Where a row goes in a model that is told a class. It is its own lessons: one class is all
    that is told."""

    target: Target
    label: int
    tables: Mapping[str, Tensor]
    """Name -> (K, E), the table of classes; equal copies where a family keeps them."""

    @property
    def lessons(self) -> "OpenClass":
        """What is told while it is learned."""
        return self

    @property
    def prompts(self) -> tuple[str, ...]:
        """The class."""
        return self.target.concept.prompts[:1]

    @property
    def open_places(self) -> int:
        """One row."""
        return 1

    @property
    def limits(self) -> list[float]:
        """The length of the longest row of the table."""
        table = next(iter(self.tables.values()))
        return [float(table.float().norm(dim=1).max())]

    def told(self, rows: Sequence[Tensor], which: Tensor) -> Condition:
        """The class with a row in its place; gradients reach it.

        Args:
            rows: one (M, 1, E), whose M are equal.
            which: (M,) int64.
        """
        (row,) = rows
        return Condition({LABELS: torch.full_like(which, self.label), ROW: row[:, 0]})

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """The network with the condition's row in its table: (B, C, H, W), (B,) -> (B, C, H, W)."""
        row = condition.named(ROW)[0]
        tables = {name: _with_row(self.label, row, name, own) for name, own in self.tables.items()}
        network = _Exchanged(self.target.network, tables)
        answer: Tensor = self.target.architecture.denoiser(network)(x_t, t, condition)
        return answer

    def start(self, own: bool, chance: int) -> Vectors:
        """The class's own row, or any row, by a number of chance."""
        table = next(iter(self.tables.values()))
        number = self.label if own else chance % len(table)
        return (table[number : number + 1].float().cpu(),)

    def payload(self, case: Case, vectors: Vectors, replay: Mapping[str, Any]) -> Payload:
        """Draw a case with the row in every table."""
        (row,) = vectors
        change = partial(_with_row, self.label, row[0])
        weights = LazyWeights(self.tables, tuple(self.tables), change, {ROW: row})
        return Payload(prompt=case.prompt, weights=weights, replay={**replay, "class": self.label})


class _Exchanged(nn.Module):
    """A network that computes with other values of some weights, which gradients reach."""

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._call = partial(functional_call, network, dict(weights))

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call the network."""
        return self._call(args, kwargs)


def _with_row(label: int, row: Tensor, name: str, table: Tensor) -> Tensor:
    """The table with another row: (K, E)."""
    at = torch.tensor([label], device=table.device)
    return table.index_copy(0, at, row.to(table)[None])


def open_class(target: Target) -> OpenClass:
    """Open the concept's row; only of a model that is told classes."""
    is_table = target.architecture.class_table
    assert target.classes is not None
    assert is_table is not None
    tables = {name: value for name, value in target.learned.items() if is_table(name)}
    return OpenClass(target, target.classes.label(target.concept.prompts[0]), tables)
