"""Exact models on disk: safetensors, with the settings as JSON in the header; never pickle."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.errors import CheckpointError
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.hashing import bytes_hash
from erasure.storage.tensors.tensor_file import read_tensors, write_tensors

FORMAT: Final = "erasure-exact 1"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds."""

    method: str
    """Key into `EXACT`."""
    config: Mapping[str, Any]
    """Settings and state that JSON can hold."""
    tensors: Mapping[str, Tensor]


def save_exact(
    path: Path, method: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write atomically, replacing whatever is there; the same content gives the same bytes.

    Raises:
        DiskError: the disk refuses.
    """
    text = json.dumps(config, sort_keys=True)
    metadata = {"format": FORMAT, "method": method, "config": text}
    write_tensors(path, tensors, {**metadata, "hash": _hash(method, text, tensors)})


def read_exact(path: Path, method: str | None = None) -> Saved:
    """Read what `save_exact` wrote.

    Args:
        method: the one expected; None takes any.

    Raises:
        CheckpointError: no such file, damaged, of another format or method.
    """
    if not require_regular(path).is_file():
        raise CheckpointError(f"there is no file {path}; train with `erasure classify train`")
    opened = read_tensors(path)
    metadata, tensors = opened.metadata, opened.tensors
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, not {FORMAT!r}; give a file written by "
            "`erasure classify train` with a method that unlearns exactly"
        )
    stored, text = metadata.get("method", ""), metadata.get("config", "")
    if metadata.get("hash") != _hash(stored, text, tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its hash")
    if method is not None and stored != method:
        raise CheckpointError(f"{path} holds a model of method {stored!r}, not {method!r}")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"the settings in {path} are not JSON ({err}); train again") from err
    if not isinstance(config, dict):
        raise CheckpointError(f"the settings in {path} are no JSON object; train again")
    return Saved(stored, config, tensors)


@contextmanager
def whole(path: Path, what: str) -> Iterator[None]:
    """Say of a file that lacks a part of a model which file it is and what to do.

    Args:
        what: the message's word for the model, such as `a forest`.

    Raises:
        CheckpointError: the block found something missing, of another type or shape.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError) as err:
        raise CheckpointError(f"{path} lacks a part of {what} ({err}); train again") from err


def _hash(method: str, config: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash everything that is read again."""
    words = repr((method, config, bytes_hash(tensors)))
    return hashlib.sha256(words.encode()).hexdigest()
