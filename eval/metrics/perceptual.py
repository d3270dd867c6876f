"""How far a picture moved: distance between the same prompt and seed before and after."""

# B pairs of pictures of HxW pixels, F channels, G positions a side.

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.errors import EvalError
from eval.metrics.lite_features import LITE_NAMES, OFFLINE, LiteMaps
from eval.metrics.lpips import BACKBONES, LpipsDistance
from eval.metrics.metric_value import MetricValue
from eval.pictures.picture_bytes import Pictures
from eval.rates.intervals import mean_interval


class PerceptualDistance(Protocol):
    """Two batches of pictures in, one distance a pair out; 0 for the same picture."""

    @property
    def name(self) -> str:
        """Key: `lpips-alex`, `cosine-efficientnet-lite0`."""

    @property
    def label(self) -> str:
        """What a reader sees."""

    @property
    def protocol(self) -> Mapping[str, str | int | float]:
        """All that makes two numbers comparable."""

    def __call__(self, after: Pictures, before: Pictures, /) -> Tensor:  # -> (B,) on the CPU
        """The distances. Raises EvalError for pictures that are not bytes or do not pair."""


class LiteDistance:
    """Mean over positions of `1 - cos` between EfficientNet-Lite feature maps; not LPIPS.

    In [0, 1], as no feature is negative. Nobody fitted it to what people see: good for ranking
    edits of one model, not for a comparison with published LPIPS figures.
    """

    def __init__(self, name: str = OFFLINE, device: torch.device | str = "cpu") -> None:
        self._maps = LiteMaps(name, device)
        self.name = f"cosine-{name}"
        self.label = f"Cosine distance of {name} feature maps (not LPIPS)"
        self.protocol = self._maps.protocol | {"formula": "mean over positions of 1 - cos"}

    def __call__(self, after: Pictures, before: Pictures, /) -> Tensor:
        if len(after) != len(before):
            raise EvalError(
                f"{len(after)} pictures after, {len(before)} before; give them in pairs"
            )
        one, two = (F.normalize(self._maps(part), dim=1) for part in (after, before))
        # Half the squared distance of unit vectors is 1 - cos, and 0 where both are all zeros.
        return (one - two).square().sum(1).div(2).mean((1, 2)).cpu()  # (B, F, G, G) -> (B,)


def open_perceptual(name: str, device: torch.device | str = "cpu") -> PerceptualDistance:
    """The distance that a user names.

    Args:
        name: `lpips-alex` or `lpips-vgg` (weights fetched once), a file of torchvision's weights
            whose name starts with `alexnet` or `vgg16`, or `efficientnet-lite0` to `2` (offline).
        device: where it runs.

    Raises:
        EvalError: the name is unknown or the weights cannot be had.
    """
    if name in LITE_NAMES:
        return LiteDistance(name, device)
    path = Path(name)
    for key, backbone in BACKBONES.items():
        if name == f"lpips-{key}":
            return LpipsDistance(key, device=device)
        if path.name.startswith(backbone.file.split("-")[0]):
            return LpipsDistance(key, path, device=device)
    known = ", ".join([*(f"lpips-{key}" for key in BACKBONES), *LITE_NAMES])
    raise EvalError(f"there is no distance {name!r}; use {known}, or a file such as alexnet-….pth")


def pair_distances(
    distance: PerceptualDistance, pairs: Iterable[tuple[Pictures, Pictures]]
) -> list[float]:
    """One distance a pair of a stream of batches `(after, before)`, one batch held at a time."""
    return [value for after, before in pairs for value in distance(after, before).tolist()]


def perceptual_value(
    distance: PerceptualDistance, distances: Sequence[float], *, seed: int = 0
) -> MetricValue:
    """Mean over the pairs with its bootstrap interval; take it on what was to be retained.

    Where all distances are equal there is no interval.

    Raises:
        EvalError: there is no pair.
    """
    mean = mean_interval(distances, seed=seed)
    return MetricValue(
        name=distance.name,
        label=distance.label,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        unit="",
        after_n=mean.total,
        before_n=mean.total,
        better="lower",
    )
