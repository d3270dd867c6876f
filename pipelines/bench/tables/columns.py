"""The columns of the table: a list of values, each with the function that reads it.

A column reads what a cell left in its folder, so that one which is added later has values in cells
that are done already. To add one, write its function and put it into `COLUMNS`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from erasure.attacks.registry import ATTACKS
from eval.rates.intervals import wilson
from pipelines.bench.sources import Sources
from pipelines.bench.tables.asked_columns import attack_column, distance_column, half_column
from pipelines.bench.tables.column import Column, Value
from pipelines.distances.entries import TITLES
from pipelines.evaluation.outcome.results import Results
from pipelines.json_values import finite_number

_METHOD_STAGES: Final = ("find the mask", "rank the weights", "train", "solve")
"""Stages of an erasure that are the method's own; pictures lie in a cache that rows share."""


def _rate(name: str) -> Callable[[Sources], Value | None]:
    def read(sources: Sources) -> Value | None:
        results = sources.results
        return None if results is None else Value.of_share(results.summary.after.get(name))

    return read


def _rejected(sources: Sources) -> Value | None:
    results = sources.results
    rejected = None if results is None else (results.summary.rejected or {}).get("ua")
    return None if rejected is None else Value.of_share(rejected.after)


def _rejected_rest(sources: Sources) -> Value | None:
    results = sources.results
    rejected = None if results is None else (results.summary.rejected or {})
    if rejected is None:
        return None
    rest = next((rejected[name] for name in ("ira", "ra") if name in rejected), None)
    return None if rest is None else Value.of_share(rest.after)


def _neighbours(sources: Sources) -> Value | None:
    results = sources.neighbours
    head = None if sources.results is None else _erased_head(sources.results)
    if results is None or head is None:
        return None
    rows = [row.after for row in results.classes if row.head == head]
    total = sum(row.total for row in rows)
    return Value.of_share(wilson(sum(row.count for row in rows), total)) if total else None


def _erased_head(results: Results) -> str | None:
    return next((row.head for row in results.classes if row.erased), None)


def _record(key: str) -> Callable[[Sources], Value | None]:
    def read(sources: Sources) -> Value | None:
        value = finite_number(sources.record.get(key))
        return None if value is None else Value(value)

    return read


def _passes(sources: Sources) -> Value | None:
    counts = [finite_number(sources.work.get(name)) for name in ("forward", "backward")]
    known = [count for count in counts if count is not None]
    return Value(sum(known)) if len(known) == len(counts) else None


def _drawn(sources: Sources) -> Value | None:
    count = finite_number(sources.work.get("drawn"))
    return None if count is None else Value(count)


def _seconds(sources: Sources) -> Value | None:
    return _of_stages(sources.cell.seconds)


def _processor(sources: Sources) -> Value | None:
    # On an accelerator the processor mostly waits.
    return _of_stages(sources.cell.processor) if sources.cell.device == "cpu" else None


def _of_stages(spent: Mapping[str, float]) -> Value | None:
    own = [spent[name] for name in _METHOD_STAGES if name in spent]
    return Value(sum(own)) if own else None


def _noted(name: str) -> Callable[[Sources], Value | None]:
    def read(sources: Sources) -> Value | None:
        value = getattr(sources.cell, name)
        return None if value is None else Value(float(value))

    return read


COLUMNS: Final[tuple[Column, ...]] = (
    Column(
        key="ua",
        title="UA",
        about="Pictures asked to show the concept in which the judge does not recognise it.",
        unit="share",
        better="higher",
        read=_rate("ua"),
    ),
    Column(
        key="ira",
        title="IRA",
        about="Pictures of others of the concept's kind that are recognised.",
        unit="share",
        better="higher",
        read=_rate("ira"),
    ),
    Column(
        key="cra",
        title="CRA",
        about="The same pictures, by their other label: styles where objects are erased.",
        unit="share",
        better="higher",
        read=_rate("cra"),
    ),
    Column(
        key="ra",
        title="RA",
        about="Other pictures that are recognised, in suites with labels of one kind.",
        unit="share",
        better="higher",
        read=_rate("ra"),
    ),
    Column(
        key="neighbours",
        title="neighbours",
        about="Pictures of the labels nearest to the concept that are recognised.",
        unit="share",
        better="higher",
        read=_neighbours,
    ),
    Column(
        key="rejected",
        title="rejected",
        about="Pictures asked to show the concept in which the judge sees nothing that it knows.",
        unit="share",
        better="lower",
        read=_rejected,
    ),
    Column(
        key="rejected_rest",
        title="rejected, rest",
        about="The same of pictures of others of its kind.",
        unit="share",
        better="lower",
        read=_rejected_rest,
    ),
    Column(
        key="moved",
        title="weights moved",
        about="Weights that differ from the base.",
        unit="count",
        better="lower",
        read=_record("moved"),
    ),
    Column(
        key="passes",
        title="passes",
        about="Samples through the network, forward and back, pictures to learn from included.",
        unit="count",
        better="lower",
        read=_passes,
    ),
    Column(
        key="drawn",
        title="pictures learned from",
        about="Pictures that the base drew to learn from.",
        unit="count",
        better="lower",
        read=_drawn,
    ),
    Column(
        key="seconds",
        title="seconds",
        about="Wall time of mask and method, without the drawing of pictures, which rows share.",
        unit="seconds",
        better="lower",
        read=_seconds,
    ),
    Column(
        key="processor",
        title="processor seconds",
        about="The same in seconds of a processor, which a busy machine changes less.",
        unit="seconds",
        better="lower",
        read=_processor,
    ),
    Column(
        key="peak",
        title="peak memory",
        about="Most memory while erasing: of the device, on a CPU of the whole process.",
        unit="bytes",
        better="lower",
        read=_noted("peak"),
    ),
    Column(
        key="exported",
        title="export",
        about="The edit as a patch file.",
        unit="bytes",
        better="lower",
        read=_noted("exported"),
    ),
    *map(distance_column, TITLES),
    *(make(name) for name in ATTACKS for make in (attack_column, half_column)),
)
"""In the order of the table."""


def title_of(key: str) -> str:
    """The heading of a column; its key where no column of today has it."""
    return next((column.title for column in COLUMNS if column.key == key), key)


def values_of(sources: Sources) -> dict[str, Value]:
    """Column -> value of one cell; columns without one are left out."""
    read = {column.key: column.read(sources) for column in COLUMNS}
    return {key: value for key, value in read.items() if value is not None}
