"""What a written checkpoint states of its parts: a hash of each component, file and word."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.provenance import HEADER, header_json, json_entry
from erasure.errors import CheckpointError
from erasure.storage.tensors.casting import Cast
from erasure.storage.tensors.hashing import weights_hash
from erasure.storage.tensors.tensor_file import DATA_HASH

WEIGHTS: Final = "weights"
"""In `erasure.json`: component -> `weights_hash` as written. In a header with `erasure.` before."""
FILES: Final = "files"
"""In `erasure.json`: place in the folder, with `/` -> SHA-256 of the file."""
CHECKSUM: Final = "checksum"
"""SHA-256 of all other words. It shows change, not who wrote them: it is no signature."""
EXTRAS: Final = "original_extras"
"""Among the weights: those of a single file that diffusers has no place for."""
_CHUNK: Final = 1 << 20


def weights_of(
    components: Mapping[str, Mapping[str, Tensor]],
    extras: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> dict[str, str]:
    """Component -> hash of its weights in the type they are written in."""
    parts = {**components, EXTRAS: extras} if extras else components
    return {name: weights_hash(Cast(part, dtype)) for name, part in parts.items()}


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_of(folder: Path, names: list[str]) -> dict[str, str]:
    """Name -> SHA-256, in the order of the names."""
    return {name: file_hash(folder / name) for name in sorted(names)}


def checksum(words: Mapping[str, Any]) -> str:
    """SHA-256 of a record or of a header's words, but for the checksum itself, `format` = `pt`,
    which the file's kind asks for, and the data hash, which is compared with the data."""
    own = (CHECKSUM, f"{HEADER}{CHECKSUM}", DATA_HASH, "format")
    covered = {name: value for name, value in words.items() if name not in own}
    text = json.dumps(covered, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def sealed_header(metadata: Mapping[str, str], weights: Mapping[str, str]) -> dict[str, str]:
    """Header words with the hashes of the weights and, last, the checksum of all of them."""
    header = {**metadata, f"{HEADER}{WEIGHTS}": header_json(dict(weights))}
    return {**header, f"{HEADER}{CHECKSUM}": checksum(header)}


def sealed_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the checksum of it."""
    return {**record, CHECKSUM: checksum(record)}


def stated_weights(metadata: Mapping[str, str], source: str) -> dict[str, str]:
    """What a header states of the weights; empty where it is of an older version.

    Raises:
        CheckpointError: the entry is damaged.
    """
    key = f"{HEADER}{WEIGHTS}"
    return _texts(json_entry(metadata, key, source), key, source) if key in metadata else {}


def stated_files(record: Mapping[str, Any], source: str) -> dict[str, str]:
    """What a record states of files; empty where it is of an older version.

    Raises:
        CheckpointError: the entry is damaged.
    """
    return stated_hashes(record, FILES, source)


def stated_hashes(record: Mapping[str, Any], key: str, source: str) -> dict[str, str]:
    """Names and hashes below a key of a record; empty where it has no such key.

    Raises:
        CheckpointError: the entry is damaged.
    """
    return _texts(record[key], key, source) if key in record else {}


def _texts(value: Any, key: str, source: str) -> dict[str, str]:  # noqa: ANN401
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise CheckpointError(
        f"{source}: {key} is {value!r:.60}, not names with hashes; get it again from its source"
    )
