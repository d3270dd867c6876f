"""CLIP's vocabulary, which a single file lacks: it comes with this package."""

import gzip
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from erasure.checkpoints.description import Description, shipped_tokenizer_settings
from erasure.errors import CONFIG, CheckpointError

CLIP_SIZE: Final = 49408
"""Entries of CLIP's vocabulary: 256 bytes, the same at a word's end, merges, start and end."""

_MERGES: Final = Path(__file__).parents[1] / "clip" / "merges.txt.gz"


@cache
def clip_vocabulary() -> dict[str, bytes]:
    """`vocab.json` and `merges.txt` of the tokenizer of Stable Diffusion 1.x, 2.x and XL.

    Source: the merges that OpenAI published with CLIP, and the order of its `simple_tokenizer.py`:
    bytes, bytes at a word's end, merges, specials. The vocabulary follows from the merges.
    """
    text = gzip.decompress(_MERGES.read_bytes())
    letters = list(byte_letters())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    tokens += [merge.replace(" ", "") for merge in text.decode().splitlines()[1:]]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == CLIP_SIZE
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False).encode(),
        "merges.txt": text,
    }


def with_clip_vocabulary(
    description: Description, family: str, path: Path
) -> tuple[Description, tuple[str, ...]]:
    """Give each text encoder that lacks a tokenizer CLIP's, if it knows as many tokens as CLIP.

    Args:
        description: what was read; a tokenizer that it has stays.
        family: key of the family, whose settings go with the vocabulary: which token pads.
        path: for the sentence.

    Returns:
        The description, and a sentence that says what was taken, if anything was.
    """
    taken = {
        name: {**shipped_tokenizer_settings(family, name), **clip_vocabulary()}
        for name, encoder in description.tokenizers().items()
        if not description.vocabulary(name) and encoder.get("vocab_size") == CLIP_SIZE
    }
    if not taken:
        return description, ()
    note = f"{path} has no {' and no '.join(taken)}; CLIP's, which comes with this package, is used"
    return description.speaking(**taken), (note,)


def missing_vocabulary(path: Path, vocab_size: int) -> CheckpointError:
    """The error for a checkpoint without a tokenizer that CLIP's cannot stand in for."""
    return CheckpointError(
        f"{path} has no tokenizer, and its text encoder knows {vocab_size} tokens, not the "
        f"{CLIP_SIZE} of CLIP, whose tokenizer comes with this package; give ",
        CONFIG,
        ", the diffusers folder it was made from",
    )


def byte_letters() -> Iterable[str]:
    """One visible letter a byte: itself where it prints, else from 256 on; printable ones first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    yield from map(chr, printable)
    yield from (chr(256 + n) for n in range(256 - len(printable)))
