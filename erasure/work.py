"""What an erasure had computed: passes of networks and pictures, counted where they happen."""

# B samples, C x H x W latents.

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition, Denoiser


@dataclass(slots=True)
class Work:
    """Counts; one pass is that of one sample, so they do not depend on how work is cut.

    A pass that gradient checkpointing makes again is not counted anew, nor one that a run makes
    again after it was cut.
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

    def add(self, other: "Work") -> None:
        """Count what another counted as well."""
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))

    def take(self) -> "Work":
        """What was counted so far, which begins anew."""
        counted = Work(**asdict(self))
        for entry in fields(self):
            setattr(self, entry.name, 0)
        return counted

    def row(self) -> Tensor:
        """The counts in the order of the fields, (6,) float64: exact up to 2**53."""
        return torch.tensor(list(asdict(self).values()), dtype=torch.float64)

    @classmethod
    def of_row(cls, row: Tensor) -> "Work":
        """The inverse of `row`.

        Raises:
            ValueError: it has another shape, or holds what is no count.
        """
        names = [entry.name for entry in fields(cls)]
        counts = row.tolist()
        if row.shape != (len(names),) or not all(c >= 0 and c == int(c) for c in counts):
            raise ValueError(f"its counts of work are {counts}")
        return cls(**{name: int(count) for name, count in zip(names, counts, strict=True)})

    def to_dict(self) -> dict[str, int]:
        """Name -> count; plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counted:
    """A denoiser whose passes are counted, those of its backward passes too."""

    denoise: Denoiser
    work: Work

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W)."""
        answer = self.denoise(x_t, t, condition)
        self.work.forward += len(x_t)
        if answer.requires_grad:
            answer.register_hook(self._back)
        return answer

    def _back(self, gradient: Tensor) -> None:
        self.work.backward += len(gradient)


def told_work(stages: Mapping[str, Work]) -> dict[str, Any]:
    """What a record says: all together, and stage by stage where there was any; JSON values."""
    total = Work()
    for work in stages.values():
        total.add(work)
    each = {name: work.to_dict() for name, work in stages.items() if work != Work()}
    return {**total.to_dict(), "stages": each}
