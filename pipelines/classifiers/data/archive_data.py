"""CIFAR-10 and CIFAR-100 as their authors pack them for Python: an archive, or its folder."""

import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from erasure.errors import ConfigError
from erasure.storage.regular_files import require_regular
from pipelines.classifiers.data.raw_data import RawData, RawSet, images

_ALLOWED: Final = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)
_SIDE: Final = 32
_LARGEST: Final = 1 << 30
"""Bytes; the real files have 0.15 GB."""


class _ArraysOnly(pickle.Unpickler):
    """Refuses every class but those that a numpy array is made of, so a file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_cifar(path: Path) -> RawData:
    """Either data set, told apart by its files.

    Args:
        path: `cifar-10-python.tar.gz`, `cifar-100-python.tar.gz`, or the unpacked folder.

    Raises:
        ConfigError: nothing there, neither data set, damaged, or pickles that are more than arrays.
    """
    with _opened(path) as files:
        if "test_batch" in files:
            meta = _load(files, "batches.meta", path)
            names = [f"data_batch_{n}" for n in range(1, 6)]
            train, test = (
                _join(files, names, b"labels", path),
                _join(files, ["test_batch"], b"labels", path),
            )
            raw_classes, origin = meta.get(b"label_names"), "CIFAR-10"
        elif "test" in files and "train" in files:
            meta = _load(files, "meta", path)
            train = _join(files, ["train"], b"fine_labels", path)
            test = _join(files, ["test"], b"fine_labels", path)
            raw_classes, origin = meta.get(b"fine_label_names"), "CIFAR-100"
        else:
            raise ConfigError(
                f"{path} holds neither CIFAR-10 nor CIFAR-100; give the archive for Python or the "
                "folder inside it"
            )
    if not isinstance(raw_classes, list) or int(train.labels.max()) >= len(raw_classes):
        raise ConfigError(f"{path} does not name its classes; get the archive again")
    classes = tuple(c.decode() if isinstance(c, bytes) else str(c) for c in raw_classes)
    return RawData("image", train, test, classes, origin)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Any]]:
    """File name -> its bytes or path, whether packed or not."""
    if path.is_dir():
        inner = [path, *(p for p in sorted(path.iterdir()) if p.is_dir())]
        yield {file.name: file for folder in inner for file in folder.iterdir() if file.is_file()}
        return
    require_regular(path, ConfigError)
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isfile()]
            if sum(m.size for m in members) > _LARGEST:
                raise ConfigError(f"{path} unpacks to over 1 GB; CIFAR does not")
            yield {
                Path(m.name).name: archive.extractfile(m).read()  # type: ignore[union-attr]
                for m in members
            }
    except (OSError, tarfile.TarError, EOFError) as err:
        raise ConfigError(
            f"{path} cannot be read ({err}); give the archive of CIFAR for Python, or its folder"
        ) from err


def _load(files: Mapping[str, Any], name: str, path: Path) -> dict[bytes, Any]:
    if name not in files:
        raise ConfigError(f"{path} has no file {name}; unpack the archive again")
    raw = files[name].read_bytes() if isinstance(files[name], Path) else files[name]
    try:
        table = _ArraysOnly(io.BytesIO(raw), encoding="bytes").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
        ImportError,
        MemoryError,
    ) as err:
        raise ConfigError(
            f"{name} of {path} is no plain pickle of arrays ({err}); get the archive again from "
            "its source"
        ) from err
    if not isinstance(table, dict):
        raise ConfigError(f"{name} of {path} holds no table; get the archive again")
    return {k if isinstance(k, bytes) else str(k).encode(): v for k, v in table.items()}


def _join(files: Mapping[str, Any], names: list[str], labels: bytes, path: Path) -> RawSet:
    pixels, truth = [], []
    for name in names:
        table = _load(files, name, path)
        rows, numbers = table.get(b"data"), table.get(labels)
        fits = isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == 3 * _SIDE**2
        if not fits or not isinstance(numbers, list) or rows.dtype != np.uint8:  # type: ignore[union-attr]
            raise ConfigError(f"{name} of {path} has no pictures of 32x32; get the archive again")
        pixels.append(torch.from_numpy(np.array(rows)).view(-1, 3, _SIDE, _SIDE))
        truth += numbers
    return images(torch.cat(pixels), truth)
