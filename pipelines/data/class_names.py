"""A recipe for a model of labels: what it names as classes becomes the classes' own names."""

from dataclasses import replace

from erasure.architectures.labels.classes import Classes
from pipelines.configs.settings import EraseRecipe

_WORDS = ("next", "any")
"""What `instead` may say that names no class."""


def with_class_names(recipe: EraseRecipe, classes: Classes | None) -> EraseRecipe:
    """Give the recipe with the names of classes wherever it names one; of a model that reads text,
    the recipe itself.

    Raises:
        ConfigError: it names what is no class, or a number that is out of range.
    """
    if classes is None:
        return recipe
    instead = recipe.instead
    if instead is not None and instead not in _WORDS:
        instead = classes.name(instead)
    data, retained = recipe.data, recipe.data.retain_prompts
    data = replace(
        data,
        forget_prompts=tuple(map(classes.name, data.forget_prompts)),
        retain_prompts=None if retained is None else tuple(map(classes.name, retained)),
    )
    concept, *others = (classes.name(name) for name in recipe.names)
    return replace(recipe, concept=concept, concepts=tuple(others), instead=instead, data=data)
