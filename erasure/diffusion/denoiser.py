"""What objectives and saliency need from a diffusion model: one function and what it is told."""

# B samples, L tokens, D features of the text encoder, C x H x W latents.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Condition:
    """What the model is told about each sample."""

    tokens: Tensor
    """(B, L, D) text features."""
    added: Mapping[str, Tensor] = field(default_factory=dict)
    """Whatever else a family wants, by the name it uses, (B, ...)."""

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Tensor) -> "Condition":
        """The chosen rows, in the order of `rows`, (B,) int64."""
        return Condition(self.tokens[rows], {k: v[rows] for k, v in self.added.items()})

    def to(self, device: torch.device, dtype: torch.dtype) -> "Condition":
        """Moved and cast."""
        added = {k: v.to(device, dtype) for k, v in self.added.items()}
        return Condition(self.tokens.to(device, dtype), added)


def join(conditions: Sequence[Condition]) -> Condition:
    """One batch after the other; all have the same `added` names."""
    return Condition(
        torch.cat([c.tokens for c in conditions]),
        {k: torch.cat([c.added[k] for c in conditions]) for k in conditions[0].added},
    )


class Denoiser(Protocol):
    """Predict the noise, or the velocity, in noisy latents."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """x_t (B, C, H, W), t (B,) int64 -> prediction (B, C, H, W)."""
        ...
