"""`erasure demo`: the main job on the embedded checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import AsJson, Force, say


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("out/demo"),
    concept: Annotated[str, typer.Option(help="An object or a style of the canvas.")] = "church",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Erase from the embedded checkpoint, measure, export.

    Takes a few minutes on a CPU and needs no network.
    """
    from rich.console import Console
    from rich.table import Table

    from pipelines.demo import run_demo
    from pipelines.progress import Reporter

    reporter = Reporter()
    found = run_demo(concept, out, force=force, reporter=reporter)
    rows = {
        f"{concept} recognised": (found.before.erased, found.after.erased),
        "other objects recognised": (found.before.objects, found.after.objects),
        "their styles recognised": (found.before.styles, found.after.styles),
    }
    done = found.erased
    result = {
        name: {"before": one.share, "after": other.share, "pictures": one.total}
        for name, (one, other) in rows.items()
    }
    if as_json:
        extra = {"moved": done.moved, "unselected_identical": done.unselected_identical}
        say({**result, **extra, "paths": dict(found.paths)}, as_json=True)
        return
    table = Table(title=f"Erasing {concept} from the demo checkpoint")
    for heading in ("", "before", "after", "pictures"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, row in result.items():
        table.add_row(name, f"{row['before']:.1%}", f"{row['after']:.1%}", str(row["pictures"]))
    Console().print(table)
    same = "bit-identical" if done.unselected_identical else "MOVED"
    say(
        {
            "weights moved": f"{done.moved:,} of {done.total:,}; unselected ones {same}",
            "verified": "single file, folder and run",
            "seconds": round(sum(reporter.seconds.values())),
            **found.paths,
        },
        as_json=False,
    )
