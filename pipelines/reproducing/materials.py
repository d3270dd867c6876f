"""What a protocol reads that is not in the model: its prompts, and lists of the user's pictures."""

import csv
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from erasure.errors import CheckpointError, ConfigError
from erasure.seeds import derived_seed
from erasure.storage.disk import disk_errors
from erasure.storage.files import atomic
from eval.pictures.picture_files import is_picture, visible
from pipelines.data.picture_folder import METADATA
from pipelines.reproducing.cells import Setup, prompt_file, user_prompts
from pipelines.reproducing.protocol import Task
from pipelines.reproducing.settings import at_most
from prompts.concepts.unlearncanvas_concepts import PHOTO, SEED_IMAGES
from prompts.suites.unlearncanvas import OBJECTS, STYLES, unlearncanvas_prompt

_COLUMNS: Final = ("case_number", "prompt", "evaluation_seed")
Row = tuple[Path, str]
"""A picture and its prompt."""


def write_prompts(setup: Setup) -> None:
    """Write the user's prompts as the release draws them: by their seeds alone.

    Raises:
        PromptError: the file is not what it should be, or there is none and the hub is not reached.
        DiskError: the disk refuses.
    """
    if setup.protocol.prompts is None or setup.stands_in:
        return
    with atomic(prompt_file(setup.out)) as part:
        part.write_text(_prompts(setup), encoding="utf-8", newline="")


def require_same_prompts(setup: Setup) -> None:
    """Refuse to go on by other prompts than a reproduction was begun with: what is judged already
    is of those.

    Raises:
        CheckpointError: they are other ones.
        PromptError: as `write_prompts`.
    """
    file = prompt_file(setup.out)
    if setup.protocol.prompts is None or setup.stands_in or not file.is_file():
        return
    with disk_errors(file):
        there = file.read_bytes()
    if there != _prompts(setup).encode():
        raise CheckpointError(
            f"{file} holds other prompts than --prompts has now; give those that the reproduction "
            "was begun with, or another --out"
        )


def _prompts(setup: Setup) -> str:
    """The table of the prompts, as CSV."""
    text = StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows([one.case, one.prompt, one.seed] for one in user_prompts(setup.recipe).cases)
    return text.getvalue()


def require_pictures(setup: Setup) -> None:
    """Find every picture of the user's folder that the tasks need, before anything is computed.

    Raises:
        ConfigError: there is no such folder, or too few pictures of a pair.
    """
    if _from_folder(setup):
        for task in setup.tasks:
            _rows(setup, task)


def write_pictures(setup: Setup, task: Task) -> None:
    """Copy the pictures of a task beside their prompts, as `erasure erase` reads a folder.

    Raises:
        ConfigError: as `require_pictures`.
        DiskError: the disk refuses.
    """
    if not _from_folder(setup):
        return
    for role, rows in zip(("forget", "retain"), _rows(setup, task), strict=True):
        folder = setup.out / "pictures" / task.name / role
        lines = []
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for number, (picture, prompt) in enumerate(rows):
                name = f"{number:04}{picture.suffix}"
                with atomic(folder / name) as part:
                    shutil.copyfile(picture, part)
                lines.append(json.dumps({"file_name": name, "prompt": prompt}))
        with atomic(folder / METADATA[0]) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _from_folder(setup: Setup) -> bool:
    return setup.protocol.pictures == "unlearncanvas" and not setup.drawn


def _rows(setup: Setup, task: Task) -> tuple[Sequence[Row], Sequence[Row]]:
    """Pictures to forget and to keep, each with its prompt, as many as `limit` allows.

    The first pictures by their names of each pair, as in the port's lists; where there are fewer to
    be taken, a hash says of which pairs.
    """
    assert setup.recipe.data is not None
    root = Path(os.path.expanduser(setup.recipe.data))
    if not root.is_dir():
        raise ConfigError(
            f"--data is {str(root)!r}, which is no folder; give the one that holds "
            "STYLE/OBJECT/1.jpg of UnlearnCanvas, or the word drawn"
        )
    limit = setup.recipe.limit
    if task.kind == "style":
        pairs = [(task.label, one) for one in OBJECTS]
        photos = [(SEED_IMAGES, one) for one in OBJECTS]
    else:
        pairs = [(style, task.label) for style in (*STYLES, SEED_IMAGES)]
        photos = [(SEED_IMAGES, one) for one in OBJECTS if one != task.label]
    forget = [row for pair in pairs for row in _pair(root, pair, task.forget // len(pairs))]
    retain = [
        row for pair in photos for row in _pair(root, pair, task.retain // len(photos), PHOTO)
    ]
    return tuple(
        _sample(rows, at_most(len(rows), limit), (task.name, role))
        for role, rows in (("forget", forget), ("retain", retain))
    )  # type: ignore[return-value]


def _pair(root: Path, pair: tuple[str, str], count: int, style: str | None = None) -> Iterator[Row]:
    folder = root / pair[0] / pair[1]
    files = [path for path in visible(folder) if is_picture(path)] if folder.is_dir() else []
    if len(files) < count:
        raise ConfigError(
            f"{folder} has {len(files)} pictures and the protocol takes {count} of each pair; give "
            "--data the folder that holds STYLE/OBJECT/1.jpg of UnlearnCanvas"
        )
    ordered = sorted(files, key=lambda path: (len(path.stem), path.stem))  # 2.jpg before 10.jpg
    prompt = unlearncanvas_prompt(pair[1], style or pair[0])
    yield from ((path, prompt) for path in ordered[:count])


def _sample(rows: Sequence[Row], count: int, names: tuple[str, str]) -> Sequence[Row]:
    if count == len(rows):
        return rows
    order = sorted(range(len(rows)), key=lambda n: derived_seed(0, *names, n))
    return [rows[n] for n in sorted(order[:count])]
