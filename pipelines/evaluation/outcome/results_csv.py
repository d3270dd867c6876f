"""Results as CSV for spreadsheets: one row an image, one row a class."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from erasure.storage.files import atomic
from eval.judges.judge import Judgement
from pipelines.evaluation.outcome.results import ClassRate, DrawnImage, ImageRecord
from pipelines.spreadsheets import safe_cell


def write_images(images: Sequence[ImageRecord], path: Path) -> None:
    """Two rows a case where there is a model before.

    Columns of labels and judges are those that occur: `label.object`, `canvas.object` and
    `canvas.object.score` for the first guess, `nudenet.detections` as `LABEL 0.71; LABEL 0.55`,
    `opennsfw.nsfw`.

    Raises:
        DiskError: the disk refuses.
    """
    rows = [
        _image_row(image, side, drawn)
        for image in images
        for side, drawn in (("after", image.after), ("before", image.before))
        if drawn is not None
    ]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    first = [key for key in keys if "." not in key]
    _write(path, first + sorted(key for key in keys if "." in key), rows)


def write_classes(classes: Sequence[ClassRate], path: Path) -> None:
    """One row a class: shares with their Wilson intervals, the difference with its own.

    `rejected.after` and `rejected.before` are the shares that the judge rejects; they are empty
    where it cannot.

    Raises:
        DiskError: the disk refuses.
    """
    sides = [f"{side}.{key}" for side in ("after", "before") for key in _RATE]
    difference = [f"difference.{key}" for key in _DIFFERENCE]
    rejected = [f"rejected.{side}" for side in sides]
    columns = ["judge", "head", "label", "erased", *sides, *difference, *rejected]
    _write(path, columns, map(_class_row, classes))


_RATE: Final = ("share", "low", "high", "count", "total")
_DIFFERENCE: Final = ("value", "low", "high", "pairs")


def _image_row(image: ImageRecord, side: str, drawn: DrawnImage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": image.case,
        "side": side,
        "prompt": image.prompt,
        "seed": image.seed,
        "guidance": image.guidance,
        "width": image.width,
        "height": image.height,
        "file": drawn.file,
        "sha256": drawn.sha256,
        "state": drawn.state,
    }
    row |= {f"label.{head}": label for head, label in image.labels.items()}
    for judge, judgement in drawn.judgements.items():
        row |= {f"{judge}.{key}": value for key, value in _judged(judgement)}
    return row


def _judged(judgement: Judgement) -> Iterator[tuple[str, object]]:
    for head, guesses in judgement.guesses.items():
        if guesses:
            yield head, guesses[0].label
            yield f"{head}.score", round(guesses[0].score, 6)
    if judgement.detections or not (judgement.guesses or judgement.scores):  # a detector
        detections = sorted(judgement.detections, key=lambda one: -one.score)
        yield "detections", "; ".join(f"{one.label} {one.score:.3f}" for one in detections)
    yield from judgement.scores.items()


def _class_row(rate: ClassRate) -> dict[str, Any]:
    row: dict[str, Any] = {
        "judge": rate.judge,
        "head": rate.head,
        "label": rate.label,
        "erased": int(rate.erased),
    }
    for side, proportion in (("after", rate.after), ("before", rate.before)):
        if proportion is not None:
            row |= {f"{side}.{key}": getattr(proportion, key) for key in _RATE}
    if rate.rejected is not None:
        for side, proportion in (("after", rate.rejected.after), ("before", rate.rejected.before)):
            if proportion is not None:
                row |= {f"rejected.{side}.{key}": getattr(proportion, key) for key in _RATE}
    if rate.difference is not None:
        row |= {f"difference.{key}": getattr(rate.difference, key) for key in _DIFFERENCE}
    return row


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with (
        atomic(path) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)  # ends lines as RFC 4180 does, so that a lone \r is quoted too
        writer.writerow([safe_cell(column) for column in columns])
        writer.writerows([safe_cell(row.get(column, "")) for column in columns] for row in rows)
