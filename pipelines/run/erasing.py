"""One erasure from end to end: data, mask, training, checkpoint, pictures, provenance."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.folder import folder_size
from erasure.diffusion.edit import component_of, require_origin
from erasure.editing.proving import Edit
from erasure.errors import ConfigError
from erasure.masks.mask_file import save_mask
from erasure.masks.mask_report import mask_report
from erasure.masks.masks import SaliencyMask
from erasure.storage.disk import require_space
from erasure.storage.files import atomic
from erasure.training.moments import require_eight_bit
from erasure.training.unseen import Curve
from pipelines.configs.resolving import recipe_text
from pipelines.configs.settings import EraseRecipe, parse_seeds
from pipelines.data.concept_data import Gatherer
from pipelines.data.prompt_checks import warn_of_prompts
from pipelines.drawing.plots import plot_density
from pipelines.process.processes import Processes, processes
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import cell_judge
from pipelines.run.judging.cell_verdict import CellVerdict
from pipelines.run.masking import (
    measured_beside_the_same,
    named_mask,
    require_factors,
    require_recomputing_of,
)
from pipelines.run.memory import enough_memory, of_training
from pipelines.run.models import open_by, own_judge, pick_device
from pipelines.run.preparing import cache_of, plan_of
from pipelines.run.run_folder import (
    LORA,
    MASK,
    MODEL,
    RECIPE,
    RECIPE_HEADER,
    clear,
    may_write,
)
from pipelines.run.stages import Stages

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What a run left behind."""

    folder: Path
    model: Path
    selected: int
    moved: int
    total: int
    unselected_identical: bool
    seconds: Mapping[str, float]
    """Wall time a stage."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the method says of its run; plain JSON values."""
    verdict: CellVerdict | None = None
    """What a judge recognises in the grid; None in all processes but the first."""
    curve: Curve | None = None
    """What a judge saw during the training, where it was asked to end it."""
    work: Mapping[str, Any] = field(default_factory=dict)
    """Passes and pictures, all together and by stage, as the record has them."""
    lora: Path | None = None
    """The LoRA of the run, where factors moved and a LoRA can hold what they did."""


