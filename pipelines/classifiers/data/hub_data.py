"""CIFAR-10/100, SVHN and TinyImageNet from the hub, by the package `datasets`, or local copies."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from erasure.errors import ConfigError
from pipelines.classifiers.data.archive_data import read_cifar
from pipelines.classifiers.data.raw_data import RawData, RawSet, Source, images
from prompts.hub import announce_hub


@dataclass(frozen=True, slots=True)
class HubSource:
    """Where a data set of pictures is on the hub, and what its columns are called.

    Called with a path it reads that instead: the archive of CIFAR for Python (or its folder) for
    CIFAR, else a folder that `datasets` can load.
    """

    name: str
    config: str | None
    train: str
    test: str
    picture: str
    label: str
    size: int
    """Pixels a side."""
    archive: bool = False
    """Whether a path is an archive of CIFAR."""

    def __call__(self, path: Path | None, /) -> RawData:
        """Read both splits.

        Raises:
            ConfigError: `datasets` is not installed, or the data set cannot be had.
        """
        if path is not None and self.archive:
            return read_cifar(path)
        package = _package()
        splits = [self._load(package, split, path) for split in (self.train, self.test)]
        for rows in splits:
            missing = {self.picture, self.label} - set(rows.features)
            if missing:
                raise ConfigError(
                    f"{path or self.name} has no column {sorted(missing)[0]!r}; its columns are "
                    f"{', '.join(rows.features)}"
                )
        halves = [self._read(rows) for rows in splits]
        names = getattr(splits[0].features[self.label], "names", None)
        count = 1 + max(int(half.labels.max()) for half in halves)
        classes = tuple(names or map(str, range(count)))
        return RawData("image", halves[0], halves[1], classes, f"{self.name} of the hub")

    def _load(self, package: ModuleType, split: str, path: Path | None) -> Any:  # noqa: ANN401
        where = str(path) if path is not None else self.name
        config = None if path is not None else self.config
        announce_hub(where)
        try:
            return package.load_dataset(where, config, split=split)
        except (OSError, ValueError, RuntimeError, package.exceptions.DatasetsError) as err:
            reason = " ".join(str(err).split())[:160] or type(err).__name__
            raise ConfigError(
                f"the {split} split of {where} cannot be loaded ({reason}); check the network, "
                "give a copy with --data-path, or take --data fashion-mnist or icons"
            ) from err

    def _read(self, rows: Any) -> RawSet:  # noqa: ANN401
        pixels = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for n, row in enumerate(rows):
            picture: Image.Image = row[self.picture].convert("RGB")
            if picture.size != (self.size, self.size):
                picture = picture.resize((self.size, self.size), Image.Resampling.BICUBIC)
            pixels[n] = np.asarray(picture)
        return images(torch.from_numpy(pixels), list(rows[self.label]))


HUB_SOURCES: Final[Mapping[str, Source]] = {
    "cifar10": HubSource(
        "uoft-cs/cifar10", None, "train", "test", "img", "label", 32, archive=True
    ),
    "cifar100": HubSource(
        "uoft-cs/cifar100", None, "train", "test", "img", "fine_label", 32, archive=True
    ),
    "svhn": HubSource(
        "ufldl-stanford/svhn", "cropped_digits", "train", "test", "image", "label", 32
    ),
    "tiny-imagenet": HubSource(
        "zh-plus/tiny-imagenet", None, "train", "valid", "image", "label", 64
    ),
}


def _package() -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as err:
        raise ConfigError(
            "this data set is read with the package `datasets`, which is not installed; "
            "pip install 'diffusion-erasure[data]', or take --data fashion-mnist or icons"
        ) from err
