"""A recipe with the model that it is for: read, resolved and opened, and nothing begun."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from erasure.local_paths import typed_path
from erasure.methods import Method
from erasure.storage.cache import TensorCache
from erasure.storage.tables import build
from pipelines.configs.recipe_files import merge
from pipelines.configs.resolving import resolve
from pipelines.configs.settings import EraseRecipe
from pipelines.data.class_names import with_class_names
from pipelines.data.prompt_checks import check_plan
from pipelines.drawing.own_guidance import refuse_unguided, tell_guidance
from pipelines.run.merging_loras import merged_base
from pipelines.run.models import is_canvas, open_by
from prompts.concepts.concepts import Family, plan_concept
from prompts.concepts.earlier import without_earlier
from prompts.concepts.phrases import mentions
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together
from prompts.errors import PromptError
from prompts.trainer_rows import read_rows

_log = logging.getLogger(__name__)

_GUIDANCE: Final = "--set data.drawing.guidance=... or, for the grid, grid.drawing.guidance=..."
"""How an erasure and a mask, which have no `--guidance`, are asked for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The part of a recipe that must be known before its defaults are."""

    model: str = "demo"
    config: str | None = None
    vae: str | None = None
    text_encoders: tuple[str, ...] | None = None
    prediction: Literal["epsilon", "v"] | None = None
    allow_pickle: bool = False
    loras: tuple[str, ...] = ()
    origin: str | None = None


def prepare(
    tables: Mapping[str, Any],
    under: Mapping[str, Any] | None = None,
    *,
    opened: Callable[[ModelChoice], Checkpoint] | None = None,
) -> tuple[EraseRecipe, Checkpoint]:
    """Resolve a recipe and open its model; nothing is written.

    Args:
        tables: what was given.
        under: a recipe file below it, if there is one.
        opened: opens the model; `open_model` if none.

    Raises:
        ConfigError: the recipe is wrong.
        CheckpointError: there is no such model, or it cannot be read.
    """
    settings = merge(under or {}, tables)
    known = {field.name for field in fields(ModelChoice)}
    chosen = build(ModelChoice, {k: v for k, v in settings.items() if k in known})
    checkpoint = (opened or _opened)(chosen)
    checkpoint = merged_base(checkpoint, chosen.loras)
    family, canvas = checkpoint.architecture, is_canvas(checkpoint)
    classes = checkpoint.classes
    unguided = classes is not None and classes.nothing is None
    recipe = resolve(
        tables,
        canvas=canvas,
        labels=classes is not None,
        under=under,
        scopes=family.scope_defaults,
        guidance=1.0 if unguided else family.own_guidance,
    )
    require_family(recipe.method, family)
    recipe = with_class_names(recipe, classes)
    if recipe.scope != recipe.method.default_scope and "scope" not in settings:
        _log.warning("the scope is %s, as this model has no cross-attention", recipe.scope)
    asked = (settings.get("grid") or {}).get("drawing") or {}
    for part in ("grid", "data"):
        drawing = (settings.get(part) or {}).get("drawing") or {}
        refuse_unguided(family, drawing.get("guidance"), f"{part}.drawing.guidance")
        if unguided and drawing.get("guidance") not in (None, 1):
            raise ConfigError(
                f"{part}.drawing.guidance is {drawing['guidance']}, and this model has no label "
                "that stands for no class, which guidance leads away from; leave it out"
            )
    if not canvas and not unguided and asked.get("guidance") is None:
        tell_guidance(family, _GUIDANCE)
    return recipe, checkpoint


def require_family(method: Method, family: Architecture) -> None:
    """Raise ConfigError where a method that says so cannot edit models of a family."""
    check = getattr(method, "require_family", None)  # one of the user's own may have none
    if check is not None:
        check(family)


def _opened(chosen: ModelChoice) -> Checkpoint:
    return open_by(chosen, chosen.model, others=[chosen.origin])


def cache_of(folder: str | None) -> TensorCache:
    """Where drawn pictures and latents are kept: the folder of a recipe, or the user's own."""
    folder = folder or os.environ.get("ERASURE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return TensorCache(typed_path(folder) if folder else home / "diffusion-erasure")


def plan_of(recipe: EraseRecipe, checkpoint: Checkpoint, *, checked: bool = True) -> ConceptPlan:
    """The prompts of the recipe's concept; ConfigError where the model would not read one whole,
    which is looked at where they are to be `checked`."""
    family: Family = recipe.data.words or ("canvas" if is_canvas(checkpoint) else "general")
    extra = recipe.data.forget_prompts
    labels = checkpoint.classes.names if checkpoint.classes else ()
    retain = recipe.data.retain_prompts
    plan = together(
        [
            plan_concept(
                name,
                family=family,
                labels=labels,
                instead=recipe.instead,
                prompts=_own_prompts(extra, name, recipe.names) or None,
                retain=retain,
            )
            for name in recipe.names
        ]
    )
    plan = replace(plan, earlier=tuple(_earlier(checkpoint, family, labels)))
    if recipe.origin is not None:
        plan = without_earlier(plan, listed=retain is not None)
    if recipe.data.rows is not None:
        read = read_rows(typed_path(recipe.data.rows))
        for note in read.notes:
            _log.warning("%s", note)
        plan = replace(plan, rows=read.rows)
    if checked:
        check_plan(plan, checkpoint)
    return plan


def _earlier(
    checkpoint: Checkpoint, family: Family, labels: Sequence[str]
) -> Iterator[ConceptPlan]:
    """The plans of what was erased from a model before, as far as its own words have any for it."""
    provenance = checkpoint.provenance
    for name in provenance.concepts if provenance else ():
        try:
            yield plan_concept(name, family=family, labels=labels)
        except PromptError as err:
            _log.warning(
                "%.80r was erased from this model before, and what is retained is not searched for "
                "it: %s",
                name,
                err,
            )


def _own_prompts(prompts: Sequence[str], name: str, names: Sequence[str]) -> list[str]:
    """Those of the user's prompts that show a concept: all where there is one.

    Raises:
        ConfigError: there are several, and a prompt names none.
    """
    if len(names) == 1:
        return list(prompts)
    for prompt in prompts:
        if not any(mentions(prompt, one) for one in names):
            raise ConfigError(
                f"the prompt to forget {prompt[:80]!r} names none of {', '.join(names)}, so it is "
                "not known whose it is; name one in it"
            )
    return [prompt for prompt in prompts if mentions(prompt, name)]
