"""What makes the cells of a folder comparable: written beside them, and another one refused."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import shown_path, without_folders
from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json
from erasure.storage.tables import to_table
from pipelines.bench.rows import MODELS, models_of
from pipelines.bench.settings import NO_AUDIT, attacks_of
from pipelines.bench.world import World, versions
from pipelines.json_values import object_of

FORMAT: Final = "diffusion-erasure bench protocol 1"
FILE_NAME: Final = "protocol.json"
_DECIDES: Final = (
    "format",
    "base",
    "drawn",
    "neighbours",
    "erase",
    "methods",
    "attack",
    "distance",
    "search",
)
"""Keys that must be the same for all cells of a folder; concepts, rows and seeds may be added, and
so may attacks and the models that are rows, which then stay the same."""


def protocol_of(world: World) -> dict[str, Any]:
    """The protocol as plain values, where paths are told by their last part."""
    recipe = world.recipe
    drawn = asdict(world.evaluation(recipe.model, recipe.concepts[0]))
    for key in ("model", "erased", "device", "against", "guard", "guard_text"):
        drawn.pop(key)
    search: dict[str, Any] = {}
    if recipe.trials:
        search = {"trials": recipe.trials, "seeds": recipe.tune_seeds, "on": list(recipe.tune_on)}
    if recipe.rate_list:
        search["rates"] = list(recipe.rate_list)
    values = {
        "format": FORMAT,
        "base": {"name": shown_path(world.base.name), "hashes": world.base_hashes},
        "drawn": to_table(drawn),
        "neighbours": recipe.neighbours,
        "erase": to_table(recipe.erase),
        "methods": to_table(recipe.methods),
        "attack": to_table(recipe.attack),
        "distance": to_table(recipe.distance),
        "search": search or None,
        "concepts": list(recipe.concepts),
        "seeds": list(recipe.seed_list),
        "audit": ",".join(recipe.attacks) or NO_AUDIT,
        "models": {
            concept: {
                kind: dict(world.open(model).hashes())
                for kind, model in models_of(recipe, concept).items()
                if kind in MODELS[1:]
            }
            for concept in recipe.concepts
        },
        "device": world.device.type,
        "versions": versions(),
    }
    plain: dict[str, Any] = without_folders(values)
    return plain


def begin(out: Path, protocol: Mapping[str, Any]) -> None:
    """Make the folder of a benchmark, or go on in it.

    Raises:
        CheckpointError: it holds something else, or cells of another protocol; what differs is
            named.
        DiskError: the disk refuses.
    """
    path = out / FILE_NAME
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out} is a file; give the folder of a benchmark, or a new one")
    there = object_of(path)
    if there is None and out.is_dir() and any(out.iterdir()):
        raise CheckpointError(
            f"{out} is there and is no benchmark of this kind; give --out another folder"
        )
    if there is not None:
        _require_tables(there.get("models"), path)
        wanted = json.loads(json.dumps(dict(protocol)))
        other = [key for key in _DECIDES if _said(there.get(key)) != _said(wanted.get(key))]
        differing = [_differing(there, wanted, key) for key in other] + _changed(there, wanted)
        if differing:
            raise CheckpointError(
                f"{out} holds a benchmark of another protocol, which differs in "
                f"{', '.join(differing)}; give --out another folder, or the settings that this one "
                "was begun with"
            )
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(path, {**protocol, **_added(there or {}, protocol)}, indent=1)


def _said(value: object) -> object:
    """A value without what says nothing: an empty table, or a setting that is none, says as much as
    one that an older version did not write."""
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner is not None} or None
    return value or None


def _require_tables(models: object, path: Path) -> None:
    """Raise CheckpointError where a protocol's models are no table of tables by concept."""
    tables = models or {}
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise CheckpointError(
            f"{path} is damaged: its models are no table of each concept; give --out another folder"
        )


def _changed(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What was added to the protocol before and is another now: cells that are done have its
    attacks, and distances to its models, and would stand beside others in one table."""
    differing = []
    audits = [_audit_of(values) for values in (there, wanted)]
    presets = {audit.partition(",")[0] for audit in audits}
    if NO_AUDIT not in presets and len(presets) > 1:  # another budget; attacks may be added
        differing.append(_differing(there, wanted, "audit"))
    for concept, models in (there.get("models") or {}).items():
        now = (wanted.get("models") or {}).get(concept, {})
        differing += [
            f"the {kind} model of {concept}, whose weights are others now"
            for kind, hashes in models.items()
            if kind in now and now[kind] != hashes
        ]
    return differing


def _added(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The attacks and models of cells that may be done, though this command does not name them."""
    before, now = (dict(values.get("models") or {}) for values in (there, wanted))
    models = {c: {**before.get(c, {}), **now.get(c, {})} for c in {**before, **now}}
    audits = [one for values in (wanted, there) if (one := _audit_of(values)) != NO_AUDIT]
    names = dict.fromkeys(name for audit in audits for name in audit.split(","))
    try:
        both = ",".join(attacks_of(",".join(names))) if names else NO_AUDIT
    except ConfigError:  # of a version that had other attacks
        both = audits[0]
    return {"models": models, "audit": both}


def _audit_of(values: Mapping[str, Any]) -> str:
    """The attacks of a protocol; none of one that says nothing of them."""
    return str(values.get("audit") or NO_AUDIT)


def _differing(there: Mapping[str, Any], wanted: Mapping[str, Any], key: str) -> str:
    """A key, or of a table its first entry that differs, with both values."""
    old, new = there.get(key), wanted.get(key)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                return f"{key}.{name} ({_short(old.get(name))} there, {_short(new.get(name))} now)"
    return f"{key} ({_short(old)} there, {_short(new)} now)"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
