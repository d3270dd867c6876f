"""Before a run: what it will take, and settings with which it fits."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.edit import component_of
from erasure.errors import ConfigError
from pipelines.configs.settings import EraseRecipe
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import CARDS, Fitted, budget_of, fitted
from pipelines.planning.shapes import is_not_here, shapes_of
from pipelines.run.masking import named_mask
from pipelines.run.models import pick_device
from pipelines.run.preparing import ModelChoice, plan_of, prepare

_CARD = torch.device("cuda")


def prepare_to_plan(
    tables: Mapping[str, Any], under: Mapping[str, Any] | None = None
) -> tuple[EraseRecipe, Checkpoint]:
    """As `prepare`, for a dry run: where a model's weights are not on this machine, its shapes do,
    if `--config FOLDER` or the name of a family says what they are."""

    def opened(chosen: ModelChoice) -> Checkpoint:
        return shapes_of(chosen.model, chosen.config)

    settings = {**(under or {}), **tables}
    model, config = settings.get("model", ""), settings.get("config")
    if is_not_here(str(model), config):
        return prepare(tables, under, opened=opened)
    return prepare(tables, under)


def bill_before(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    *,
    card: str | None = None,
    mask_of: str | None = None,
) -> BillInWords:
    """The bill of a run that is not begun; nothing is drawn or written.

    Args:
        card: what `planned_card` gives.
        mask_of: the component of which a mask is all that is made; None for a whole run.

    Raises:
        ConfigError: as `pipelines.run.erasing.run_erasure`, of the recipe.
        MaskError: the recipe names a mask file of another base.
    """
    bill = _planner(recipe, checkpoint, card=card, mask_of=mask_of).bill(recipe)
    if card is not None:
        return BillInWords.planned(bill, budget_of(card, _CARD))
    return BillInWords.here(bill, pick_device(recipe.device))


def planned_card(fit: str | None, device: str) -> str | None:
    """The card of a dry run that is not on this machine: one that `--fit` names, where no device is
    asked for and none with a memory of its own is here."""
    there = torch.cuda.is_available() or torch.backends.mps.is_available()
    return fit if fit in CARDS and device == "auto" and not there else None


def fit(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    options: Mapping[str, Any],
    name: str,
    *,
    card: str | None = None,
    mask_of: str | None = None,
) -> Fitted:
    """The recipe with settings that fit what `--fit NAME` allows.

    Args:
        options: tables of the command line and the recipe file; their settings stay.
        card: what `planned_card` gives.
        mask_of: the component of which a mask is all that is made; None for a whole run.

    Raises:
        ConfigError: see `pipelines.planning.fit.fitted`, or several processes would each look at
            what is free.
    """
    if name == "auto" and _processes() > 1:
        raise ConfigError(
            f"--fit auto looks at what is free for one process, and all {_processes()} of this run "
            "must have the same settings; give --fit with a size"
        )
    device = _CARD if card else pick_device(recipe.device)
    planner = _planner(recipe, checkpoint, card=card, mask_of=mask_of)
    moved = mask_of or component_of(recipe.method, checkpoint)
    text = moved != checkpoint.architecture.main
    return fitted(recipe, options, planner.bill, budget_of(name, device), device, text=text)


def _planner(
    recipe: EraseRecipe, checkpoint: Checkpoint, *, card: str | None, mask_of: str | None
) -> Planner:
    shapes = any(weight.is_meta for weight in checkpoint.network.values())
    return Planner(
        checkpoint=checkpoint,
        plan=plan_of(recipe, checkpoint, checked=not shapes),
        mask=named_mask(recipe, checkpoint, mask_of or component_of(recipe.method, checkpoint)),
        apart=card is not None or pick_device(recipe.device).type == "cuda",
        processes=_processes(),
        mask_of=mask_of,
    )


def _processes() -> int:
    """How many processes the launcher started; this is known before they have met."""
    return int(os.environ.get("WORLD_SIZE", "1"))
