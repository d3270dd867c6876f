"""Classifiers on disk: safetensors whose header says how each was made, and is checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from erasure.checkpoints.checks.config_limits import building_limit
from erasure.classifiers import TrainingRecipe
from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import without_folders
from erasure.storage.regular_files import require_regular
from erasure.storage.tables import build
from erasure.storage.tensors.hashing import rounded_hash, weights_hash
from erasure.storage.tensors.tensor_file import tensors_in, write_tensors
from pipelines.classifiers.data.data import DataConfig, DataFacts
from pipelines.classifiers.networks.architectures import (
    ARCHITECTURES,
    ModelConfig,
    make_model,
    require_known,
)

FORMAT: Final = "erasure-classifier 1"
_HASHES: Final = "2"
"""Kind of hash: `weights_hash` as it is now. Files without the entry hold `rounded_hash`."""
_AGAIN: Final = "make it again with `erasure classify train`"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierRecord:
    """How a classifier was made; plain values that are kept in its file."""

    data: DataConfig
    model: ModelConfig
    facts: DataFacts
    training: TrainingRecipe
    """How the original was trained."""
    fingerprint: str
    """`ClassifierData.fingerprint`, the hash of the training examples."""
    seed: int
    """The seed of this run."""
    method: str = ""
    """Key into `METHODS`; empty for an original."""
    settings: str = "{}"
    """The method's settings, as JSON."""
    forget: str = ""
    """What is forgotten, as `10%` or `class:3`; empty for an original."""
    forget_seed: int = 0
    """Which random share it is."""
    base: str = ""
    """`weights_hash` of the model it was made from; empty for an original."""
    seconds: float = 0.0
    """Wall time of training or forgetting."""
    moved: int = 0
    """Weights that differ from the base in any bit."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedClassifier:
    """A classifier from a file."""

    model: nn.Module
    """The network, on CPU and in evaluation mode."""
    record: ClassifierRecord
    hash: str
    """`weights_hash` of its state."""


def save_classifier(path: Path, model: nn.Module, record: ClassifierRecord) -> str:
    """Write weights, statistics and record, atomically; whatever is at `path` is replaced.

    Returns:
        The model's `weights_hash`.

    Raises:
        DiskError: the disk refuses.
    """
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    digest = weights_hash(state)
    header = {
        "format": FORMAT,
        "config": json.dumps(without_folders(asdict(record)), sort_keys=True),
        "base": record.base,
        "hash": digest,
        "hashes": _HASHES,
    }
    write_tensors(path, state, header)
    return digest


def load_classifier(
    path: Path, *, allow_code: bool = False, own: str | None = None
) -> LoadedClassifier:
    """Read what `save_classifier` wrote, and check it.

    Args:
        allow_code: whether to import the function that made it, where that was a user's own.
        own: an architecture that may be imported whatever `allow_code` says.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or not what it says.
        ConfigError: its architecture was a function of the user's that cannot be imported.
    """
    if not require_regular(path).is_file():
        raise CheckpointError(f"there is no file {path}; {_AGAIN}, or give another path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} has the format {header.get('format')!r}, not {FORMAT!r}; {_AGAIN}"
                )
            state = tensors_in(file)
    except (SafetensorError, OSError) as err:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({err}); {_AGAIN}"
        ) from err
    hashed = weights_hash if header.get("hashes") == _HASHES else rounded_hash
    if hashed(state) != header.get("hash"):
        raise CheckpointError(f"the weights of {path} are not those its header names; {_AGAIN}")
    record = _record(path, header)
    require_known(record.model, path, allow_code=allow_code or record.model.architecture == own)
    if record.model.architecture in ARCHITECTURES:
        _require_fit(path, record, state)
    model = make_model(record.model, record.facts, seed=0)
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        raise CheckpointError(
            f"{path} does not fit the {record.model.architecture} that it names; {_AGAIN}"
        ) from err
    return LoadedClassifier(model.eval(), record, header["hash"])


def _require_fit(path: Path, record: ClassifierRecord, state: Mapping[str, Tensor]) -> None:
    """Before memory is taken: what the header asks for is as large as what the file holds."""
    try:
        with torch.device("meta"), building_limit():
            wanted = make_model(record.model, record.facts, seed=0).state_dict()
    except ConfigError:
        raise
    except Exception as err:  # torch raises it for sizes that no network can have
        raise CheckpointError(f"{path} describes no such network ({err}); {_AGAIN}") from err
    if {n: t.shape for n, t in wanted.items()} != {n: t.shape for n, t in state.items()}:
        raise CheckpointError(
            f"{path} does not fit the {record.model.architecture} that it names; {_AGAIN}"
        )


def _record(path: Path, header: Mapping[str, str]) -> ClassifierRecord:
    try:
        config: Any = json.loads(header.get("config", ""))
        return build(ClassifierRecord, config)
    except (ValueError, TypeError, RecursionError, ConfigError) as err:
        raise CheckpointError(f"the header of {path} cannot be read ({err}); {_AGAIN}") from err
