"""The files of a judge on this machine: their paths alone do not say what it sees."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from eval.judges.judges import JUDGES


def judge_files_hash(judge: object, labels: object = None) -> str | None:
    """SHA-256 of the names and contents of a judge's files, hidden ones left out; None for a judge
    that has a name or is of the hub, where its labels are no file either.

    Args:
        judge: as a recipe names it, with or without the kind of its labels before a `=`.
        labels: as a recipe names them.
    """
    files = {**dict(_of_judge(judge)), **dict(_of_labels(labels))}
    digest = hashlib.sha256()
    for name, path in files.items():
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest() if files else None


def _of_judge(judge: object) -> Iterator[tuple[str, Path]]:
    """Place -> file of a judge that is a folder."""
    name = judge.rpartition("=")[2] if isinstance(judge, str) else ""
    folder = Path(os.path.expanduser(name))
    if not name or name in JUDGES or not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in place.parts):
            yield place.as_posix(), path


def _of_labels(labels: object) -> Iterator[tuple[str, Path]]:
    """The file of labels, where they are one."""
    path = os.path.expanduser(labels) if isinstance(labels, str) else ""
    if os.path.isfile(path):
        yield "the labels", Path(path)
