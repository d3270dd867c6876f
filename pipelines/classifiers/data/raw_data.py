"""What a source of labelled examples hands over, before anything is drawn from it."""

# N examples.

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from erasure.errors import ConfigError

Kind = Literal["image", "text", "table"]


@dataclass(frozen=True, slots=True, eq=False)
class RawSet:
    """Examples and labels in the order of the source."""

    inputs: tuple[Tensor, ...]
    """Images: one tensor uint8 (N, C, H, W). Tables: one float32 (N, features). Text: token
    ids and mask, int64 and bool (N, L)."""
    labels: Tensor
    """(N,), int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> "RawSet":
        """These examples, in this order; int64 (n,)."""
        return RawSet(tuple(value[index] for value in self.inputs), self.labels[index])


@dataclass(frozen=True, slots=True, eq=False)
class RawData:
    """A whole source."""

    kind: Kind
    train: RawSet
    test: RawSet | None
    """None where the source has no test set of its own; then a fifth of `train` becomes it."""
    classes: tuple[str, ...]
    """Name of each label, in their order."""
    origin: str
    """Where the examples come from, and their licence where it is known."""
    vocabulary: int = 0
    """Text: token ids lie below it."""


class Source(Protocol):
    """Reads one data set."""

    def __call__(self, path: Path | None, /) -> RawData:
        """Read it from `path`, or from where it usually is."""
        ...


def cache_folder() -> Path:
    """Where what took time to read or render is kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("ERASURE_CACHE") or home / "diffusion-erasure") / "classifiers"


def images(pixels: Tensor, labels: Sequence[int] | Tensor) -> RawSet:
    """Pictures uint8 (N, H, W), (N, H, W, 3) or (N, 3, H, W) with their labels.

    Raises:
        ConfigError: another shape, or another number of labels.
    """
    truth = torch.as_tensor(labels, dtype=torch.int64)
    if pixels.dim() == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.dim() == 4 and pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
    if pixels.dim() != 4 or pixels.shape[1] not in (1, 3) or pixels.dtype != torch.uint8:
        raise ConfigError(
            f"pictures have the shape {list(pixels.shape)} and type {pixels.dtype}; give bytes, "
            "(N, H, W) or (N, H, W, 3)"
        )
    if len(truth) != len(pixels):
        raise ConfigError(
            f"there are {len(pixels)} pictures and {len(truth)} labels; give one each"
        )
    return RawSet((pixels,), truth)
