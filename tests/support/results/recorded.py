"""Records as retrainings of the canvas write them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.demo_checkpoint.retrained.concepts import EVERYTHING, RETRAININGS
from pipelines.demo_checkpoint.retrained.recipes import RECIPES
from pipelines.demo_checkpoint.retrained.record import Sources, record_of, write_record
from pipelines.distances.records import Retrained


def record_values(name: str, batch: int = 32) -> dict[str, Any]:
    """The record of one of the retrained models of `demo`, or of the `base` itself."""
    recipe = RECIPES["demo"]
    recipe = replace(recipe, settings={**recipe.settings, "batch": batch})
    retraining = EVERYTHING if name == "base" else RETRAININGS[name]
    return record_of(retraining, recipe, Sources("drawings", "vae", "tokenizer"))


def record_named(name: str, batch: int = 32) -> Retrained:
    """The same as it is read."""
    values = record_values(name, batch)
    without = values["without"]
    return Retrained(
        frozenset([*without["objects"], *without["styles"]]),
        tuple(values["seeds"]),
        values["recipe_hash"],
        values["recipe"],
    )


def put_record(folder: Path, name: str, batch: int = 32) -> None:
    """Write it into the folder of a model."""
    write_record(folder, record_values(name, batch))
