"""What turns pictures into the features that a Fréchet or a kernel distance compares."""

# B pictures a batch, N in all, D features.

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.metrics.inception import (
    INCEPTION_FILE,
    InceptionFeatures,
    fidelity_features,
    inception_features,
    torchscript_features,
)
from eval.metrics.lite_features import LITE_NAMES, OFFLINE, LiteFeatures
from eval.metrics.vision_features import VisionFeatures
from eval.pictures.picture_bytes import Pictures


class FeatureExtractor(Protocol):
    """Pictures in, features out; owns its network, preprocessing and device."""

    @property
    def name(self) -> str:
        """As it stands in labels: `efficientnet-lite0`, `facebook/dinov2-base`."""

    @property
    def is_inception(self) -> bool:
        """Whether these are the features of FID and KID, known by the hash of the weights."""

    @property
    def protocol(self) -> Mapping[str, str | int | float]:
        """All that makes two numbers comparable."""

    def __call__(self, pictures: Pictures, /) -> Tensor:  # -> (B, D) float32 on the CPU
        """The features of a batch. Raises EvalError for pictures that are not bytes."""


def open_features(name: str, device: torch.device | str = "cpu") -> FeatureExtractor:
    """The extractor that a user names.

    Args:
        name: `inception` (fetched once), `torch-fidelity`, `efficientnet-lite0` to `2` (offline),
            a TorchScript file (`.pt`, `.ts`, `.torchscript`), torch-fidelity's weights (`.pth`), a
            folder of a transformers model, or the hub id of one.
        device: where it runs.

    Raises:
        EvalError: it cannot be had; the sentence names a choice that needs no download.
    """
    if name in LITE_NAMES:
        return LiteFeatures(name, device)
    if name == "inception":
        return inception_features(device)
    if name == "torch-fidelity":
        return fidelity_features(device=device)
    path = Path(name)
    if path.suffix in (".pt", ".ts", ".torchscript", ".pth"):
        return _by_file(path, device)
    return VisionFeatures(name, device)


def _by_file(path: Path, device: torch.device | str) -> InceptionFeatures:
    if not path.is_file():
        raise EvalError(
            f"there is no file {path}; give the path of {INCEPTION_FILE} or the like, or use "
            f"{OFFLINE}, which needs no download"
        )
    if path.suffix == ".pth":
        return fidelity_features(path, device)
    return torchscript_features(path, device)


def collect_features(extractor: FeatureExtractor, batches: Iterable[Pictures]) -> Tensor:
    """Features (N, D) of a set that streams by: never more than one batch of pictures is held.

    30,000 pictures of 2048 features are 250 MB.

    Raises:
        EvalError: there is no picture, or a feature is not finite.
    """
    rows = []
    for batch in batches:
        if not len(batch):
            continue
        rows.append(extractor(batch))
        if not torch.isfinite(rows[-1]).all():
            raise EvalError(
                f"{extractor.name} gives features that are not finite for picture "
                f"{sum(map(len, rows)) - len(batch) + 1} or one soon after; leave it out"
            )
    if not rows:
        raise EvalError("there is no picture to measure; draw some, or name a folder that has any")
    return torch.cat(rows)
