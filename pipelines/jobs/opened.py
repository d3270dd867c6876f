"""A recipe with its opened model, as `erase` and `mask` begin: told of, and fitted to a memory."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from pipelines.configs.method_table import converted, refuse_code
from pipelines.configs.recipe_files import merge, read_recipe
from pipelines.configs.resolving import recipe_text
from pipelines.configs.settings import EraseRecipe
from pipelines.configs.unread import value_at
from pipelines.planning import planning
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import FITTED
from pipelines.planning.ladders import with_settings
from pipelines.run.model_facts import notice, tell_model
from pipelines.run.preparing import prepare
from pipelines.run.run_folder import recipe_of, same_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A whole recipe, its model, and what a person should know of both."""

    recipe: EraseRecipe
    checkpoint: Checkpoint
    settings: Mapping[str, Any]
    """Tables of all that was given, on the command line and in a recipe file."""
    facts: Mapping[str, Any]
    """What the model was read as, and what was chosen for it; plain JSON values."""

    def fitted(
        self, fit: str | None, *, card: str | None = None, mask_of: str | None = None
    ) -> "Opened":
        """The same with settings that fit what `--fit` allows; as it is where none is given.

        Args:
            card: what `planned_card` gives.
            mask_of: the component of which a mask is all that is made; None for a whole run.

        Raises:
            ConfigError: see `pipelines.planning.planning.fit`.
        """
        if fit is None:
            return self
        made = planning.fit(
            self.recipe, self.checkpoint, self.settings, fit, card=card, mask_of=mask_of
        )
        notice(list(made.said))
        return replace(self, recipe=made.recipe, facts={**self.facts, "fit": list(made.said)})

    def as_begun(self, out: Path, chosen: "Opened") -> "Opened":
        """The same with what `--fit auto` set when the run in a folder began, where that makes it
        the run of that folder and `chosen` is another: what is free is never the same twice.

        Args:
            out: folder of the run that is gone on with, if there is one.
            chosen: the same as it is fitted now.
        """
        begun = recipe_of(out)
        if begun is None or same_run(begun, recipe_text(chosen.recipe)):
            return chosen
        try:
            recipe = with_settings(self.recipe, self._not_given(tomllib.loads(begun)))
        except (ConfigError, TypeError, ValueError, RecursionError):  # cut short, or by hand
            return chosen
        if not same_run(begun, recipe_text(recipe)):
            return chosen
        notice([f"--fit auto keeps what it set when {out} was begun"])
        return replace(self, recipe=recipe, facts={**self.facts, "fit": ["as it was begun"]})

    def _not_given(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted key -> value of what `--fit` may set, where nobody has given another."""
        values = {key: value_at(tables, key) for key in FITTED}
        return {k: v for k, v in values.items() if v is not None and not self._gives(k)}

    def _gives(self, key: str) -> bool:
        return value_at(self.settings, key) is not None

    def planned(self, fit: str | None, *, mask_of: str | None = None) -> "Planned":
        """What the run would take, for a dry run; the arguments are those of `fitted`.

        Raises:
            ConfigError: see `pipelines.planning.planning.bill_before`.
            MaskError: the recipe names a mask file of another base.
        """
        card = planning.planned_card(fit, self.recipe.device)
        fitted = self.fitted(fit, card=card, mask_of=mask_of)
        bill = planning.bill_before(fitted.recipe, fitted.checkpoint, card=card, mask_of=mask_of)
        return Planned(bill, tuple(fitted.checkpoint.notes), fitted.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeJob:
    """What was asked for, as a recipe: the part that all jobs of one have."""

    tables: Mapping[str, Any]
    """What the command line gives."""
    named: Mapping[str, Any]
    """The recipe file below it."""
    fit: str | None = None
    """The memory that the settings are to fit, as `--fit` names it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run says."""

    bill: BillInWords
    notes: tuple[str, ...]
    """Sentences of what the model does not hold."""
    facts: Mapping[str, Any]
    """Those of `Opened`."""

    def for_machines(self) -> dict[str, Any]:
        """The whole as plain JSON values."""
        return {**self.bill.to_dict(), "base_read_as": self.facts}

    def for_people(self) -> list[str]:
        """The lines of the bill, and the notes below it."""
        return [*self.bill.page(), *(f"note: {note}" for note in self.notes)]


def opened(tables: Mapping[str, Any], named: Mapping[str, Any], *, shapes: bool = False) -> Opened:
    """Open the model of a recipe and say what it was read as.

    Args:
        tables: what was given on the command line.
        named: the recipe file below it.
        shapes: whether the shapes of a model do, whose weights need not be here.

    Raises:
        ConfigError: the recipe is wrong.
        CheckpointError: there is no such model, or it cannot be read.
    """
    recipe, checkpoint = (planning.prepare_to_plan if shapes else prepare)(tables, named)
    return Opened(
        recipe=recipe,
        checkpoint=checkpoint,
        settings=merge(named, tables),
        facts=tell_model(checkpoint),
    )


def named_recipe(
    name: str | None, *, allow_code: bool = False, chosen: bool = False
) -> dict[str, Any]:
    """The tables of the recipe file or ready recipe of that name; none without a name.

    Args:
        allow_code: whether a method that it brings as code may run.
        chosen: whether the method is chosen elsewhere, so that such code is left out.

    Raises:
        ConfigError: there is no such recipe, it is no TOML, or it brings code that is not allowed.
    """
    tables = converted(read_recipe(name)) if name else {}
    if chosen:
        tables.pop("code", None)
    refuse_code(tables, allowed=allow_code)
    return tables
