"""The mask of a recipe: read from the file it names, or made of the kind it names."""

import os
from pathlib import Path

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.measuring import require_loss
from erasure.diffusion.scores.saliency import Pass
from erasure.errors import ConfigError
from erasure.local_paths import typed_path
from erasure.lora.layers import has_factors
from erasure.lora.module_mask import module_mask
from erasure.masks.mask_file import is_mask_file, load_mask, require_base, require_component
from erasure.masks.masks import MASK_KINDS, REST, SaliencyMask, require_weights
from erasure.masks.released_masks import load_released_mask
from erasure.masks.selection import check_density
from erasure.moving.component import require_recomputed
from erasure.training.weights.low_rank import require_rank
from pipelines.configs.settings import EraseRecipe
from pipelines.process.processes import Processes
from pipelines.process.progress import Reporter
from pipelines.run.models import pick_device


def named_mask(recipe: EraseRecipe, checkpoint: Checkpoint, component: str) -> SaliencyMask | None:
    """Read the mask file that the recipe names; None where it names a kind, to be made.

    Args:
        component: whose weights the mask is to be of.

    Raises:
        MaskError: a mask file of another base or component.
        ConfigError: neither a kind of mask nor a file, an unknown scope, a density out of range, or
            a setting of its measuring that the model's network cannot follow.
    """
    if recipe.mask in MASK_KINDS:
        check_density(recipe.density)
        weights = checkpoint.components[component]
        checkpoint.architecture.candidates(weights, recipe.scope, component)
        if recipe.mask in ("salient", "inverse"):
            require_loss(checkpoint, recipe.saliency)
            for setting in ("checkpointing", "stream"):
                if getattr(recipe.saliency, setting):
                    require_recomputed(checkpoint, f"saliency.{setting}")
        return None
    path = typed_path(recipe.mask)
    if not os.path.isfile(path):
        raise ConfigError(
            f"mask is {recipe.mask!r}; give {', '.join(MASK_KINDS)}, or a file that exists"
        )
    if any(weight.is_meta for weight in checkpoint.components[component].values()):
        raise ConfigError(
            f"mask is the file {path}, and the model that it is of is not here; give the model "
            "itself, or plan with --mask salient and --density"
        )
    base = checkpoint.hash_of(component)
    if is_mask_file(path):
        mask = load_mask(path)
    else:
        mask = load_released_mask(path, allow_pickle=recipe.allow_pickle, base=base)
    require_component(mask.info, component)
    require_base(mask.info, base)
    require_weights(mask, checkpoint.components[component])
    return mask


def measured_beside_the_same(mask: SaliencyMask, checkpoint: Checkpoint) -> bool:
    """Whether a mask's scores, as far as it says, are of this model's own text encoders, VAE and
    configs."""
    before = (mask.info.measured or {}).get(REST)
    return before is None or before == checkpoint.digest_without(mask.info.component)


def require_factors(
    recipe: EraseRecipe, checkpoint: Checkpoint, mask: SaliencyMask | None, component: str
) -> None:
    """Raise ConfigError where factors are to move and no layer in scope has any, or the rank is
    above the size of all of them."""
    if recipe.factors is None:
        return
    weights, family = checkpoint.components[component], checkpoint.architecture
    names = mask.entries if mask else family.candidates(weights, recipe.scope, component)
    shapes = {n: tuple(weights[n].shape) for n in names if has_factors(n, weights[n])}
    if not shapes:
        raise ConfigError(
            f"no layer in the scope {recipe.scope} has factors, as only weights of linear and "
            "convolution layers have; choose another scope, or leave --as lora out"
        )
    if recipe.training is not None:
        require_rank(recipe.factors.rank, shapes)


def require_recomputing_of(recipe: EraseRecipe, checkpoint: Checkpoint) -> None:
    """Raise ConfigError where a setting of training or drawing wants blocks computed anew, or known
    by that, and the model's network cannot do it."""
    asked = {
        "checkpointing": recipe.checkpointing,
        "stream": recipe.stream,
        "data.drawing.stream": recipe.data.drawing.stream,
        "grid.drawing.stream": recipe.grid.drawing.stream,
    }
    for setting in (name for name, on in asked.items() if on):
        require_recomputed(checkpoint, setting)


def mask_of_layers(
    recipe: EraseRecipe, checkpoint: Checkpoint, mask: SaliencyMask, reporter: Reporter
) -> SaliencyMask:
    """The mask that factors follow, where factors move; what became of it is told."""
    if recipe.factors is None:
        return mask
    own = recipe.training is None
    weights = checkpoint.components[mask.info.component]
    chosen = module_mask(mask, weights, recipe.factors, own_rank=own)
    reporter.tell([chosen.said])
    return chosen.mask


def make_mask(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    data: ConceptData,
    component: str,
    *,
    team: Processes,
    reporter: Reporter,
    scratch: Path,
) -> SaliencyMask:
    """Make a mask of a component, of the kind that the recipe names, the same in all processes.

    Args:
        scratch: folder for sums of gradients that are put into a file.

    Raises:
        TrainingError: the forget loss is not finite, or another process is gone.
    """
    total = max(1, len(data.forget) or len(data.texts.forget if data.texts else ()))
    total *= recipe.saliency.draws
    with reporter.stage("find the mask", total) as tick:
        done = 0

        def on_pass(progress: Pass) -> None:
            nonlocal done
            tick(progress.done - done, f"forget loss {progress.loss:.4f}")
            done = progress.done

        return find_mask(
            checkpoint,
            data,
            recipe.mask,  # type: ignore[arg-type]
            density=recipe.density,
            scope=recipe.scope,
            component=component,
            concept=", ".join(recipe.names),
            config=recipe.saliency,
            method=recipe.method,
            device=pick_device(recipe.device),
            team=team,
            on_pass=on_pass,
            scratch=scratch,
        )
