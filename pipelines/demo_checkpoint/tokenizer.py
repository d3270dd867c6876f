"""CLIP's tokenizer with its first 3,582 merges: any text still has tokens, most words few."""

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from transformers import CLIPTokenizer

VOCABULARY: Final = 4096
"""Tokens in all: 2 x 256 bytes, the merges, the start and the end of the text."""
LENGTH: Final = 32
"""Tokens a prompt is padded or cut to."""
_PACKAGE: Final = "open_clip_torch==3.3.0"
_FILE: Final = "open_clip/bpe_simple_vocab_16e6.txt.gz"


def fetch_merges(folder: Path) -> list[str]:
    """CLIP's merges (MIT), most frequent first, from the wheel of a package that carries them."""
    wheels = list(folder.glob("open_clip_torch-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), _PACKAGE], check=True)
        wheels = list(folder.glob("open_clip_torch-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        lines = gzip.decompress(wheel.read(_FILE)).decode().split("\n")
    return lines[1:]  # the first line names the version


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes of byte-level BPE, in the order of CLIP's ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer; any text without error, since all bytes are tokens."""
    letters = byte_alphabet()
    merges = fetch_merges(folder)[: VOCABULARY - 2 * len(letters) - 2]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[tuple(merge.split()) for merge in merges],  # type: ignore[misc]
        model_max_length=LENGTH,
    )
