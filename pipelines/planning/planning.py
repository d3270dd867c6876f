"""Before a run: what it will take, and settings with which it fits."""

import os
from collections.abc import Mapping
from typing import Any

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.edit import component_of
from erasure.errors import ConfigError
from pipelines.configs.settings import EraseRecipe
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import Told
from pipelines.planning.fit import Fitted, budget_of, fitted
from pipelines.run.erasing import plan_of
from pipelines.run.masking import named_mask
from pipelines.run.models import pick_device


def told_before(recipe: EraseRecipe, checkpoint: Checkpoint) -> Told:
    """The bill of a run that is not begun; nothing is drawn or written.

    Raises:
        ConfigError: as `pipelines.run.erasing.run_erasure`, of the recipe.
        MaskError: the recipe names a mask file of another base.
    """
    bill = _planner(recipe, checkpoint).bill(recipe)
    return Told.here(bill, pick_device(recipe.device))


def fit(
    recipe: EraseRecipe, checkpoint: Checkpoint, options: Mapping[str, Any], name: str
) -> Fitted:
    """The recipe with settings that fit what `--fit NAME` allows.

    Args:
        options: tables of the command line and the recipe file; their settings stay.

    Raises:
        ConfigError: see `pipelines.planning.fit.fitted`, or several processes would each look at
            what is free.
    """
    if name == "auto" and _processes() > 1:
        raise ConfigError(
            f"--fit auto looks at what is free for one process, and all {_processes()} of this run "
            "must have the same settings; give --fit with a size"
        )
    device = pick_device(recipe.device)
    planner = _planner(recipe, checkpoint)
    return fitted(recipe, options, planner.bill, budget_of(name, device), device)


def _planner(recipe: EraseRecipe, checkpoint: Checkpoint) -> Planner:
    return Planner(
        checkpoint=checkpoint,
        plan=plan_of(recipe, checkpoint),
        mask=named_mask(recipe, checkpoint, component_of(recipe.method, checkpoint)),
        apart=pick_device(recipe.device).type == "cuda",
        processes=_processes(),
    )


def _processes() -> int:
    """How many processes the launcher started; this is known before they have met."""
    return int(os.environ.get("WORLD_SIZE", "1"))
