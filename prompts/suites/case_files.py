"""Cases from a table: the user's own prompts, captions, and any table with such columns."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final, Literal

from prompts.concepts.phrases import tidy
from prompts.errors import PromptError
from prompts.suites.case import LazyCases, PromptCase, PromptSet, repeated
from prompts.suites.cells import blank, real, text, whole
from prompts.suites.tables import Row, Table, refuse_broken, require_column

Read = Callable[[Row], PromptCase | None]

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt", "caption"),
    "seed": ("seed", "evaluation_seed", "sd_seed"),
    "guidance": ("guidance", "guidance_scale", "evaluation_guidance", "sd_guidance_scale"),
    "width": ("width", "sd_image_width"),
    "height": ("height", "sd_image_height"),
    "id": ("id", "case", "case_number"),
}
"""What a case is made of -> the names of its column, ours and those of published tables; where
there are several of them, the first counts."""

LABELS: Final = ("object", "style", "class", "label")
"""Columns of a table of the user's own that become labels."""

_ALIKE: Final = 0.85
"""How much a column must look like one that is read to be taken for a slip (difflib's ratio)."""


def file_set(
    name: Literal["captions", "csv"],
    path: Path,
    *,
    seeds: Sequence[int] | None = None,
    samples: int | None = None,
) -> PromptSet:
    """A picture for each row of a `.csv`, `.jsonl` or `.txt` file, which is read as it is drawn.

    Only the prompt (or caption) must be there. A row without a seed has its position as one, 0
    for the first, so that no two begin with the same noise; the same for a row without an id.

    Args:
        name: `csv` also reads columns named as in `LABELS`.
        path: of the table; its columns are those of `COLUMNS`, others are passed over.
        seeds: draw each prompt by each of these in place of the row's own seed.
        samples: or by the row's own seed + 0, 1, 2...

    Raises:
        PromptError: there is no such file, it is empty, or lacks the prompt's column; while it is
            read: a row is broken, a value is out of its range, or an id is there twice.
    """
    labels = LABELS if name == "csv" else ()
    rows = Table(path)
    first = next(iter(rows), None)
    if first is None:
        raise PromptError(f"the prompt file {path} has no prompt in it; write at least one")
    heads = tuple(label for label in labels if label in first.cells)
    check = partial(check_columns, known=(*COLUMNS, *labels))
    read = partial(_read_labelled, labels=labels, heads=heads)
    cases = partial(read_cases, rows, str(path), read, check=check, seeds=seeds, samples=samples)
    next(cases())
    return PromptSet(name=name, source=str(path), cases=LazyCases(cases), heads=heads)


def read_cases(
    rows: Iterable[Row],
    source: str,
    read: Read,
    *,
    check: Callable[[Collection[str], str], None],
    seeds: Sequence[int] | None,
    samples: int | None,
) -> Iterator[PromptCase]:
    """Cases of the rows that are wanted, one by one; only ids are kept, to see them twice.

    Args:
        rows: of a table or of a data set.
        source: their name in messages.
        read: the row's case; None where it is not wanted.
        check: raises PromptError where columns are not as they should be.
        seeds: as for `prompts.suites.case.repeated`, `samples` too.
    """
    checked: set[tuple[str, ...]] = set()
    taken: set[str] = set()
    for row in rows:
        columns = tuple(row.cells)
        if columns not in checked:
            check(columns, source)
            checked.add(columns)
        try:
            refuse_broken(row)
            case = read(row)
            if case is None:
                continue
            key = case.case.lower()  # many file systems take `A.png` for `a.png`
            if key in taken:
                raise PromptError(f"the id {case.case!r} is there twice; give each row its own")
            yield from repeated(case, seeds=seeds, samples=samples)
        except PromptError as err:
            raise PromptError(f"{row.place} of {source}: {err}") from err
        taken.add(key)


def read_case(row: Row, *, labels: Sequence[str] = (), unnamed: str = "") -> PromptCase:
    """What a row asks for; the prompt with single spaces, which is all the same to CLIP.

    Args:
        row: with the columns of `COLUMNS`.
        labels: columns that become labels, where they are not blank.
        unnamed: the prompt where there is none; the empty one is refused.

    Raises:
        PromptError: a value is not what it should be; the message does not say in which row.
    """
    cells = {role: _found(row.cells, names) for role, names in COLUMNS.items()}
    prompt = tidy(text(cells["prompt"], "prompt")) or unnamed
    if not prompt:
        raise PromptError("it has no prompt; write one, or take the row out")
    seed = whole(cells["seed"], "seed")
    named = any(name in row.cells for name in COLUMNS["id"])
    return PromptCase(
        case=text(cells["id"], "id") if named else str(row.position),
        prompt=prompt,
        seed=row.position if seed is None else seed,
        guidance=real(cells["guidance"], "guidance"),
        width=whole(cells["width"], "width"),
        height=whole(cells["height"], "height"),
        labels={name: text(row.cells[name], name) for name in labels if _has(row.cells, name)},
    )


def _read_labelled(row: Row, *, labels: Sequence[str], heads: Sequence[str]) -> PromptCase:
    """`read_case`; PromptError for a label that the first row, of JSON, did not have: no picture
    would be judged by it."""
    case = read_case(row, labels=labels)
    for label in case.labels:
        if label not in heads:
            raise PromptError(
                f"it has {label!r} and the first row, which says what is judged, has not; write it "
                'there too, as "" where there is none'
            )
    return case


def check_columns(columns: Collection[str], source: str, *, known: Sequence[str]) -> None:
    """Raise PromptError where the prompt is missing, or a column is most likely a slip of the pen.

    Such a one would be passed over in silence, and the pictures would not be those asked for.

    Args:
        known: roles of `COLUMNS`, and further columns that may be there.
    """
    require_column(COLUMNS["prompt"], columns, source)
    missing: list[str] = []
    for role in known:
        names = COLUMNS.get(role, (role,))
        if not any(name in columns for name in names):
            missing += names
    for column in columns:
        alike = get_close_matches(column.strip().lower(), missing, n=1, cutoff=_ALIKE)
        if alike:
            raise PromptError(
                f"{source} has a column {column!r}, which is not read; the nearest is {alike[0]}; "
                "rename it"
            )


def _has(cells: Mapping[str, object], name: str) -> bool:
    return not blank(cells.get(name))


def _found(cells: Mapping[str, object], names: Sequence[str]) -> object:
    return next((cells[name] for name in names if name in cells), None)
