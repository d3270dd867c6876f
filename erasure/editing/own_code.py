"""The modules that the file of a user's own method imports from beside it: they decide too."""

import ast
import hashlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from os.path import normpath
from pathlib import Path
from typing import Final

_OURS: Final = ("erasure", "eval", "prompts", "pipelines")
"""The packages of this distribution, whose version stands beside what was made."""
_INSTALLED: Final = ("site-packages", "dist-packages")
"""Folders of what is installed, and has a version of its own."""
_NOTES: Final = "*.dist-info"
"""What `pip install --target` leaves beside what it installs."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A file, and its place in the folder that its imports begin in, whatever that is called."""

    path: Path
    place: str


def imported_hash(file: Path) -> str:
    """SHA-256 of the modules of the user's own that a file imports, and of those that they import.

    They are found as Python finds them, and beside the file, which may put its folder on the path;
    compiled ones count by their bytes. What is installed does not count, nor what is read or
    imported by a name that is made up when the code runs. Empty where there is no such module.
    """
    own, beside = file.resolve(), file.absolute().parent
    modules: dict[Path, _Module] = {}
    waiting = [_Module(own, own.name)]
    while waiting:
        for module in _imported(waiting.pop(), beside):
            if module.path not in modules and module.path != own:
                modules[module.path] = module
                waiting.append(module)
    lines = sorted(f"{one.place} {_hash_of(one.path)}" for one in modules.values())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _imported(module: _Module, beside: Path) -> Iterator[_Module]:
    """The user's own modules that one of them imports."""
    for node in ast.walk(_read(module.path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(_root(alias.name, beside), ".", alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            words = node.module.split(".") if node.module else []
            if not node.level:
                above, place = _root(words[0], beside), "."
            elif node.level > len(module.path.parents):  # above the root: no import finds it
                continue
            else:
                above = module.path.parents[node.level - 1]
                place = f"{module.place}{'/..' * node.level}"
            for alias in node.names:
                yield from _files(above, place, [*words, alias.name])


def _read(file: Path) -> ast.AST:
    """The source of a module; an empty one where there is none, or none that Python can read, which
    whoever imports it says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes whoever imports it is warned
        try:
            return ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.Module([], [])


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
    installed = any(part in _INSTALLED for part in known.parts) or any(known.parent.glob(_NOTES))
    return None if installed else known.parent


def _files(root: Path | None, place: str, words: list[str]) -> Iterator[_Module]:
    """The modules of a.b.c: those of a, of a.b and of a.b.c, as far as there are files of them."""
    if root is None:
        return
    for count in range(1, len(words) + 1):
        stem = root.joinpath(*words[:count])
        for suffix in all_suffixes():
            for path in (stem.with_name(f"{stem.name}{suffix}"), stem / f"__init__{suffix}"):
                if path.is_file():
                    inner = path.relative_to(root).as_posix()
                    yield _Module(path.resolve(), normpath(f"{place}/{inner}"))
