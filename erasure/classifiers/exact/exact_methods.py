"""The methods that forget exactly, or within a bound. A new one is one file and one line here."""

from pathlib import Path
from typing import Any

from torch import nn

from erasure.classifiers.exact.certified import Certified, CertifiedHead
from erasure.classifiers.exact.dp_sgd.private import PrivateModel, PrivateTraining
from erasure.classifiers.exact.exact import ExactMethod, ExactModel
from erasure.classifiers.exact.exact_file import read_exact
from erasure.classifiers.exact.sisa.sisa import Sisa, SisaModel
from erasure.classifiers.exact.trees import ExtraTrees, Forest, RandomForest
from erasure.errors import CheckpointError, ConfigError

EXACT: dict[str, type[ExactMethod]] = {
    "sisa": Sisa,
    "certified": Certified,
    "forest": RandomForest,
    "extra-trees": ExtraTrees,
    "dp-sgd": PrivateTraining,
}


def load_exact(path: Path, start: nn.Module | None = None) -> ExactModel:
    """Read a model of any method.

    Args:
        start: the network that training began from; methods that train none ignore it.

    Raises:
        CheckpointError: the file is missing, damaged or of no method known here.
        ConfigError: the method trains networks and `start` is missing.
    """
    method = read_exact(path).method
    if method not in EXACT:
        raise CheckpointError(f"{path} holds method {method!r}; known are {', '.join(EXACT)}")
    if method in ("forest", "extra-trees"):
        return Forest.load(path)
    if method == "certified":
        return CertifiedHead.load(path)
    if start is None:
        raise ConfigError(f"{path} holds networks; give `start`, the one that training began from")
    trained: dict[str, Any] = {"sisa": SisaModel, "dp-sgd": PrivateModel}
    model: ExactModel = trained[method].load(path, start)
    return model
