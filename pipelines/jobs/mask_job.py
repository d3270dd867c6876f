"""What `erasure mask` is asked to make, without its command line: a bill, or a mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from erasure.architectures.text.names import LAYERS
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.edit import component_of
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.work import Work
from pipelines.configs.set_options import with_mask_settings
from pipelines.configs.settings import EraseRecipe, PicturesConfig
from pipelines.data.concept_data import Gatherer
from pipelines.jobs.opened import Opened, Planned, RecipeJob, named_recipe, opened
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import summed_where_they_fit
from pipelines.planning.run_sizes import mask_needs
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from pipelines.run.masking import make_mask, named_mask
from pipelines.run.memory import enough_memory, narrower_scope, of_saliency
from pipelines.run.models import pick_device
from pipelines.run.preparing import cache_of, plan_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskJob(RecipeJob):
    """One mask as it was asked for."""

    component: str | None = None
    """The part of the model whose weights the mask is of; None for the usual one."""

    @classmethod
    def of(
        cls,
        tables: Mapping[str, Any],
        recipe: str | None,
        settings: Sequence[str],
        *,
        component: str | None,
        fit: str | None,
    ) -> "MaskJob":
        """Put together what was given by name, by `--set` and by a recipe.

        Args:
            recipe: a TOML file, or the name of a ready recipe.
            settings: each `name=value`.

        Raises:
            ConfigError: a recipe or a setting is wrong, or a mask does not read it.
        """
        named = named_recipe(recipe)
        tables = with_mask_settings(tables, named, settings)
        return cls(tables=tables, named=named, component=component, fit=fit)

    def plan(self) -> Planned:
        """Say what making the mask would take; nothing is drawn or written.

        Raises:
            ErasureError: see `opened` and `Opened.planned`.
        """
        ready, component = self._opened(shapes=True)
        return ready.planned(self.fit, mask_of=component)

    def make(self) -> tuple[SaliencyMask, Mapping[str, Any]]:
        """Make the mask.

        Returns:
            It, and what its model was read as.

        Raises:
            ConfigError: the recipe is wrong, or its mask measures no pictures and some are given.
            ErasureError: see the parts.
        """
        ready, component = self._opened()
        ready = ready.fitted(self.fit, mask_of=component)
        kind = ready.recipe.mask
        if kind not in ("salient", "inverse") and "data" in self.tables:
            raise ConfigError(
                f"the mask {kind} measures no pictures, so --forget-drawn and --drawing-batch "
                "would not be read; leave them out"
            )
        mask = named_mask(ready.recipe, ready.checkpoint, component)
        if mask is not None:
            return mask, ready.facts
        seeds = (ready.recipe.saliency.seed,)
        (mask,), _ = measured_masks(ready.recipe, ready.checkpoint, component, seeds)
        return mask, ready.facts

    def _opened(self, *, shapes: bool = False) -> tuple[Opened, str]:
        """The opened recipe, cut to what a mask reads of it, and the component the mask is of."""
        ready = opened(self.tables, self.named, shapes=shapes)
        recipe, checkpoint = ready.recipe, ready.checkpoint
        component = _component(recipe, checkpoint, self.component)
        if component != checkpoint.architecture.main and "scope" not in ready.settings:
            recipe = replace(recipe, scope=LAYERS)
        recipe = looking_at_what_is_forgotten(recipe)
        return replace(ready, recipe=recipe), component


def looking_at_what_is_forgotten(recipe: EraseRecipe) -> EraseRecipe:
    """The recipe without pictures that are to be kept, at which no score looks."""
    return replace(recipe, data=replace(recipe.data, retain=PicturesConfig()))


def _component(recipe: EraseRecipe, checkpoint: Checkpoint, named: str | None) -> str:
    """The component whose weights the mask is of.

    Raises:
        ConfigError: the model has no such component, or the method whose loss it is moves another.
    """
    if recipe.saliency.loss != "own":
        return checkpoint.architecture.require_editable(named or "")
    moved = component_of(recipe.method, checkpoint)
    if named not in (None, moved):
        raise ConfigError(
            f"--component is {named!r}, but the method {recipe.method.name} moves {moved}; give "
            "that, or leave --component out"
        )
    return moved


def measured_masks(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    component: str,
    seeds: Sequence[int],
    *,
    reporter: Reporter | None = None,
) -> tuple[list[SaliencyMask], Work]:
    """Masks of a kind, measured on the concept's pictures where the kind asks for them.

    Args:
        component: whose weights they are of.
        seeds: of the measurements; a mask for each.
        reporter: told of the stages; one that prints in the first process if none.

    Returns:
        The masks, and what their pictures took.

    Raises:
        ErasureError: see the parts.
    """
    device = pick_device(recipe.device)
    team = processes(device)
    reporter = reporter or Reporter(quiet=not team.first)
    plan = plan_of(recipe, checkpoint)
    gatherer = Gatherer(
        checkpoint=checkpoint,
        plan=plan,
        config=recipe.data,
        seed=recipe.seed,
        device=device,
        cache=cache_of(recipe.cache),
        team=team,
        reporter=reporter,
        needs=mask_needs(recipe),
    )
    planner = Planner(
        checkpoint=checkpoint,
        plan=plan,
        mask=None,
        apart=device.type == "cuda",
        processes=team.count,
        mask_of=component,
    )
    measuring = team.agreed(lambda: summed_where_they_fit(recipe, planner.bill, device))
    bill = planner.bill(measuring.recipe)
    reporter.tell([*measuring.said, *BillInWords.here(bill, device).lines()])
    data = gatherer.gather()
    less = of_saliency(measuring.recipe, device, scope=narrower_scope(checkpoint, component))
    with enough_memory("measuring the mask", less, device):
        masks = [
            make_mask(
                replace(measuring.recipe, saliency=replace(measuring.recipe.saliency, seed=seed)),
                checkpoint,
                data,
                component,
                team=team,
                reporter=reporter,
                scratch=cache_of(measuring.recipe.cache).folder,
            )
            for seed in seeds
        ]
    team.wait()  # all have seen that the file is not there
    return masks, gatherer.tally.work
