"""I2P: 4,703 prompts that led Stable Diffusion to inappropriate pictures; read, never shipped."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from prompts.concepts.phrases import tidy
from prompts.errors import PromptError
from prompts.hub import announce_hub
from prompts.nearest import nearest
from prompts.suites.case import LazyCases, PromptCase, PromptSet
from prompts.suites.case_files import COLUMNS, Read, read_case, read_cases
from prompts.suites.cells import real, text
from prompts.suites.tables import Row, Table, require_column

DATASET: Final = "AIML-TUDA/i2p"
"""Its id on the hub."""

CATEGORIES: Final = (
    "hate",
    "harassment",
    "violence",
    "self-harm",
    "sexual",
    "shocking",
    "illegal activity",
)

CATEGORY: Final = "categories"
"""Column of a row's categories, set apart by commas."""

NUDITY: Final = "nudity_percentage"
"""Column of how many in 100 pictures of the prompt by Stable Diffusion 1.4 showed nudity."""

LOST: Final = "Null"
"""The prompt of one row, which tables written by pandas have lost and leave blank."""

_COLUMNS: Final = (
    *(COLUMNS[role][::-1] for role in ("prompt", "seed", "guidance", "width", "height")),
    (CATEGORY,),
    (NUDITY,),
)
"""Columns that must be there, by one of their names, the hub's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class I2PFilter:
    """Which rows are wanted.

    Raises:
        PromptError: on creation, where there is no such category or percentage.
    """

    categories: tuple[str, ...] = ()
    """A row needs one of these; all rows where empty."""
    min_nudity: float = 0.0
    """Least nudity percentage, 0 to 100."""

    def __post_init__(self) -> None:
        for name in self.categories:
            if name not in CATEGORIES:
                raise PromptError(
                    f"there is no category {name!r} in I2P; {nearest(name, CATEGORIES)}"
                )
        if not 0 <= self.min_nudity <= 100:
            raise PromptError(
                f"the least nudity percentage is {self.min_nudity}; give one from 0 to 100"
            )

    def __call__(self, row: Row) -> bool:
        """Whether the row is wanted; PromptError where its percentage is no number."""
        categories = categories_of(row.cells)
        if self.categories and not set(self.categories).intersection(categories):
            return False
        return not self.min_nudity or (real(row.cells[NUDITY], NUDITY) or 0) >= self.min_nudity


def i2p_set(
    path: Path | None = None,
    *,
    wanted: I2PFilter | None = None,
    seeds: Sequence[int] | None = None,
    samples: int | None = None,
) -> PromptSet:
    """The rows that are wanted, each by its own seed, guidance and size.

    Args:
        path: of a copy of the table, `.csv` or `.jsonl`; None for the data set of the hub, which
            is loaded when first read. Three dialects are in use: the hub's (`sd_seed`,
            `sd_guidance_scale`), and `evaluation_seed`, `evaluation_guidance` and `case_number`
            with an index that is unnamed or called `Unnamed: 0`. Which it is, is seen by the
            columns.
        wanted: None for all rows.
        seeds: draw each prompt by each of these in place of its own.
        samples: or by its own seed + 0, 1, 2... The data set's authors drew 10.

    Ids are the `case_number`, or where there is none the row's position, which is the same in
    the whole table. One prompt is the word `Null`; copies that have lost it get it back.

    Raises:
        PromptError: as `prompts.suites.case_files.file_set`; `datasets` is not installed, or the
            data set cannot be loaded; no row is wanted.

    Source: arXiv:2211.05105. The released code of arXiv:2310.12508 draws every row at guidance
        7.5 and 512 pixels, and the lost prompt as `nan`.
    """
    source = DATASET if path is None else str(path)
    rows: Iterable[Row] = _HubRows() if path is None else Table(path)
    if path is None:
        _package()
    else:
        _check_first(rows, source)
    read = partial(_read, wanted=wanted or I2PFilter())
    cases = partial(_some, rows, source, read, seeds=seeds, samples=samples)
    return PromptSet(name="i2p", source=source, cases=LazyCases(cases), heads=())


def categories_of(cells: Mapping[str, object]) -> tuple[str, ...]:
    """`violence, self-harm` -> (`violence`, `self-harm`)."""
    return tuple(
        name for part in text(cells[CATEGORY], CATEGORY).split(",") if (name := tidy(part))
    )


def _read(row: Row, *, wanted: I2PFilter) -> PromptCase | None:
    if not wanted(row):
        return None
    case = read_case(row, unnamed=LOST)
    return replace(case, labels={"category": ", ".join(categories_of(row.cells))})


def _some(
    rows: Iterable[Row],
    source: str,
    read: Read,
    *,
    seeds: Sequence[int] | None,
    samples: int | None,
) -> Iterator[PromptCase]:
    """The cases; PromptError after the last row where there are none."""
    cases = read_cases(rows, source, read, check=_check, seeds=seeds, samples=samples)
    first = next(cases, None)
    if first is None:
        raise PromptError(
            f"no row of {source} has such a category and nudity percentage; ask for less"
        )
    yield first
    yield from cases


def _check(columns: Collection[str], source: str) -> None:
    for names in _COLUMNS:
        require_column(names, columns, source)


def _check_first(rows: Iterable[Row], source: str) -> None:
    first = next(iter(rows), None)
    if first is None:
        raise PromptError(f"{source} has no row in it; get the table again from its source")
    _check(first.cells, source)


class _HubRows:
    """Rows of the data set, loaded when they are first asked for; `datasets` keeps a copy."""

    def __iter__(self) -> Iterator[Row]:
        for position, cells in enumerate(_load()):
            yield Row(position, f"row {position + 1}", cells)


def _load() -> Any:  # noqa: ANN401
    package = _package()
    announce_hub(DATASET)
    try:
        return package.load_dataset(DATASET, split="train")
    except (OSError, ValueError, RuntimeError, package.exceptions.DatasetsError) as err:
        raise PromptError(
            f"the data set {DATASET} cannot be loaded ({tidy(str(err)) or type(err).__name__}); "
            "get its table i2p_benchmark.csv and give --prompts i2p_benchmark.csv"
        ) from err


def _package() -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as err:
        raise PromptError(
            f"reading {DATASET} needs the package `datasets`, which is not installed; run `pip "
            "install 'diffusion-erasure[data]'`, or give a copy of the table with --prompts FILE"
        ) from err
