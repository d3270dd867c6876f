"""LPIPS without torchvision: the maths and the published weights, in plain torch."""

# B pairs of pictures of HxW pixels; F channels of one of the five layers compared.

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from eval.errors import EvalError
from eval.metrics.lite_features import OFFLINE
from eval.pictures.picture_bytes import Pictures, by_size, rgb_pictures, to_bytes
from eval.weights.extras import not_installed
from eval.weights.fetched_weights import TORCHVISION, fetch_weights
from eval.weights.hashing import file_sha256

SMALLEST: Final = 32
"""Pixels a side that the deepest layer needs."""
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
_EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network trained on ImageNet, and where LPIPS looks into it."""

    file: str
    """torchvision's file of weights; its name ends in the start of its SHA-256."""
    layers: tuple[int | str, ...]
    """Channels of each 3x3 convolution, `pool`; empty for AlexNet, which has its own sizes."""
    taps: tuple[int, ...]
    """Positions, in torchvision's `features`, of the five ReLUs that are compared."""


BACKBONES: Final[Mapping[str, Backbone]] = {
    "alex": Backbone("alexnet-owt-7be5be79.pth", (), (1, 4, 7, 9, 11)),
    "vgg": Backbone(
        "vgg16-397923af.pth",
        (64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3),
        (3, 8, 15, 22, 29),
    ),
}


class LpipsDistance:
    """Learned perceptual distance of two pictures; 0 for the same.

    Source: arXiv:1801.03924, with the linear weights of version 0.1 that the packages
        `lpips` and torchmetrics carry. Both import torchvision for the backbone, which cannot stand
        beside a CPU-only torch; a test holds this against torchmetrics.
    """

    def __init__(
        self, key: str = "alex", weights: Path | None = None, device: torch.device | str = "cpu"
    ) -> None:
        """EvalError if the weights of the backbone or of the linear layers cannot be had.

        Args:
            key: of `BACKBONES`.
            weights: torchvision's file; None takes it from torch's hub folder or fetches it.
            device: where it runs.
        """
        self.name, self.label = f"lpips-{key}", f"LPIPS ({key})"
        backbone = BACKBONES[key]
        if weights is None:
            weights = fetch_weights(
                TORCHVISION + backbone.file,
                Path(backbone.file).stem.rpartition("-")[2],
                otherwise=f"give the path of a copy of {backbone.file}, or use {OFFLINE}, which "
                "needs no download",
            )
        self._features = _read(backbone, weights).to(device)
        self._taps, self._device = backbone.taps, device
        self._heads = [head.to(device) for head in _heads(key)]
        self.protocol: dict[str, str | int | float] = {
            "network": f"lpips-{key} 0.1",
            "weights": weights.name,
            "sha256": file_sha256(weights),
        }

    @torch.no_grad()
    def __call__(self, after: Pictures, before: Pictures, /) -> Tensor:
        """(B,) on the CPU; EvalError if the pictures are not bytes, too small or do not pair."""
        one, two = rgb_pictures(after), rgb_pictures(before)
        sizes = [image.size for image in one]
        if sizes != [image.size for image in two]:
            raise EvalError("the pictures after and before are not pairs of one size; pair them")
        if any(min(size) < SMALLEST for size in sizes):
            raise EvalError(f"a picture is smaller than {SMALLEST} pixels, too small for LPIPS")
        pairs = [torch.cat([to_bytes(a), to_bytes(b)]) for a, b in zip(one, two, strict=True)]
        return by_size(pairs, self._distances).cpu()

    def _distances(self, pairs: Tensor) -> Tensor:
        """Bytes (B, 6, H, W) -> (B,)."""
        pixels = torch.cat(pairs.to(self._device).split(3, dim=1)).float() / 127.5 - 1
        shift, scale = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (_SHIFT, _SCALE))
        x = (pixels - shift) / scale  # (2B, 3, H, W), all after and then all before
        total = pixels.new_zeros(len(pairs))
        heads = iter(self._heads)
        for position, layer in enumerate(self._features):
            x = layer(x)
            if position in self._taps:
                unit = x / (x.square().sum(1, keepdim=True) + _EPSILON).sqrt()
                one, two = unit.chunk(2)
                total += (next(heads) * (one - two).square()).sum(1).mean((1, 2))
        return total


def build_backbone(backbone: Backbone) -> nn.Sequential:
    """torchvision's `features` up to the last layer that is compared, with random weights."""
    return _vgg(backbone.layers) if backbone.layers else _alexnet()


def _read(backbone: Backbone, weights: Path) -> nn.Sequential:
    network = build_backbone(backbone)
    try:
        table = torch.load(weights, map_location="cpu", weights_only=True)
        own = {name: table[f"features.{name}"] for name in network.state_dict()}
        network.load_state_dict(own)
    except (OSError, RuntimeError, TypeError, KeyError, pickle.UnpicklingError) as err:
        raise EvalError(
            f"{weights} does not hold the weights of {backbone.file} ({err}); get it again"
        ) from err
    return network.eval().requires_grad_(False)


def _alexnet() -> nn.Sequential:
    """Source: torchvision's AlexNet, arXiv:1404.5997."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def _vgg(channels: tuple[int | str, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    inner = 3
    for outer in channels:
        if isinstance(outer, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU()]
            inner = outer
    return nn.Sequential(*layers)


def _heads(key: str) -> list[Tensor]:
    """The five linear layers, (1, F, 1, 1) each, from whichever package is installed."""
    places = {"torchmetrics": "functional/image/lpips_models", "lpips": "weights/v0.1"}
    for package, folder in places.items():
        spec = find_spec(package)  # importing either may need torchvision
        for root in (spec and spec.submodule_search_locations) or ():
            path = Path(root) / folder / f"{key}.pth"
            if path.is_file():
                table = torch.load(path, map_location="cpu", weights_only=True)
                return [table[f"lin{index}.model.1.weight"] for index in range(5)]
    raise not_installed("LPIPS", "metrics", ImportError("torchmetrics is not there"))
