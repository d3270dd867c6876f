"""`erasure verify`: recompute what a checkpoint says of itself."""

from pathlib import Path
from typing import Annotated

import typer

from erasure.errors import CheckpointError
from pipelines.commands.options import AsJson, say


def verify(
    path: Annotated[Path, typer.Argument(help="A single file, a diffusers folder, or a run.")],
    as_json: AsJson = False,
) -> None:
    """Recompute the hashes of a checkpoint and compare them with its provenance.

    Example: erasure verify out/church
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
    for check in found.checks:
        if not check.passed:
            raise CheckpointError(
                f"{path} is not what it says: {check.name} is {check.found[:12]}, stated is "
                f"{check.stated[:12]}; get the file again from its source"
            )
