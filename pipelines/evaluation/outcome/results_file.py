"""`results.json` and the tables beside it: what an evaluation found, written and read."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

from erasure.storage.files import atomic
from erasure.storage.tables import to_table
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_csv import write_classes, write_images
from pipelines.result_file import read_result_file

FORMAT: Final = "diffusion-erasure results 2"
_OLDER: Final = ("diffusion-erasure results 1",)
"""Read as well: their judges could not reject a picture, all else is the same."""
FILE_NAME: Final = "results.json"


def write_results(results: Results, folder: Path) -> Path:
    """Write `images.csv`, `classes.csv`, then `results.json`, each whole or not at all.

    Returns:
        The path of `results.json`.

    Raises:
        DiskError: the disk refuses.
    """
    write_images(results.images, folder / "images.csv")
    write_classes(results.classes, folder / "classes.csv")
    path = folder / FILE_NAME
    with atomic(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as file:
        # Half a surrogate pair, which JSONL may bring in, becomes the escape that JSON reads back.
        file.writelines(_lines(results))
    return path


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Args:
        path: the file, or the folder it lies in.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    read: Results = read_result_file(
        Results,
        path / FILE_NAME if path.is_dir() else path,
        (FORMAT, *_OLDER),
        name="results",
        command="erasure evaluate --out",
        again="evaluate again into that folder, finished images are kept",
    )
    return read


def _lines(results: Results) -> Iterator[str]:
    """JSON with a row of a list on each line: quick to search, and two files can be compared."""
    yield f'{{\n"format": {_json(FORMAT)}'
    for f in fields(results):
        value = to_table(getattr(results, f.name))
        yield f',\n"{f.name}": '
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield "[\n" + ",\n".join(map(_json, value)) + "\n]"
        else:
            yield _json(value)
    yield "\n}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
