"""Hashes of what lies behind the paths that the recipe of a benchmark names."""

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from erasure.editing.own_code import imported_hash
from pipelines.bench.settings import BenchRecipe
from pipelines.json_values import object_in
from pipelines.run.judging.judge_files import judge_files_hash


def contents_of(recipe: BenchRecipe) -> dict[str, str]:
    """Name -> hash of the content: prompts, labels, pictures to learn from, these by their names
    and sizes, and judges that are folders."""
    data = object_in(recipe.erase, "data")
    places: dict[str, Any] = {
        **{name: getattr(recipe, name) for name in ("prompts", "labels")},
        **{role: object_in(data, role).get("folder") for role in ("forget", "retain")},
    }
    paths = {n: os.path.expanduser(p) for n, p in places.items() if isinstance(p, str)}
    there = {n: _hash_of(Path(path)) for n, path in paths.items() if os.path.exists(path)}
    return {**there, **dict(_judges(recipe))}


def _judges(recipe: BenchRecipe) -> Iterator[tuple[str, str]]:
    """Every judge that lies on this machine, by the content of its files."""
    named = [(f"judge {text}", judge_files_hash(text)) for text in recipe.judges]
    for name in ("erase", "attack", "distance"):
        table = getattr(recipe, name)
        own = judge_files_hash(table.get("judge"), table.get("labels"))
        named.append((f"judge of {name}", own))
    for name, content in named:
        if content is not None:
            yield name, content


def hash_of_code(code: str) -> str:
    """SHA-256 of the file of a method of the user's own, and of the modules that it imports from
    beside it; what was given where there is no file."""
    place, _, name = code.rpartition(":")
    path = Path(place) if place.endswith(".py") else _file_of(place)
    if path is None or not path.is_file():
        return code
    imported = imported_hash(path)
    return f"{_hash_of(path)}:{name}" + (f":{imported}" if imported else "")


def _file_of(module: str) -> Path | None:
    """The file of a module that is named by its dots."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _hash_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and sizes of what lies in a folder."""
    if path.is_dir():
        files = sorted((p.relative_to(path), p.lstat().st_size) for p in path.rglob("*"))
        content = "\n".join(f"{name.as_posix()} {size}" for name, size in files).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()
