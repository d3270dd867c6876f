"""The mask that several measurements share: each selects by draws of its own, all are joined."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.edit import component_of
from erasure.masks.combining import intersection
from erasure.masks.mask_file import save_mask
from erasure.masks.masks import SaliencyMask
from pipelines.configs.settings import EraseRecipe
from pipelines.jobs.mask_job import looking_at_what_is_forgotten, measured_masks
from pipelines.process.progress import Reporter

APART: Final = (0, 1_000, 2_000)
"""What the measurements add to the seed of the recipe's mask, so that the first is the salient mask
of that seed, and runs by seeds below 1,000 have none in common."""


def seeds_of(recipe: EraseRecipe) -> tuple[int, ...]:
    """The seed of each measurement's time steps and noise."""
    return tuple(recipe.saliency.seed + apart for apart in APART)


def intersected_mask(
    recipe: EraseRecipe, checkpoint: Checkpoint, *, reporter: Reporter
) -> SaliencyMask:
    """What each measurement selects at the recipe's density: fewer weights than one of them.

    Its work is that of all measurements, and of the pictures where the method itself needs none.

    Raises:
        MaskError: the measurements share no weight.
        ErasureError: see `measured_masks`.

    Source: arXiv:2504.12782, which intersects masks of several seeds and prompts; here the pictures
        and prompts of all measurements are the same.
    """
    component = component_of(recipe.method, checkpoint)
    asked = looking_at_what_is_forgotten(replace(recipe, mask="salient"))
    masks, drawing = measured_masks(
        asked, checkpoint, component, seeds_of(recipe), reporter=reporter
    )
    joined = intersection(masks)
    if "pictures" in recipe.method.needs or joined.info.work is None:
        return joined
    return joined.with_info(replace(joined.info, work=joined.info.work + drawing))


def with_intersected_mask(
    recipe: EraseRecipe, checkpoint: Checkpoint, path: Path, *, reporter: Reporter
) -> EraseRecipe:
    """Write that mask and name its file in the recipe; raises as `intersected_mask`."""
    save_mask(path, intersected_mask(recipe, checkpoint, reporter=reporter))
    return replace(recipe, mask=str(path))


def intersection_said(seeds: Sequence[int]) -> str:
    """What a recipe cannot say of such a mask."""
    listed = ", ".join(map(str, seeds))
    return f"the mask is what {len(seeds)} measurements share, by saliency.seed {listed}"
