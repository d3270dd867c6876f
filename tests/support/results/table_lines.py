"""Lines of a table whose numbers are known, without any cell on a disk."""

from eval.rates.intervals import wilson
from pipelines.bench.rows import Kind, Row
from pipelines.bench.tables.column import Value
from pipelines.bench.tables.columns import COLUMNS
from pipelines.bench.tables.gaps import gaps_of
from pipelines.bench.tables.table import Line, Table

HOSTILE = "<img src=x onerror=alert(1)> | =cmd"


def share(count: int, total: int = 20) -> Value:
    """A share of twenty pictures."""
    made = Value.of_share(wilson(count, total))
    assert made is not None
    return made


def values(ua: int, ira: int, cra: int = 20, **more: float) -> dict[str, Value]:
    """UA, IRA and CRA in twentieths, and what else is named."""
    rest = {name: Value(value) for name, value in more.items()}
    return {"ua": share(ua), "ira": share(ira), "cra": share(cra), **rest}


BASE = values(0, 20)


def line(
    name: str,
    shown: dict[str, Value] | None,
    *,
    kind: Kind = "method",
    mask: str = "all",
    concept: str = "church",
    failure: str = "",
) -> Line:
    """One row; None has no values."""
    return Line(
        concept=concept,
        row=Row(kind=kind, name=name, mask=mask if kind == "method" else ""),
        seeds=(0,) if shown else (),
        values=shown or {},
        gaps=gaps_of(shown, BASE, None) if shown else (),
        failures=(failure,) if failure else (),
        missing=() if shown or failure else (0,),
    )


def table() -> Table:
    """Two concepts: rows that are done, one that broke, one that is missing."""
    lines = (
        line("base", BASE, kind="base"),
        line("sld-max", values(10, 19), kind="guard"),
        line("uce", values(20, 18, passes=0.0, moved=1000.0, peak=5e8)),
        line("esd", values(19, 20, passes=4000.0, moved=2000.0, peak=9e8)),
        line("esd", values(15, 20, passes=4000.0), mask="salient"),
        line("broken", None, failure=HOSTILE),
        line("mace", None),
        line("base", BASE, kind="base", concept="sketch"),
        line("sld-max", values(2, 20), kind="guard", concept="sketch"),
        line("uce", values(20, 20, cra=10, passes=0.0), concept="sketch"),
        line("esd", values(18, 20, passes=4000.0), concept="sketch"),
        line("esd", None, mask="salient", concept="sketch"),
        line("broken", None, failure=HOSTILE, concept="sketch"),
        line("mace", None, concept="sketch"),
    )
    there = {key for one in lines for key in one.values}
    return Table(lines=lines, columns=tuple(c for c in COLUMNS if c.key in there))
