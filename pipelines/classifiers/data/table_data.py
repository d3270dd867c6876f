"""Tables that come with scikit-learn, for the case without pictures."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

import torch

from erasure.errors import ConfigError
from pipelines.classifiers.data.raw_data import RawData, RawSet, Source


def _bundled(loader: str, origin: str, path: Path | None, /) -> RawData:
    """One of scikit-learn's own tables, features as they are.

    Raises:
        ConfigError: scikit-learn is not installed, or a path is given.
    """
    if path is not None:
        raise ConfigError(f"{origin} comes with scikit-learn; leave --data-path {path} out")
    try:
        module = import_module("sklearn.datasets")
    except ImportError as err:
        raise ConfigError(
            f"{origin} comes with scikit-learn; pip install 'diffusion-erasure[classify]'"
        ) from err
    table = getattr(module, loader)()
    values = torch.from_numpy(table.data).float()
    labels = torch.from_numpy(table.target).long()
    classes = tuple(map(str, table.target_names))
    return RawData("table", RawSet((values,), labels), None, classes, origin)


TABLES: Final[Mapping[str, Source]] = {
    "digits": partial(_bundled, "load_digits", "1,797 digits of 8x8 (BSD licence)"),
    "breast-cancer": partial(
        _bundled, "load_breast_cancer", "569 measurements of tumours (CC BY 4.0)"
    ),
}
