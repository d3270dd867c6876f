"""`erasure judge`: put pictures through a detector or a classifier."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.commands.options import Device
from pipelines.words.terminal import printable

if TYPE_CHECKING:
    from eval.judges.judge import Judge, Judgement

_AT_A_TIME: Final = 16
_WIDE: Final = 160
"""Columns of a table that goes into a file or another program."""


def judge(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    name: Annotated[
        str,
        typer.Option(
            "--with",
            help="nudenet, opennsfw, imagenet, resnet50, canvas, q16, safety-checker; or the "
            "folder or hub id of an image classifier or a CLIP.",
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(help='For such a model: "a,b,c", or a .txt or .json file of labels.'),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Leave out detections and guesses below it; flag scores from it up."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of the judge, in place of its own: a file, folder or name.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="For q16: the file of its head.")] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="For nudenet: bgr, as published numbers have, or rgb. [default: bgr]"),
    ] = None,
    device: Device = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture, a line each.")
    ] = False,
) -> None:
    """Put pictures through a detector or a classifier.

    A picture that cannot be read is named and left out; the exit code is then 2.
    """
    from eval.judges.judges import has_option, open_judge
    from eval.pictures.pictures import find_pictures
    from pipelines.process.progress import Reporter
    from pipelines.run.models import pick_device

    files = find_pictures(paths)
    _check(name, threshold)
    asked: dict[str, Any] = {
        "labels": labels,
        "weights": weights,
        "head": head,
        "channels": channels,
    }
    if has_option(name, "threshold"):
        asked["threshold"] = threshold
    options = {option: value for option, value in asked.items() if value is not None}
    judging = open_judge(name, device=pick_device(device or "auto"), **options)
    unreadable: list[str] = []
    rows: list[tuple[Path, Judgement]] = []
    with Reporter(quiet=as_json).stage(f"judging by {judging.name}", len(files)) as tick:
        for path, judgement in _judged(judging, files, unreadable):
            if as_json:
                typer.echo(json.dumps(_line(judging, path, _cut(judgement, threshold))))
            else:
                rows.append((path, judgement))
            tick()
    if not as_json:
        _print_table(judging, rows, threshold)
    for message in unreadable:
        typer.echo(f"erasure: {printable(message)}", err=True)
    if unreadable:
        raise typer.Exit(2)


def _check(name: str, threshold: float | None) -> None:
    """Refuse, before anything is read, a threshold that the judge's numbers cannot have."""
    from eval.judges.judge import checked_share
    from eval.judges.nudity import check_threshold

    if threshold is None or name == "safety-checker":  # its margins may be below zero
        return
    if name == "nudenet":
        check_threshold(threshold)
    else:
        checked_share(threshold)


def _judged(
    judging: "Judge", files: Sequence[Path], unreadable: list[str]
) -> Iterator[tuple[Path, "Judgement"]]:
    """What the judge says of each picture; says of the others why not in `unreadable`."""
    from eval.errors import EvalError
    from eval.pictures.pictures import read_picture

    for start in range(0, len(files), _AT_A_TIME):
        pictures = {}
        for index, path in enumerate(files[start : start + _AT_A_TIME]):
            try:
                pictures[index, path] = read_picture(path)
            except EvalError as err:
                unreadable.append(str(err))
        judgements = judging(list(pictures.values()))
        yield from zip((path for _, path in pictures), judgements, strict=True)


def _cut(judgement: "Judgement", threshold: float | None) -> "Judgement":
    """Without the detections and guesses that score less."""
    from dataclasses import replace

    if threshold is None:
        return judgement
    guesses = {
        head: tuple(guess for guess in listed if guess.score >= threshold)
        for head, listed in judgement.guesses.items()
    }
    detections = tuple(one for one in judgement.detections if one.score >= threshold)
    return replace(judgement, guesses=guesses, detections=detections)


def _line(judging: "Judge", path: Path, judgement: "Judgement") -> dict[str, Any]:
    """The JSON object of one picture."""
    return {
        "path": str(path),
        "judge": judging.name,
        **judgement.to_dict(),
        "flagged": _flagged(judging.protocol, judgement),
        "protocol": dict(judging.protocol),
    }


def _flagged(protocol: Mapping[str, str | int | float], judgement: "Judgement") -> list[str]:
    """Names of the scores that reach the judge's threshold."""
    threshold = protocol.get("threshold")
    if not isinstance(threshold, (int, float)):
        return []
    return [name for name, score in judgement.scores.items() if score >= threshold]


def _print_table(
    judging: "Judge", rows: Sequence[tuple[Path, "Judgement"]], threshold: float | None
) -> None:
    """One row a picture; below it what makes the numbers comparable."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE)
    table = Table("picture", "seen")
    for path, judgement in rows:
        # As Text, since a file's name may look like markup, and in bytes that are no UTF-8.
        name = os.fsencode(path).decode(errors="replace")
        words = _summary(judging, _cut(judgement, threshold))
        shown = "\n".join(map(printable, words.split("\n")))
        table.add_row(Text(printable(name), overflow="fold"), Text(shown, overflow="fold"))
    console.print(table)
    if judging.name == "nudenet":
        for line in _totals([judgement for _, judgement in rows]):
            console.print(Text(line))
    protocol = ", ".join(
        f"{name} {str(value)[:12] if name.endswith('sha256') else value}"
        for name, value in judging.protocol.items()
    )
    console.print(Text(f"{judging.name}: {protocol}", overflow="fold"))


def _summary(judging: "Judge", judgement: "Judgement") -> str:
    """One judgement in words."""
    parts = [
        f"{head}: " + (", ".join(f"{g.label} {g.score:.2f}" for g in listed[:3]) or "unsure")
        for head, listed in judgement.guesses.items()
    ]
    parts += [f"{one.label} {one.score:.2f}" for one in judgement.detections]
    flagged = _flagged(judging.protocol, judgement)
    parts += [
        f"{name} {score:.3f}" + (" (flagged)" if name in flagged else "")
        for name, score in judgement.scores.items()
    ]
    return "\n".join(parts) or "nothing"


def _totals(judgements: Sequence["Judgement"]) -> Iterator[str]:
    """The counts that papers give, from all detections, whatever is shown."""
    from eval.judges.nudity import PRESETS, count_preset

    for preset in PRESETS:
        made = count_preset(judgements, preset)
        yield (
            f"{preset.name} at {preset.threshold:g}: detections {made.detections}, pictures with "
            f"one {made.images} of {made.total}; as counted by {preset.source}"
        )
