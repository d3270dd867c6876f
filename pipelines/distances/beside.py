"""The distances that an audit measures where it is given two retrained models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from erasure.checkpoints.writing.inventory import file_hash
from erasure.storage.files import write_json
from eval.errors import EvalError
from pipelines.audit.cells import key_of, known_values
from pipelines.audit.outcome.results import FILE_NAME as AUDIT
from pipelines.audit.outcome.results import Audit
from pipelines.audit.page.page import Table, write_page
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.recipe import dump_toml
from pipelines.data.picture_folder import folder_entries
from pipelines.distances.attacks import read_attacks
from pipelines.distances.models import OPTIONS, Role, deciding_hashes, open_models
from pipelines.distances.result import FILE_NAME, Distances, notes_of, read_distances, rows_of
from pipelines.distances.run import HEADER, run_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter
from pipelines.run.judging.judge_files import judge_files_hash

FOLDER: Final = "distances"
"""Name in the folder of the audit."""
_OPTIONS: Final[Mapping[Role, str]] = {
    **OPTIONS,
    "base": "--against",
    "twin": OPTIONS["retrained"],
}
"""Where an audit has the models from."""
_MADE_OF: Final = "made_of.json"
"""Name of the file beside a result with the hash of all that it was made of."""
_SHARED: Final = (
    "model",
    "concept",
    "pictures",
    "trained",
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
        open_models(recipe, _OPTIONS)


def measure_beside(
    recipe: AuditRecipe, audit: Audit, out: Path, *, reporter: Reporter
) -> Distances | None:
    """Measure after an audit, with its curves, and show it on the audit's page; what is there stays
    where recipe, weights and curves are the same.

    Returns:
        What `distances/distance.json` holds; None where there is nothing to measure.

    Raises:
        ErasureError: as `run_distances`.
    """
    own = recipe_beside(recipe, out)
    if own is None:
        return None
    folder = out / FOLDER
    key = _key(own)
    result = _known(folder, key)
    if result is None:
        result = run_distances(own, folder, force=True, reporter=reporter)
        write_json(folder / _MADE_OF, {"key": key})
    write_page(audit, out, Table(rows_of(result), notes_of(result)))
    return result


def _known(folder: Path, key: str) -> Distances | None:
    """The result that is there, where it was made of the same."""
    if known_values(folder / _MADE_OF).get("key") != key:
        return None
    try:
        return read_distances(folder / FILE_NAME)
    except EvalError:  # it is made again
        return None


def _key(recipe: DistanceRecipe) -> str:
    """Hash of all that decides a result; a path alone does not say what lies there."""
    models = open_models(recipe)
    judge = judge_files_hash(recipe.judge, recipe.labels)
    return key_of(
        recipe=dump_toml(recipe, HEADER),
        weights={role: deciding_hashes(one) for role, one in models.checkpoints.items()},
        attacks=repr(read_attacks(Path(recipe.audit or ""), models)),
        pictures=[] if recipe.pictures is None else _files(recipe.pictures),
        **({} if recipe.trained is None else {"trained": _files(recipe.trained)}),
        **({} if judge is None else {"judge": judge}),
    )


def _files(folder: str) -> list[tuple[str, str, str]]:
    """Place, prompt and hash of each picture of a folder."""
    path = Path(folder).expanduser()
    entries = folder_entries(path, otherwise="")
    return [(str(one.path.relative_to(path)), one.prompt, file_hash(one.path)) for one in entries]
