"""Pictures of all runs, each prompt on one seed: a row a prompt, a column a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.comparison.sources import Compared, Evaluation
from pipelines.evaluation.outcome.results import DrawnImage, ImageRecord
from pipelines.evaluation.report.report_format import shortened
from pipelines.evaluation.report.report_marks import Marks, marks, remarks
from pipelines.evaluation.report.report_pairs import NOT_SHOWN, evenly
from pipelines.evaluation.report.report_pictures import Inlined, inline

MAX_PROMPTS: Final = 24
MAX_BYTES: Final = 6_000_000
"""Most bytes of pictures in the page."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture."""

    picture: Inlined
    words: tuple[str, ...]
    """What the judges say of it."""
    unsafe: bool
    mark: str
    """`still found`, `lost` or nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt."""

    prompt: str
    seed: int
    erased: bool
    """Whether it asks for what at least one run was to forget."""
    pictures: tuple[Shown | None, ...]
    """One a column; None where that model drew nothing."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The pictures of the page."""

    columns: tuple[str, ...]
    """Bases, then runs."""
    bases: int
    """How many of the columns are bases."""
    lines: tuple[Line, ...]
    total: int
    """Prompts of the suite."""


def side_by_side(rows: Sequence[Compared]) -> SideBySide | None:
    """Choose prompts and inline their pictures, of each prompt those of its least seed.

    Prompts of erased concepts come first, then those in which a run lost something, then others
    spread evenly; at most `MAX_PROMPTS` and about `MAX_BYTES`.

    Returns:
        None where the evaluations have no picture in common.
    """
    there = [(row.name, row.evaluation) for row in rows if row.evaluation is not None]
    drawn = [{image.case: image for image in one.results.images} for _, one in there]
    cases = _one_a_prompt(drawn)
    if not cases:
        return None
    pairs = list(zip((one for _, one in there), drawn, strict=True))
    marked = {case: [marks(own[case], one.results) for one, own in pairs] for case in cases}
    bases = _bases(there)
    lines: list[Line] = []
    size = 0
    for case in _chosen(cases, marked):
        befores = [_before(pairs[n][0], drawn[n][case], marked[case][n]) for n in bases]
        afters = [
            _after(one, own[case], mark)
            for (one, own), mark in zip(pairs, marked[case], strict=True)
        ]
        pictures = (*befores, *afters)
        size += sum(len(one.picture.uri) for one in pictures if one is not None)
        if size > MAX_BYTES:
            break
        image, erased = drawn[0][case], any(mark.erased for mark in marked[case])
        lines.append(Line(shortened(image.prompt), image.seed, erased, pictures))
    names = [f"{_base_name(pairs[n][0])} (before)" for n in bases]
    return SideBySide(
        columns=(*names, *(name for name, _ in there)),
        bases=len(names),
        lines=tuple(lines),
        total=len(cases),
    )


def _one_a_prompt(drawn: Sequence[Mapping[str, ImageRecord]]) -> list[str]:
    """The case of the least seed of each prompt, of those that all have."""
    least: dict[str, ImageRecord] = {}
    for case, image in drawn[0].items() if drawn else ():
        if all(case in own for own in drawn):
            known = least.get(image.prompt)
            if known is None or image.seed < known.seed:
                least[image.prompt] = image
    return [image.case for image in least.values()]


def _bases(there: Sequence[tuple[str, Evaluation]]) -> list[int]:
    """The first run of each base."""
    first: dict[str, int] = {}
    for n, (_, one) in enumerate(there):
        before = one.results.models.before
        if before is not None:
            first.setdefault(before.hash, n)
    return list(first.values())


def _base_name(evaluation: Evaluation) -> str:
    before = evaluation.results.models.before
    assert before is not None
    return before.name


def _chosen(cases: Sequence[str], marked: dict[str, list[Marks]]) -> Iterator[str]:
    """Erased ones first and telling ones next, each up to half of the room; then spread evenly."""
    erased = [case for case in cases if any(mark.erased for mark in marked[case])]
    telling = [c for c in cases if c not in erased and any(m.telling for m in marked[c])]
    first = evenly(erased, MAX_PROMPTS // 2)
    second = evenly(telling, (MAX_PROMPTS - len(first)) // 2)
    taken = {*first, *second}
    rest = [case for case in cases if case not in taken and case not in erased]
    yield from (*first, *second, *evenly(rest, MAX_PROMPTS - len(taken)))


def _before(evaluation: Evaluation, image: ImageRecord, mark: Marks) -> Shown | None:
    if image.before is None:
        return None
    return _shown(evaluation, image.before, unsafe=mark.unsafe_before, mark="")


def _after(evaluation: Evaluation, image: ImageRecord, mark: Marks) -> Shown:
    words = "still found" if mark.still_seen else "lost" if mark.lost else ""
    return _shown(evaluation, image.after, unsafe=mark.unsafe_after, mark=words)


def _shown(evaluation: Evaluation, drawn: DrawnImage, *, unsafe: bool, mark: str) -> Shown:
    missing = NOT_SHOWN.get(drawn.state)
    picture = Inlined(missing=missing) if missing else inline(evaluation.folder, drawn.file)
    return Shown(picture, tuple(remarks(drawn)), unsafe, mark)
