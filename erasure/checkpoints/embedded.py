"""What a single file lacks, kept in its header: configs, and a vocabulary that is not CLIP's.

Other tools ignore these keys; with them our own exports are read again without `--config`.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from erasure.checkpoints.description import CONFIG_FILES, TOKENIZERS, Description
from erasure.checkpoints.vocabulary import CLIP_SIZE
from erasure.errors import CheckpointError
from erasure.local_paths import json_without_origin, without_origin

CONFIGS_KEY: Final = "erasure.configs"
TOKENIZER_KEY: Final = "erasure."
"""With one of `TOKENIZERS` behind it."""
_LARGEST: Final = 4_000_000  # characters; a header is read whole by every tool that opens the file


def to_header(description: Description) -> dict[str, str]:
    """Header entries; a tokenizer only where no other place could supply it."""
    entries = {CONFIGS_KEY: json.dumps(without_origin(dict(description.configs())), sort_keys=True)}
    for name, encoder in description.tokenizers().items():
        files: Mapping[str, bytes] = getattr(description, name)
        if files and encoder.get("vocab_size") != CLIP_SIZE:
            packed = _pack({name: json_without_origin(files[name]) for name in files})
            if len(packed) <= _LARGEST:
                entries[f"{TOKENIZER_KEY}{name}"] = packed
    return entries


def from_header(metadata: Mapping[str, str], source: str) -> Description | None:
    """Read them back; None where the header has none.

    Raises:
        CheckpointError: they are damaged.
    """
    if CONFIGS_KEY not in metadata:
        return None
    try:
        configs: dict[str, dict[str, Any]] = json.loads(metadata[CONFIGS_KEY])
        words = {n: _unpack(metadata.get(f"{TOKENIZER_KEY}{n}", "")) for n in TOKENIZERS}
        known = {name: config for name, config in configs.items() if name in CONFIG_FILES}
        return Description(**known, **words)
    except (ValueError, TypeError, KeyError, OSError, EOFError, zlib.error) as err:
        raise CheckpointError(
            f"{source} has damaged configs in its header ({err}); give --config FOLDER"
        ) from err


def _pack(files: Mapping[str, bytes]) -> str:
    text = json.dumps({name: content.decode("latin-1") for name, content in files.items()})
    return base64.b85encode(gzip.compress(text.encode(), mtime=0)).decode()


def _unpack(packed: str) -> dict[str, bytes]:
    if not packed:
        return {}
    text: dict[str, str] = json.loads(gzip.decompress(base64.b85decode(packed)))
    return {name: content.encode("latin-1") for name, content in text.items()}
