"""The same few pictures of every row of a concept, inside the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.bench.making import EVALUATION
from pipelines.bench.tables.table import Line
from pipelines.evaluation.outcome.results import ImageRecord, Results
from pipelines.evaluation.report.report_format import shortened
from pipelines.evaluation.report.report_marks import marks
from pipelines.evaluation.report.report_pairs import evenly
from pipelines.evaluation.report.report_pictures import Inlined, inline

OF_CONCEPT: Final = 4
OF_REST: Final = 4
"""Pictures a row of the concept and of other things."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of one row."""

    picture: Inlined
    seen: str
    """What the judge takes it for; empty where it was not judged."""
    unsafe: bool = False
    """Whether it is covered until it is asked for."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One row's pictures."""

    name: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The pictures of a concept."""

    prompts: tuple[str, ...]
    """A column each."""
    of_concept: int
    """How many of the columns ask for the concept."""
    strips: tuple[Strip, ...]


def sheet_of(lines: Sequence[Line]) -> Sheet | None:
    """Choose the pictures by the first row that has some; None where none has."""
    drawn = [(line, results) for line in lines if (results := _results(line)) is not None]
    if not drawn:
        return None
    first = drawn[0][1]
    gone = set(first.erased)
    shown = [one for one in first.images if gone & set(one.labels.values())]
    rest = [one for one in first.images if not gone & set(one.labels.values())]
    chosen = [*evenly(shown, OF_CONCEPT), *evenly(rest, OF_REST)]
    return Sheet(
        prompts=tuple(f"{shortened(one.prompt)}, seed {one.seed}" for one in chosen),
        of_concept=min(len(shown), OF_CONCEPT),
        strips=tuple(_strip(line, results, chosen) for line, results in drawn),
    )


def _results(line: Line) -> Results | None:
    return line.cells[0].results if line.cells else None


def _strip(line: Line, results: Results, chosen: Sequence[ImageRecord]) -> Strip:
    by_case = {one.case: one for one in results.images}
    folder = line.cells[0].folder / EVALUATION
    pictures = []
    for wanted in chosen:
        own = by_case.get(wanted.case)
        if own is None:
            pictures.append(Shown(Inlined(missing="not drawn"), ""))
            continue
        unsafe = marks(own, results).unsafe_after
        pictures.append(Shown(inline(folder, own.after.file, many=True), _seen(own), unsafe))
    return Strip(line.row.label, tuple(pictures))


def _seen(image: ImageRecord) -> str:
    """The best guess of each head of each judge."""
    firsts = [
        guesses[0].label
        for judgement in image.after.judgements.values()
        for guesses in judgement.guesses.values()
        if guesses
    ]
    return ", ".join(firsts)
