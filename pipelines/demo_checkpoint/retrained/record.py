"""The record in the folder of a retrained model: its recipe, what it never saw, its seeds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from erasure.errors import CheckpointError
from erasure.storage.files import write_json
from erasure.storage.json_text import parsed
from pipelines.demo_checkpoint.retrained.concepts import Retraining
from pipelines.demo_checkpoint.retrained.recipes import Recipe

RECORD: Final = "retraining.json"
FORMAT: Final = "diffusion-erasure-retraining 1"


@dataclass(frozen=True, slots=True)
class Sources:
    """SHA-256 of what all models of one set share."""

    drawings: str
    vae: str
    tokenizer: str


def recipe_values(recipe: Recipe, sources: Sources) -> dict[str, Any]:
    """Everything but the seeds and the concept that decides the weights; plain values."""
    descents = [asdict(each) for each in recipe.descents]
    for each in descents:
        del each["seed"], each["save_every"]
    return {"descents": descents, **recipe.settings, "sources": asdict(sources)}


def record_of(retraining: Retraining, recipe: Recipe, sources: Sources) -> dict[str, Any]:
    """The record as it is written."""
    values = recipe_values(recipe, sources)
    return {
        "format": FORMAT,
        "name": retraining.name,
        "without": {"objects": list(retraining.objects), "styles": list(retraining.styles)},
        "seeds": [each.seed for each in recipe.seeded(retraining.seed_offset)],
        "recipe": values,
        "recipe_hash": hash_of_recipe(values),
    }


def hash_of_recipe(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a recipe's plain values."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def claim_states(folder: Path, record: dict[str, Any]) -> None:
    """Write the record into a folder of states that has none.

    Raises:
        CheckpointError: the states in the folder are of another record.
    """
    path = folder / RECORD
    if not path.exists():
        write_record(folder, record)
    elif _values(path) != record:
        raise CheckpointError(
            f"{folder} holds states of another recipe, concept or seed, as its {RECORD} says; give "
            "another --work, or remove that folder"
        )


def _values(path: Path) -> Any:  # noqa: ANN401
    """What a record holds; None where it is damaged."""
    try:
        return parsed(path.read_bytes())
    except ValueError:
        return None


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record into a folder, which is made where it is missing."""
    write_json(folder / RECORD, record, indent=1)
