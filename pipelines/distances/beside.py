"""The distances that an audit measures where it is given two retrained models."""

from pathlib import Path
from typing import Final

from erasure.checkpoints.writing.inventory import file_hash
from erasure.storage.files import write_json
from pipelines.audit.cells import key_of, known_values
from pipelines.audit.outcome.results import FILE_NAME as AUDIT
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.recipe import dump_toml
from pipelines.data.picture_folder import folder_entries
from pipelines.distances.attacks import read_attacks
from pipelines.distances.models import deciding_hashes, open_models
from pipelines.distances.result import FILE_NAME
from pipelines.distances.run import HEADER, run_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter
from pipelines.run.judging.judge_files import judge_files_hash

FOLDER: Final = "distances"
"""Name in the folder of the audit."""
_MADE_OF: Final = "made_of.json"
"""Name of the file beside a result with the hash of all that it was made of."""
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
    "stream",
    "device",
    "config",
    "vae",
    "text_encoders",
    "prediction",
    "allow_pickle",
)


def recipe_beside(audit: AuditRecipe, out: Path) -> DistanceRecipe | None:
    """What to measure beside an audit; None where it has no base or no two retrained models, or
    where a guard stands before the model, which weights and predictions do not know of.

    The first retrained model is the reference, the second its twin.
    """
    if audit.against is None or len(audit.retrained) < 2 or audit.guard is not None:
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
    """Measure after an audit, with its curves; what is there stays where recipe, weights and curves
    are the same.

    Returns:
        The file `distances/distance.json`; None where there is nothing to measure.

    Raises:
        ErasureError: as `run_distances`.
    """
    recipe = recipe_beside(audit, out)
    if recipe is None:
        return None
    folder = out / FOLDER
    path, key = folder / FILE_NAME, _key(recipe)
    if not (path.is_file() and known_values(folder / _MADE_OF).get("key") == key):
        run_distances(recipe, folder, force=True, reporter=reporter)
        write_json(folder / _MADE_OF, {"key": key})
    return path


def _key(recipe: DistanceRecipe) -> str:
    """Hash of all that decides a result; a path alone does not say what lies there."""
    models = open_models(recipe)
    judge = judge_files_hash(recipe.judge, recipe.labels)
    return key_of(
        recipe=dump_toml(recipe, HEADER),
        weights={role: deciding_hashes(one) for role, one in models.checkpoints.items()},
        attacks=repr(read_attacks(Path(recipe.audit or ""), models)),
        pictures=[] if recipe.pictures is None else _files(recipe.pictures),
        **({} if judge is None else {"judge": judge}),
    )


def _files(folder: str) -> list[tuple[str, str, str]]:
    """Place, prompt and hash of each picture of a folder."""
    path = Path(folder).expanduser()
    entries = folder_entries(path, otherwise="")
    return [(str(one.path.relative_to(path)), one.prompt, file_hash(one.path)) for one in entries]
