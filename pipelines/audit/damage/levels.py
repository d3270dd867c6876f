"""How much is drawn to see what else was lost."""

from dataclasses import dataclass
from typing import Final, Literal

from pipelines.audit.settings import AuditRecipe

LevelName = Literal["none", "small", "standard", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Counts of one level."""

    neighbours: int
    """Other labels that are asked for, the nearest by the text encoder."""
    prompts: int
    """Prompts of each neighbour."""
    seeds: int
    """Pictures of each prompt of a neighbour, by the audited model and the base; the base draws as
    many again by other seeds, for its own distance."""
    plain: int
    """Prompts of the concept itself."""
    plain_seeds: int
    companions: int
    """Neighbours that the concept is put beside, in both orders."""
    companion_seeds: int


LEVELS: Final = {
    "small": Level(
        neighbours=6,
        prompts=1,
        seeds=4,
        plain=6,
        plain_seeds=2,
        companions=2,
        companion_seeds=3,
    ),
    "standard": Level(
        neighbours=12,
        prompts=2,
        seeds=4,
        plain=6,
        plain_seeds=5,
        companions=4,
        companion_seeds=4,
    ),
    "full": Level(
        neighbours=24,
        prompts=3,
        seeds=4,
        plain=6,
        plain_seeds=10,
        companions=8,
        companion_seeds=6,
    ),
}
_OF_PRESET: Final[dict[str, LevelName]] = {
    "quick": "small",
    "standard": "standard",
    "full": "full",
}


def level_name(recipe: AuditRecipe) -> LevelName:
    """What the recipe says, or what goes with its attacks."""
    return recipe.damage if recipe.damage is not None else _OF_PRESET[recipe.preset]
