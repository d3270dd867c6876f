"""What a single file lacks, kept in its header: configs, and a vocabulary that is not CLIP's.

Other tools ignore these keys; with them our own exports are read again without `--config`.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from erasure.checkpoints.checks.config_limits import require_plausible
from erasure.checkpoints.description import (
    Description,
    require_component_names,
)
from erasure.checkpoints.reading.vocabulary import CLIP_SIZE
from erasure.errors import CONFIG, CheckpointError
from erasure.local_paths import json_without_origin, without_origin
from erasure.storage.bare_names import shown
from erasure.storage.json_text import parsed

CONFIGS_KEY: Final = "erasure.configs"
TOKENIZER_KEY: Final = "erasure."
"""With the folder of a tokenizer behind it."""
TOKENIZER_FILES: Final = (
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "added_tokens.json",
)
"""The names a tokenizer's files may have in a header; every one is a bare name."""
_LARGEST: Final = 4_000_000  # characters; a header is read whole by every tool that opens the file
_LARGEST_UNPACKED: Final = 32_000_000
"""Bytes of a tokenizer's entry once unpacked: CLIP's own vocabulary has 1.5 MB, and a small entry
could unpack to gigabytes."""


def to_header(description: Description) -> dict[str, str]:
    """Header entries; a tokenizer only where no other place could supply it, and of its files only
    `TOKENIZER_FILES`.

    Raises:
        CheckpointError: a component of `model_index` is not named by a bare name.
    """
    require_component_names(description.model_index, "the model's model_index.json")
    entries = {CONFIGS_KEY: json.dumps(without_origin(dict(description.configs())), sort_keys=True)}
    for name, encoder in description.tokenizers().items():
        files: Mapping[str, bytes] = description.vocabulary(name)
        if files and encoder.get("vocab_size") != CLIP_SIZE:
            known = [file for file in TOKENIZER_FILES if file in files]
            packed = _pack({file: json_without_origin(files[file]) for file in known})
            if packed is not None:
                entries[f"{TOKENIZER_KEY}{name}"] = packed
    return entries


def from_header(
    metadata: Mapping[str, str], source: str, components: Collection[str]
) -> Description | None:
    """Read them back; None where the header has none.

    Args:
        components: those of the file's family; configs of others are left out.

    Raises:
        CheckpointError: they are damaged, too large, or name a file or a component that no
            tokenizer and no pipeline has.
    """
    if CONFIGS_KEY not in metadata:
        return None
    try:
        configs = _configs(metadata[CONFIGS_KEY], components)
        index, scheduler = configs.pop("model_index"), configs.pop("scheduler")
        description = Description(model_index=index, scheduler=scheduler, components=configs)
        names = description.tokenizers()
        words = {n: _unpack(metadata.get(f"{TOKENIZER_KEY}{n}", "")) for n in names}
        description = description.speaking(**words)
    except (ValueError, TypeError, KeyError, zlib.error) as err:
        raise CheckpointError(
            f"{source} has damaged configs in its header ({err}); give ", CONFIG
        ) from err
    for tokenizer, files in words.items():
        _require_known(files, f"{source}: the header entry {TOKENIZER_KEY}{tokenizer}")
    require_component_names(description.model_index, f"{source}: model_index in its header")
    require_plausible(description.configs(), f"{source}: {CONFIGS_KEY} in its header")
    return description


def _configs(text: str, components: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Read the configs of index, scheduler and components by name; other keys are left out."""
    if len(text) > _LARGEST:
        raise ValueError(f"{CONFIGS_KEY} has {len(text):,} characters, at most {_LARGEST:,} fit")
    values = parsed(text)
    if not isinstance(values, dict):
        raise TypeError(f"{CONFIGS_KEY} is a JSON {type(values).__name__}, not an object")
    wanted = ("model_index", "scheduler", *components)
    configs = {name: config for name, config in values.items() if name in wanted}
    for name, config in configs.items():
        if not isinstance(config, dict):
            raise TypeError(f"{name} is a JSON {type(config).__name__}, not an object")
    for name in wanted:
        if not configs.get(name):
            raise ValueError(f"{CONFIGS_KEY} says nothing of {name}")
    return configs


def _pack(files: Mapping[str, bytes]) -> str | None:
    """One header entry; None where it would be larger than `_unpack` takes."""
    text = json.dumps({name: content.decode("latin-1") for name, content in files.items()})
    packed = base64.b85encode(gzip.compress(text.encode(), mtime=0)).decode()
    return packed if len(text) <= _LARGEST_UNPACKED and len(packed) <= _LARGEST else None


def _unpack(packed: str) -> dict[str, bytes]:
    if not packed:
        return {}
    if len(packed) > _LARGEST:
        raise ValueError(f"a tokenizer of {len(packed):,} characters, at most {_LARGEST:,} fit")
    files = parsed(_decompressed(base64.b85decode(packed)))
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise TypeError("a tokenizer's entry is no JSON object of file names and their contents")
    return {name: content.encode("latin-1") for name, content in files.items()}


def _decompressed(data: bytes) -> bytes:
    """The content of one gzip stream, of which no more than the limit is ever in memory."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with the header of gzip
    content = stream.decompress(data, _LARGEST_UNPACKED + 1)
    if len(content) > _LARGEST_UNPACKED:
        raise ValueError(f"a tokenizer unpacks to more than {_LARGEST_UNPACKED:,} bytes")
    if not stream.eof or stream.unused_data:
        raise ValueError("a tokenizer's entry is cut short or has something behind it")
    return content


def _require_known(files: Mapping[str, bytes], where: str) -> None:
    unknown = [name for name in files if name not in TOKENIZER_FILES]
    if unknown:
        raise CheckpointError(
            f"{where} names the file {shown(unknown[0])}, which no tokenizer has (known are "
            f"{', '.join(TOKENIZER_FILES)}); nothing was written, and the file is not to be trusted"
        )