def run_erasure(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Erased:
    """Do what the recipe says and write the run's folder.

    Started by a launcher, the processes share the work, and the first writes.

    Raises:
        ErasureError: see the parts; what was finished stays, for `resume`.
    """
    device = pick_device(recipe.device)
    team = processes(device)
    report = reporter if reporter and team.first else Reporter(quiet=True)
    run = _checked(recipe, checkpoint, out, device=device, team=team, report=report)
    # Whatever may be wrong with the input is known before the folder is touched.
    text = recipe_text(recipe, RECIPE_HEADER)
    goes_on = may_write(out, text, recipe.model, resume=resume, force=force)
    require_space(out / MODEL, 3 * folder_size(checkpoint))
    if recipe.grid.prompts:
        warn_of_prompts("prompts of the grid", recipe.grid.prompts, checkpoint)
    measuring = run.measuring(shown=report is reporter)
    until = run.until_unseen()
    gathered = run.data.gather()
    mask = run.find_mask(measuring, gathered, goes_on=goes_on)
    folder = _Folder(out, text, mask, team, goes_on)
    of_text = run.component != checkpoint.architecture.main
    less = of_training(recipe, team.count, text=of_text)
    with enough_memory("training", less, device), folder.keeping_mask(recipe):
        edit = run.train(gathered, mask, until, folder.begin)
    folder.begin()  # a closed form has refused nothing
    verdict = run.write(edit) if team.first else None
    team.wait()
    return _erased(out, edit, verdict, report.seconds)


def _checked(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    out: Path,
    *,
    device: torch.device,
    team: Processes,
    report: Reporter,
) -> Stages:
    """All that the run needs, once nothing in the recipe stands against it.

    Raises:
        ErasureError: the model, the device or the judge cannot do what the recipe asks for.
    """
    training = recipe.training
    if training is not None and training.moments == "8bit":
        require_eight_bit(training.optimizer, device)
    parse_seeds(recipe.grid.seeds)
    require_recomputing_of(recipe, checkpoint)
    plan = plan_of(recipe, checkpoint)
    # Before the drawing, so that a judge that is not there or knows no such thing is told at once.
    judge = cell_judge(recipe, plan, own=own_judge(checkpoint)) if team.first else None
    data = Gatherer(
        checkpoint=checkpoint,
        plan=plan,
        config=recipe.data,
        seed=recipe.seed,
        device=device,
        cache=cache_of(recipe.cache),
        team=team,
        reporter=report,
        needs=recipe.needs,
        retains=recipe.retains,
        resumes=True,
    )
    component = component_of(recipe.method, checkpoint)
    mask = named_mask(recipe, checkpoint, component)
    if mask is not None and team.first and not measured_beside_the_same(mask, checkpoint):
        _log.warning(
            "the mask %s was measured with other text encoders, another VAE or other configs than "
            "this model has; its scores are of what those say",
            recipe.mask,
        )
    require_factors(recipe, checkpoint, mask, component)
    origin = None if recipe.origin is None else open_by(recipe, recipe.origin)
    before = None if origin is None else origin.components[component]
    require_origin(before, checkpoint, recipe.method)
    if origin is not None and team.first:
        _tell_same(origin, checkpoint, component)
    return Stages(
        recipe=recipe,
        checkpoint=checkpoint,
        out=out,
        device=device,
        team=team,
        report=report,
        plan=plan,
        judge=judge,
        data=data,
        component=component,
        named=mask,
        origin=origin,
    )


def _tell_same(origin: Checkpoint, checkpoint: Checkpoint, component: str) -> None:
    """Say it where an origin changes nothing, as where a text encoder alone was edited before."""
    if origin.hash_of(component) == checkpoint.hash_of(component):
        _log.warning(
            "the origin has this model's own %s, so it answers as this model does: prompts are "
            "read by this model's text encoders",
            component,
        )


def _erased(
    out: Path, edit: Edit, verdict: CellVerdict | None, seconds: Mapping[str, float]
) -> Erased:
    """What the finished run left behind."""
    made = edit.provenance.last
    return Erased(
        out,
        out / MODEL,
        made.selected,
        made.moved,
        made.total,
        edit.unselected_identical,
        dict(seconds),
        made.config["facts"],
        verdict,
        edit.curve,
        made.config["work"],
        out / LORA if (out / LORA).exists() else None,
    )


@dataclass(slots=True)
class _Folder:
    """The folder of a run, which is not touched while the method may still refuse its input: an
    older run that `--force` replaces is there until then, and nothing is left of a new one."""

    out: Path
    recipe: str
    """The text of the run's, as TOML."""
    mask: SaliencyMask
    team: Processes
    goes_on: bool
    """Whether a run that was cut is gone on with."""
    begun: bool = False

    def begin(self) -> None:
        """Write what the run can go on from in place of an older run; the second time, nothing."""
        if self.begun:
            return
        self.team.wait()  # all have looked before one writes
        if self.team.first:
            if not self.goes_on:
                clear(self.out)
            self._write()
        self.begun = True
        self.team.wait()

    @contextmanager
    def keeping_mask(self, recipe: EraseRecipe) -> Iterator[None]:
        """Keep a mask that was measured, for `--resume`, where a block does not end and the cause
        is not what the user gave."""
        try:
            yield
        except ConfigError:
            raise
        except BaseException:
            new = not self.begun and not (self.out / RECIPE).exists()
            if new and self.team.first and recipe.mask in ("salient", "inverse"):
                self._write()
            raise

    def _write(self) -> None:
        with atomic(self.out / RECIPE) as part:
            part.write_text(self.recipe, encoding="utf-8")
        save_mask(self.out / MASK, self.mask)
        rows = mask_report(self.mask)
        plot_density(rows.blocks, self.out / "density.png", overall=rows.whole.density)
