"""The distances that an audit measures where it is given two retrained models."""

from pathlib import Path
from typing import Final

from pipelines.audit.outcome.results import FILE_NAME as AUDIT
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.recipe import dump_toml
from pipelines.distances.models import open_models
from pipelines.distances.result import FILE_NAME
from pipelines.distances.run import HEADER, run_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter

FOLDER: Final = "distances"
"""Name in the folder of the audit."""
_SHARED: Final = (
    "model",
    "concept",
    "pictures",
    "judge",
    "labels",
    "seed",
    "steps",
    "guidance",
    "size",
    "batch_size",
    "device",
    "config",
    "vae",
    "prediction",
    "allow_pickle",
)


def recipe_beside(audit: AuditRecipe, out: Path) -> DistanceRecipe | None:
    """What to measure beside an audit; None where it has no base or no two retrained models.

    The first retrained model is the reference, the second its twin.
    """
    if audit.against is None or len(audit.retrained) < 2:
        return None
    return DistanceRecipe(
        retrained=audit.retrained[0],
        twin=audit.retrained[1],
        base=audit.against,
        audit=str(out / AUDIT),
        **{name: getattr(audit, name) for name in _SHARED},
    )


def check_beside(audit: AuditRecipe, out: Path) -> None:
    """Refuse retrained models that do not go together, before the audit spends its hours.

    Raises:
        ErasureError: as `open_models`.
    """
    recipe = recipe_beside(audit, out)
    if recipe is not None:
        open_models(recipe)


def measure_beside(audit: AuditRecipe, out: Path, *, reporter: Reporter) -> Path | None:
    """Measure after an audit, with its curves; what is there by the same recipe stays.

    Returns:
        The file `distances/distance.json`; None where there is nothing to measure.

    Raises:
        ErasureError: as `run_distances`.
    """
    recipe = recipe_beside(audit, out)
    if recipe is None:
        return None
    folder = out / FOLDER
    path, made_by = folder / FILE_NAME, folder / "recipe.toml"
    same = made_by.is_file() and made_by.read_bytes() == dump_toml(recipe, HEADER).encode()
    if not (same and path.is_file()):
        run_distances(recipe, folder, force=True, reporter=reporter)
    return path
