"""Which classes a user wants a model to tell apart, and what they are called there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eval.errors import EvalError
from prompts.regular_files import irregular

Labels = Mapping[str, tuple[str, ...]]
"""Own label -> what stands for it; nothing where the label says it itself."""

FORMS: Final = (
    'give "church, castle", a text file with a label a line, or a JSON file such as '
    '["church", "castle"] or {"church": "a photo of a church"}'
)


def read_labels(text: str) -> dict[str, tuple[str, ...]]:
    """Labels written out with commas between them, or in a file.

    A JSON object maps each label to one text or number, or to a list of them: what the model
    calls it, or for CLIP what to compare pictures with.

    Raises:
        EvalError: there is no such file, it holds something else, or a label comes twice.
    """
    path = Path(os.path.expanduser(text))
    # `os.path`, for which a name that is too long is no file; `Path` raises.
    if path.suffix.lower() in (".json", ".txt") or ("," not in text and os.path.isfile(path)):
        return _from_file(path)
    return _listed([word.strip() for word in text.split(",")], "the labels")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands in the file, where a key may come twice."""


def _from_file(path: Path) -> dict[str, tuple[str, ...]]:
    if kind := irregular(path):
        raise EvalError(f"the labels {path} are {kind} and not a regular file; write them to one")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise EvalError(f"there is no file of labels {path}; check the path") from err
    except (OSError, UnicodeDecodeError) as err:
        raise EvalError(f"the labels {path} cannot be read as text in UTF-8: {err}") from err
    if path.suffix.lower() != ".json":
        return _listed([line.strip() for line in text.splitlines() if line.strip()], str(path))
    try:
        read = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as err:  # also numbers of too many digits
        raise EvalError(f"the labels {path} are not JSON: {err}") from err
    if isinstance(read, _Pairs):
        names = _listed([label for label, _ in read], str(path))
        return {
            name: _texts(texts, name, path) for name, (_, texts) in zip(names, read, strict=True)
        }
    if isinstance(read, list):
        return _listed(read, str(path))
    raise EvalError(f"{path} holds no labels; {FORMS}")


def _listed(labels: list[Any], where: str) -> dict[str, tuple[str, ...]]:
    phrases: dict[str, tuple[str, ...]] = {}
    for label in (_label(each, where) for each in labels):
        if label in phrases:
            raise EvalError(f"{where} has {label!r} twice; take one out")
        phrases[label] = ()
    if not phrases:
        raise EvalError(f"{where} holds no labels; {FORMS}")
    return phrases


def _label(label: Any, where: object) -> str:  # noqa: ANN401
    if not isinstance(label, str) or not label.strip():
        raise EvalError(f"{where} has a label {label!r}, which is no text; {FORMS}")
    return label.strip()


def _texts(texts: Any, label: str, path: Path) -> tuple[str, ...]:  # noqa: ANN401
    listed = texts if isinstance(texts, list) else [texts]
    if not listed or not all(isinstance(t, (str, int)) and str(t).strip() for t in listed):
        raise EvalError(f"{path} maps {label!r} to {texts!r}; give a text or a list of texts")
    return tuple(map(str, listed))
