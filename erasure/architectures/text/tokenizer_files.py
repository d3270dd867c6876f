"""Open a tokenizer of transformers on the bytes of its files, whatever its kind."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from erasure.errors import CheckpointError
from erasure.storage.bare_names import require_bare
from erasure.storage.json_text import parsed

_RULES: Final = ("normalizer", "pre_tokenizer", "decoder")
"""Entries of a `tokenizer.json` that hold regular expressions."""


def opened(kind: Any, files: Mapping[str, bytes], title: str, owner: str) -> Any:  # noqa: ANN401
    """Open the files of a tokenizer.

    Args:
        kind: a class of transformers.
        files: name -> content.
        title: what a sentence calls the tokenizer.
        owner: the model that it is of.

    Raises:
        CheckpointError: a name would leave the folder, or the files cannot be read.
    """
    with TemporaryDirectory() as folder:
        for file, content in files.items():
            place = Path(folder) / require_bare(file, f"the tokenizer of {owner}")
            place.write_bytes(content)
        try:
            tokenizer: Any = kind.from_pretrained(folder)
        except Exception as err:  # what the libraries raise on damaged files has no common class
            reason = str(err).strip().partition("\n")[0][:200]
            raise CheckpointError(
                f"{title} of {owner} cannot be read ({reason}); fetch it again"
            ) from err
    return tokenizer


def without_rules(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Take out of a `tokenizer.json` how text is cut and changed before it is looked up.

    The rules of CLIP's and Qwen's own classes hold whatever the file says, and a regular expression
    of a file could take for ever on a short prompt.
    """
    return {
        name: _without_rules(content) if name == "tokenizer.json" else content
        for name, content in files.items()
    }


def _without_rules(content: bytes) -> bytes:
    """The same of one file; what is no JSON object is left for the library to refuse."""
    try:
        values = parsed(content)
    except ValueError:
        return content
    if not isinstance(values, dict):
        return content
    return json.dumps({**values, **dict.fromkeys(_RULES)}).encode()
