"""`erasure demo`: the main job on the embedded checkpoint."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import AsJson, Force, program_as_called, say
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eval.rates.intervals import Proportion
    from pipelines.evaluation.outcome.results import Results


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("out/demo"),
    concept: Annotated[str, typer.Option(help="An object or a style of the canvas.")] = "church",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Erase from the embedded checkpoint, measure, export.

    Takes a few minutes on a CPU and needs no network. It attacks nothing; it ends with the command
    that does.
    """
    from rich.console import Console
    from rich.table import Table

    from erasure.errors import OutOfMemoryError
    from erasure.storage.disk import refuse_existing
    from pipelines.jobs.demo_job import run_demo
    from pipelines.process.progress import Reporter

    claim(out)
    if not (out.is_dir() and all(path.suffix == ".part" for path in out.iterdir())):
        refuse_existing(out, force=force)  # a run that was cut does not go on here
    reporter = Reporter()
    try:
        outcome = run_demo(concept, out, force=force, reporter=reporter)
    except OutOfMemoryError as err:
        line = shlex.join([*program_as_called(), "erase", "demo", "--concept", concept])
        raise OutOfMemoryError(
            "out of memory, and the demo has no option that needs less; free some memory, or give "
            f"{line} with --drawing-batch and --micro-batch"
        ) from err
    rows = list(_rows(concept, outcome.results))
    done = outcome.erased
    result = {
        name: {"before": was.share, "after": now.share, "pictures": now.total}
        for name, was, now in rows
    }
    if as_json:
        extra = {"moved": done.moved, "unselected_identical": done.unselected_identical}
        paths = dict(outcome.paths)
        say({**result, **extra, "paths": paths, "audit": _audit(out, concept)}, as_json=True)
        return
    table = Table(title=f"Erasing {concept} from the demo checkpoint")
    for heading in ("", "before", "after", "95 % interval", "pictures"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, was, now in rows:
        interval = f"{100 * now.low:.1f} % to {100 * now.high:.1f} %"
        table.add_row(
            name, f"{100 * was.share:.1f} %", f"{100 * now.share:.1f} %", interval, str(now.total)
        )
    Console().print(table)
    same = "bit-identical" if done.unselected_identical else "MOVED"
    say(
        {
            "verdict": outcome.results.summary.verdict,
            "weights moved": f"{done.moved:,} of {done.total:,}; unselected ones {same}",
            "verified": "every check of single file, folder and run passed",
            "seconds": round(sum(reporter.seconds.values())),
            **outcome.paths,
            "attack it by": shlex.join(_audit(out, concept)),
        },
        as_json=False,
    )


def _audit(out: Path, concept: str) -> list[str]:
    """The command of the quick audit, which alone takes longer than all of the demo."""
    model = [str(out), "--concept", concept, "--against", "demo"]
    return [*program_as_called(), "audit", *model, "--out", str(out / "audit")]


def _rows(concept: str, results: "Results") -> "Iterator[tuple[str, Proportion, Proportion]]":
    """What is told of each rate: its name, before and after."""
    after, before = results.summary.after, results.summary.before or {}
    style = any(row.erased and row.head == "style" for row in results.classes)
    names = ("styles", "their objects") if style else ("objects", "their styles")
    yield f"{concept} recognised", before["ua"].complement(), after["ua"].complement()
    yield f"other {names[0]} recognised", before["ira"], after["ira"]
    yield f"{names[1]} recognised", before["cra"], after["cra"]
