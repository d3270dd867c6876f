"""What an erasure had computed: passes of networks and pictures, counted where they happen."""

# B samples, C x H x W latents.

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition, Denoiser


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Counts of single samples, pictures and prompts, so they do not depend on how work is cut.

    What gradient checkpointing computes again is not counted anew, nor a step that a run takes
    again after it was cut, nor what lay in a cache: it is used all the same.
    """

    forward: int = 0
    """Samples through the network that is edited."""
    backward: int = 0
    """Samples back through it."""
    text: int = 0
    """Prompts through the text encoders."""
    drawn: int = 0
    """Pictures that the model drew."""
    encoded: int = 0
    """Pictures through the autoencoder into latents."""
    rolled_out: int = 0
    """Latents that a network drew in part or in full, without a picture."""

    def __add__(self, other: "Work") -> "Work":
        """Both together."""
        own, more = asdict(self), asdict(other)
        return Work(**{name: own[name] + more[name] for name in own})

    def times(self, count: int) -> "Work":
        """The same so many times."""
        return Work(**{name: count * value for name, value in asdict(self).items()})

    def row(self) -> Tensor:
        """The counts in the order of the fields, (6,) float64: exact up to 2**53."""
        return torch.tensor(list(asdict(self).values()), dtype=torch.float64)

    @classmethod
    def of_row(cls, row: Tensor) -> "Work":
        """The inverse of `row`.

        Raises:
            ValueError: it has another shape, or holds what is no count.
        """
        names, counts = [entry.name for entry in fields(cls)], row.flatten().tolist()
        if len(counts) != len(names) or not all(c >= 0 and c == int(c) for c in counts):
            raise ValueError(f"its counts of work are {counts}")
        return cls(**{name: int(count) for name, count in zip(names, counts, strict=True)})

    def to_dict(self) -> dict[str, int]:
        """Name -> count; plain JSON values."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """A count that goes on."""

    work: Work = field(default_factory=Work)

    def count(self, **more: int) -> None:
        """Count more of some fields of `Work`."""
        self.work += Work(**more)

    def add(self, work: Work) -> None:
        """Count what was counted elsewhere as well."""
        self.work += work

    def take(self) -> Work:
        """What was counted; the count begins anew."""
        work, self.work = self.work, Work()
        return work


@dataclass(frozen=True, slots=True)
class Counted:
    """A denoiser whose passes are counted, those of its backward passes too."""

    denoise: Denoiser
    tally: Tally

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W)."""
        answer = self.denoise(x_t, t, condition)
        self.tally.count(forward=len(x_t))
        if answer.requires_grad:
            answer.register_hook(self._back)
        return answer

    def _back(self, gradient: Tensor) -> None:
        self.tally.count(backward=len(gradient))


def work_table(stages: Mapping[str, Work | None]) -> dict[str, Any]:
    """What a record says: all together, and stage by stage where there was any; JSON values.

    Args:
        stages: name -> its work; None where it is not known, which is then said of the stage and
            is not in the sum.
    """
    total = Work()
    for work in stages.values():
        total += work or Work()
    each = {name: work and work.to_dict() for name, work in stages.items() if work != Work()}
    return {**total.to_dict(), "stages": each}


def work_said(record: object) -> str:
    """One line of what a record says; empty where it says nothing that can be read."""
    counts = record if isinstance(record, Mapping) else {}
    names = {entry.name: counts.get(entry.name) for entry in fields(Work)}
    if not all(type(value) is int and value >= 0 for value in names.values()):
        return ""
    said = (
        f"{names['forward']:,} passes forward and {names['backward']:,} back, "
        f"{names['text']:,} prompts read; pictures: {names['drawn']:,} drawn, "
        f"{names['encoded']:,} encoded, {names['rolled_out']:,} rolled out"
    )
    stages = counts.get("stages")
    unknown = [n for n, v in stages.items() if v is None] if isinstance(stages, Mapping) else []
    return f"{said}; not known: {', '.join(map(str, unknown))}" if unknown else said
