"""`erasure verify`: recompute what a checkpoint says of itself."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import AsJson, say


def verify(
    path: Annotated[Path, typer.Argument(help="A single file, a diffusers folder, or a run.")],
    as_json: AsJson = False,
) -> None:
    """Check a checkpoint against what it says of itself.

    Recomputes the hashes in its provenance; exits with 1 where they differ.
    """
    from erasure.checkpoints.verify import verify as recompute

    found = recompute(path)
    result: dict[str, object] = {"path": path, "verified": found.passed}
    result |= {check.name: "ok" if check.passed else "DIFFERS" for check in found.checks}
    if found.provenance is not None:
        made = found.provenance
        result |= {
            "erased": made.concept,
            "moved": f"{made.moved:,} of {made.total:,} weights",
            "written by": f"erasure {made.version}, {made.created}",
        }
    say(result, as_json=as_json)
    wrong = next((check for check in found.checks if not check.passed), None)
    if wrong is not None:
        typer.echo(
            f"erasure: {path} is not what it says: {wrong.name} is {wrong.found[:12]}, stated is "
            f"{wrong.stated[:12]}; get the file again from its source",
            err=True,
        )
        raise typer.Exit(1)
