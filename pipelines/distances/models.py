"""The models of one measurement, opened and held against each other before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from erasure.attacks.opening import random_weights
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from pipelines.audit.asking.asking import plan_of
from pipelines.distances.comparable import require_comparable
from pipelines.distances.records import Fit, Holder, TwinOf, fit_of, read_record
from pipelines.distances.settings import DistanceRecipe
from pipelines.run.models import open_by
from prompts.concepts.plan import ConceptPlan

Role = Literal["audited", "base", "retrained", "twin", "random"]
OPTIONS: Final[Mapping[Role, str]] = {
    "audited": "MODEL",
    "base": "--base",
    "retrained": "--retrained",
    "twin": "--twin",
}


@dataclass(frozen=True, slots=True)
class Models:
    """All models, in the order of a table."""

    checkpoints: Mapping[Role, Checkpoint]
    plan: ConceptPlan
    """The concept in the words of the base."""
    twin_of: TwinOf
    notes: tuple[str, ...]
    """What was taken for granted, a sentence each."""

    @property
    def pair(self) -> tuple[Role, Role]:
        """The two seeds whose distance is the unit."""
        return ("retrained", "twin") if self.twin_of == "retrained" else ("base", "twin")

    @property
    def rows(self) -> tuple[Role, ...]:
        """The models whose distance to the retrained one is measured."""
        return tuple(
            role
            for role in self.checkpoints
            if role != "retrained" and (role != "twin" or self.twin_of == "base")
        )


def open_models(recipe: DistanceRecipe, options: Mapping[Role, str] = OPTIONS) -> Models:
    """Read all, and refuse what cannot be compared.

    Args:
        options: where each model was given, for what is refused.

    Raises:
        CheckpointError: a model cannot be read, or is of another recipe, text encoder, tokenizer,
            VAE or schedule.
        ConfigError: one model stands in two places.
        PromptError: the base does not know the concept.
    """
    named: dict[Role, str] = {
        "audited": recipe.model,
        "base": recipe.base,
        "retrained": recipe.retrained,
        "twin": recipe.twin,
    }
    opened: dict[Role, Checkpoint] = {}
    for role, name in named.items():
        opened[role] = open_by(recipe, name, others=None if opened else [*named.values()])
    for role in ("audited", "retrained", "twin"):
        require_comparable(opened["base"], opened[role], options[role])
    require_distinct(opened, options)
    plan = plan_of(opened["base"], recipe.concept)
    fit = recorded_fit(opened, plan.erased)
    opened["random"] = random_weights(opened["audited"], recipe.seed)
    return Models(opened, plan, fit.twin_of, fit.notes)


def recorded_fit(opened: Mapping[Role, Checkpoint], erased: Sequence[str]) -> Fit:
    """Whether the retrained models that are there fit the base and the concept, by the records in
    the folders of all.

    Args:
        erased: names of what was erased.

    Raises:
        CheckpointError: as `read_record` and `fit_of`.
    """
    places: tuple[Holder, ...] = ("base", "retrained", "twin")
    there = [place for place in places if place in opened]
    return fit_of({place: read_record(opened[place].path) for place in there}, erased)


def deciding_hashes(checkpoint: Checkpoint) -> dict[str, str]:
    """Component -> hash of what decides what is drawn for a prompt: the network and its text
    encoders, and not the VAE, which all of these models share but for rounding."""
    return {name: checkpoint.hash_of(name) for name in checkpoint.components if name != "vae"}


def require_distinct(
    opened: Mapping[Role, Checkpoint], options: Mapping[Role, str] = OPTIONS
) -> None:
    """Raise ConfigError where two of these models, by their places, have the same weights."""
    hashes = {role: deciding_hashes(one) for role, one in opened.items()}
    pairs: tuple[tuple[Role, Role], ...] = (
        ("twin", "retrained"),
        ("twin", "base"),
        ("retrained", "base"),
        ("audited", "base"),
    )
    for one, other in pairs:
        if one in hashes and hashes[one] == hashes.get(other):
            raise ConfigError(
                f"the models of {options[one]}, {opened[one].path}, and {options[other]}, "
                f"{opened[other].path}, have the same weights, so there is no distance between "
                f"them to measure by; give another model by {options[one]}"
            )
