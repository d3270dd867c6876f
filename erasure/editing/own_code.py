"""The modules that the file of a user's own method imports from beside it: they decide too."""

import ast
import hashlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_OURS: Final = ("erasure", "eval", "prompts", "pipelines")
"""The packages of this distribution, whose version stands beside what was made."""
_INSTALLED: Final = ("site-packages", "dist-packages")
"""Folders of what is installed, and has a version of its own."""


def imported_hash(file: Path) -> str:
    """SHA-256 of the modules of the user's own that a file imports, and of those that they import.

    They are found as Python finds them, and beside the file, which may put its folder on the path.
    What is installed does not count, nor what is read or imported by a name that is made up when
    the code runs. Empty where there is no such module.
    """
    own, beside = file.resolve(), file.absolute().parent
    files: dict[Path, None] = {}
    waiting = [own]
    while waiting:
        for path in _imported(waiting.pop(), beside):
            if path not in files and path != own:
                files[path] = None
                waiting.append(path)
    lines = sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def _imported(file: Path, beside: Path) -> Iterator[Path]:
    """The files of the user's own modules that one file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # whoever imports it says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(_root(alias.name, beside), alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            words = node.module.split(".") if node.module else []
            above = file.parents[node.level - 1] if node.level else _root(words[0], beside)
            for alias in node.names:
                yield from _files(above, [*words, alias.name])


def _root(module: str, beside: Path) -> Path | None:
    """The folder in which a module of the user's own lies; None for any other."""
    name = module.partition(".")[0]
    if name in _OURS or name in sys.stdlib_module_names:
        return None
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # one that was put together by hand
        spec = None
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    known = next((Path(place) for place in places if place), None)
    if known is None:
        return beside
    return None if any(part in _INSTALLED for part in known.parts) else known.parent


def _files(root: Path | None, words: list[str]) -> Iterator[Path]:
    """The files of a.b.c: those of a, of a.b and of a.b.c, as far as they are modules."""
    if root is None:
        return
    for count in range(1, len(words) + 1):
        place = root.joinpath(*words[:count])
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if path.is_file():
                yield path.resolve()
