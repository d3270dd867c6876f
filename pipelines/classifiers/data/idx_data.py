"""Data sets in the files of MNIST: `train-images-idx3-ubyte` and its three siblings."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from erasure.errors import ConfigError
from erasure.storage.regular_files import require_regular
from pipelines.classifiers.data.raw_data import RawData, RawSet, images
from prompts.clothes import CLOTHES

DEBIAN_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package `dataset-fashion-mnist` puts its files."""
FASHION_CLASSES: Final = CLOTHES
_UBYTE: Final = 0x08
_LARGEST: Final = 1 << 30
"""Bytes of a file once unpacked; the real ones have 47 MB."""
_MOST_DIMENSIONS: Final = 4


def fashion_mnist(path: Path | None, /) -> RawData:
    """60,000 and 10,000 pictures of clothes, 28x28 grey (MIT licence).

    Raises:
        ConfigError: the files are not there; the message says which package brings them.
    """
    folder = path or DEBIAN_FOLDER
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder}; apt-get install dataset-fashion-mnist, or give the "
            "folder of the four idx files with --data-path"
        )
    return read_idx_folder(folder, FASHION_CLASSES, "Fashion-MNIST, MIT licence")


def mnist(path: Path | None, /) -> RawData:
    """Digits in the same format, from a folder of the user's."""
    if path is None:
        raise ConfigError("mnist is in no package; give the folder of its idx files, --data-path")
    return read_idx_folder(path, tuple("0123456789"), f"MNIST-like idx files in {path.name}")


def read_idx_folder(folder: Path, classes: Sequence[str], origin: str) -> RawData:
    """Both halves of a folder of idx files, gzipped or not.

    Raises:
        ConfigError: a file is missing, damaged or holds something else.
    """
    train, test = (_half(folder, prefix, len(classes)) for prefix in ("train", "t10k"))
    return RawData("image", train, test, tuple(classes), origin)


def read_idx(path: Path) -> Tensor:
    """The bytes of one idx file in their shape, uint8.

    Format: two zero bytes, a type byte (0x08 for bytes), the number of dimensions, each dimension
    as a big-endian 32-bit number, then the values in row-major order.

    Raises:
        ConfigError: the file cannot be read, is cut short or is not an idx file of bytes.
    """
    try:
        require_regular(path, ConfigError)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except (OSError, EOFError, gzip.zlib.error) as err:  # type: ignore[attr-defined]
        raise ConfigError(f"{path} cannot be read ({err}); get the file again") from err
    if len(raw) > _LARGEST:
        raise ConfigError(f"{path} holds more than {_LARGEST:,} bytes; give a smaller data set")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UBYTE:
        raise ConfigError(f"{path} is no idx file of bytes; it begins with {raw[:4]!r}")
    shape = (
        np.frombuffer(raw, ">i4", count=raw[3], offset=4).tolist()
        if len(raw) >= 4 + 4 * raw[3]
        else []
    )
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape))
    whole = len(shape) == raw[3] <= _MOST_DIMENSIONS and min(shape, default=0) >= 0
    if not whole or len(values) != math.prod(shape):
        raise ConfigError(f"{path} is cut short: {len(values):,} values for the shape {shape}")
    return torch.from_numpy(values.reshape(shape).copy())


def _half(folder: Path, prefix: str, classes: int) -> RawSet:
    pixels, labels = (
        read_idx(_find(folder, f"{prefix}-{name}"))
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    half = images(pixels, labels.long())
    if len(half) and int(half.labels.max()) >= classes:
        raise ConfigError(
            f"{folder} has the label {int(half.labels.max())}, but there are {classes} classes; "
            "give the files of another data set"
        )
    return half


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise ConfigError(f"{folder} has no file {name} or {name}.gz; give the folder of all four")
