"""Real text, labelled by where it comes from: fortunes by topic, docstrings by package."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final

import torch

from erasure.errors import ConfigError
from erasure.storage.cache import TensorCache, content_key
from pipelines.classifiers.data.raw_data import RawData, RawSet, cache_folder

LENGTH: Final = 48
"""Tokens of a text; longer ones are cut, shorter ones padded."""
VOCABULARY: Final = 8000
"""Most words, by how often the source has them."""
PACKAGES: Final = ("torch", "numpy", "matplotlib", "transformers")
"""Whose docstrings are told apart; this project needs all of them anyway."""
TOPICS: Final = ("computers", "definitions", "people", "songs-poems", "startrek", "zippy")
DEBIAN_FOLDER: Final = Path("/usr/share/games/fortunes")
_PAD: Final = 0
_UNKNOWN: Final = 1
_WORD: Final = re.compile(r"[a-z]+|\d|[^\sa-z\d]")
_MOST: Final = 1500
"""Docstrings a package, from files in an order that is random but fixed."""


def docstrings(path: Path | None, /) -> RawData:
    """First paragraphs of docstrings, labelled by the installed package they stand in.

    The names of the packages are struck out. Which texts there are depends on the installed
    versions.

    Raises:
        ConfigError: a path is given, or a package is not installed.
    """
    if path is not None:
        raise ConfigError(f"docstrings are read from installed packages; leave {path} out")
    for name in PACKAGES:
        if find_spec(name) is None:
            raise ConfigError(f"the package {name} is not installed; pip install it")
    key = content_key(versions={name: version(name) for name in PACKAGES}, most=_MOST)

    def make() -> dict[str, torch.Tensor]:
        made = encode([_of_package(name) for name in PACKAGES], PACKAGES, "")
        return {"ids": made.train.inputs[0], "labels": made.train.labels}

    tensors = TensorCache(cache_folder()).get("docstrings", key, make)
    texts = RawSet((tensors["ids"], tensors["ids"] != _PAD), tensors["labels"])
    vocabulary = int(tensors["ids"].max()) + 1
    origin = "docstrings of installed packages"
    return RawData("text", texts, None, PACKAGES, origin, vocabulary=vocabulary)


def fortunes(path: Path | None, /) -> RawData:
    """Sayings by topic, from the Debian packages `fortunes` and `fortunes-min`.

    Args:
        path: a folder of files with texts divided by lines of a single `%`, a class a file;
            without it the topics of `TOPICS` from Debian's folder.

    Raises:
        ConfigError: the folder is not there or has fewer than two such files.
    """
    folder = path or DEBIAN_FOLDER
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder}; apt-get install fortunes, or take --data docstrings"
        )
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in ("", ".txt") and file.is_file() and (path or file.name in TOPICS)
    ]
    if len(files) < 2:
        raise ConfigError(f"{folder} has {len(files)} files of texts; give one a class, 2 or more")
    texts = [
        [text for text in re.split(r"(?m)^%\s*$", _read(file)) if text.strip()] for file in files
    ]
    origin = f"texts in {folder.name}" if path else "fortunes of Debian"
    return encode(texts, [file.stem for file in files], origin)


def words(text: str) -> list[str]:
    """Lower-case words, single digits and single signs."""
    return _WORD.findall(text.lower())


def encode(texts: Sequence[Sequence[str]], classes: Sequence[str], origin: str) -> RawData:
    """Texts by class as token ids, (N, 48); 0 pads, 1 is a word too rare for the vocabulary.

    Raises:
        ConfigError: a class without texts.
    """
    split = [[words(text)[:LENGTH] for text in texts_of_class] for texts_of_class in texts]
    for name, part in zip(classes, split, strict=True):
        if not any(part):
            raise ConfigError(f"the class {name} has no text; give each class some")
    counts = Counter(word for of_class in split for text in of_class for word in text)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: VOCABULARY - 2]
    number = {word: n for n, word in enumerate(ranked, start=2)}
    rows, labels = [], []
    for label, of_class in enumerate(split):
        for text in filter(None, of_class):
            ids = [number.get(word, _UNKNOWN) for word in text]
            rows.append(ids + [_PAD] * (LENGTH - len(ids)))
            labels.append(label)
    coded = torch.tensor(rows)
    texts_in = RawSet((coded, coded != _PAD), torch.tensor(labels))
    return RawData("text", texts_in, None, tuple(classes), origin, vocabulary=len(number) + 2)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as err:
        raise ConfigError(f"{file} cannot be read ({err.strerror}); check its permissions") from err


def _of_package(name: str) -> list[str]:
    """Distinct first paragraphs of at least eight words, without the packages' names."""
    spec = find_spec(name)
    assert spec is not None, "looked for before"
    assert spec.origin is not None, "a package of files"
    names = re.compile("|".join(PACKAGES), re.IGNORECASE)
    root = Path(spec.origin).parent
    files = [file.relative_to(root).as_posix() for file in root.rglob("*.py")]
    files.sort(key=lambda file: hashlib.sha256(file.encode()).digest())
    texts = (
        names.sub("", text)
        for file in files
        if "test" not in file
        for text in _docstrings(root / file)
    )
    return list(islice(_distinct(text for text in texts if len(words(text)) >= 8), _MOST))


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    seen = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _docstrings(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):  # a file of another Python
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield text.split("\n\n")[0]
