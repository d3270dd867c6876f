"""Parts of a cell that are asked for by name: attacks, and distances to a retrained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.writing.folder import write_folder
from erasure.errors import ConfigError
from erasure.patches.checkpoint_patch import with_patches
from erasure.patches.patch_file import load_patches
from pipelines.audit.cells import take_over
from pipelines.audit.outcome.results import FILE_NAME as AUDIT_FILE
from pipelines.audit.run import run_audit
from pipelines.audit.settings import AuditRecipe, resolve_audit
from pipelines.bench.cell import Place
from pipelines.bench.rows import models_of
from pipelines.bench.world import World
from pipelines.distances.run import run_distances
from pipelines.distances.settings import DistanceRecipe, recipe_of
from pipelines.json_values import object_of, objects_in
from pipelines.process.progress import Reporter
from pipelines.run.models import is_single_file
from pipelines.run.run_folder import MODEL

AUDIT: Final = "audit"
DISTANCE: Final = "distance"
PATCH: Final = "edit.patch"
RUN: Final = "run"
_NONE: Final[Mapping[str, str]] = {}


def wanted(world: World, place: Place) -> tuple[str, ...]:
    """The parts of a cell that the recipe asks for; none of a row without weights of its own, and
    none of a trial of the search, which looks at shares of pictures alone."""
    if place.row.kind != "method" or place.concept not in world.recipe.concepts:
        return ()
    models = models_of(world.recipe, place.concept)
    parts = []
    if world.recipe.attacks:
        parts.append(AUDIT)
    if "retrained" in models and "twin" in models:
        parts.append(DISTANCE)
    return tuple(parts)


def lacks_attacks(world: World, folder: Path) -> bool:
    """Whether a cell's audit is without an attack that the recipe names beside its preset."""
    audit = object_of(folder / AUDIT / AUDIT_FILE) or {}
    tried = [one.get("name") for one in objects_in(audit, "attacks")]  # a name may be anything
    return any(name not in tried for name in world.recipe.attacks[1:])


def model_again(world: World, folder: Path) -> str:
    """The erased model of a cell: as it was written, or the base with the cell's patch in it."""
    model = folder / RUN / MODEL
    if not (model / "model_index.json").is_file():
        edited = with_patches(world.base, load_patches(folder / PATCH))
        write_folder(edited, model, provenance=edited.provenance, force=model.exists())
    return str(model)


def attack(world: World, place: Place) -> None:
    """Audit the model of a cell; what of an audit was done stays.

    What attacks did to the base, to random weights and to retrained models is taken from another
    row of the concept.
    """
    out = place.folder / AUDIT
    if not out.exists():
        done = sorted(place.folder.parent.glob(f"*/{AUDIT}/{AUDIT_FILE}"))
        if done:
            take_over(done[0].parent, out)
    recipe = _audit(world, place.concept, place.seed, model_again(world, place.folder))
    run_audit(recipe, out, force=True, reporter=Reporter(quiet=True))


def measure(world: World, place: Place) -> None:
    """Measure the distances of the model of a cell to the retrained one of its concept."""
    audited = place.folder / AUDIT / AUDIT_FILE
    more = {"audit": str(audited)} if audited.is_file() else {}
    recipe = _distance(
        world, place.concept, place.seed, model_again(world, place.folder), more=more
    )
    run_distances(recipe, place.folder / DISTANCE, force=True, reporter=Reporter(quiet=True))


def require_told(world: World, concept: str) -> None:
    """Refuse a table `[attack]` or `[distance]` that none of a concept's cells could be told.

    Raises:
        ConfigError: a key or a value of one; the table is named.
    """
    recipe = world.recipe
    for table in ("attack", "distance"):
        if not getattr(recipe, table):
            continue
        try:
            recipe_of_table = _audit if table == "attack" else _distance
            recipe_of_table(world, concept, recipe.seed_list[0], recipe.model)
        except ConfigError as err:
            raise ConfigError(f"[{table}]: ", err) from err


def _audit(world: World, concept: str, seed: int, model: str) -> AuditRecipe:
    """How a model is attacked; where no attack is asked for, how it might be."""
    models = models_of(world.recipe, concept)
    beside = [models[kind] for kind in ("retrained", "twin") if kind in models]
    tables: dict[str, Any] = {
        "attacks": list(world.recipe.attacks) or ["quick"],
        "against": world.recipe.model,
        "retrained": beside if world.recipe.attacks else [world.recipe.model] * 2,
        **_shared(world, concept, seed, model),
        **world.recipe.attack,
    }
    return resolve_audit(tables, canvas=world.canvas)


def _distance(
    world: World, concept: str, seed: int, model: str, *, more: Mapping[str, str] = _NONE
) -> DistanceRecipe:
    """How the distances of a model are measured; to the base where no other model is given."""
    models = models_of(world.recipe, concept)
    tables: dict[str, Any] = {
        "base": world.recipe.model,
        "retrained": models.get("retrained", world.recipe.model),
        "twin": models.get("twin", world.recipe.model),
        **more,
        **({} if world.recipe.cache is None else {"cache": world.recipe.cache}),
        **_shared(world, concept, seed, model),
        **world.recipe.distance,
    }
    return recipe_of(tables, canvas=world.canvas)


def _shared(world: World, concept: str, seed: int, model: str) -> dict[str, Any]:
    """What both are told."""
    recipe = world.recipe
    models = models_of(recipe, concept).values()
    files = ("config", "text_encoders") if any(map(is_single_file, models)) else ()
    values = {
        "model": model,
        "concept": concept,
        "seed": seed,
        "judge": recipe.judges[0] if recipe.judges else None,
        "labels": recipe.labels,
        **{name: getattr(recipe, name) for name in ("steps", "guidance", "size", "device")},
        **{name: getattr(recipe, name) for name in (*files, "vae", "prediction")},
    }
    return {name: value for name, value in values.items() if value is not None}
