"""One erasure from end to end: data, mask, training, checkpoint, pictures, provenance."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.folder import folder_size
from erasure.diffusion.edit import component_of, erase, require_origin
from erasure.diffusion.latents import ConceptData
from erasure.editing.proving import Edit
from erasure.local_paths import last_part
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.mask_report import mask_report
from erasure.masks.masks import SaliencyMask
from erasure.storage.disk import require_space
from erasure.storage.files import atomic
from erasure.storage.state_file import drop
from erasure.training.moments import require_eight_bit
from erasure.training.step import Step
from erasure.training.unseen import Curve, UntilUnseen
from pipelines.configs.resolving import published_text, recipe_text
from pipelines.configs.settings import EraseRecipe, parse_seeds
from pipelines.data.concept_data import Gatherer
from pipelines.data.prompt_checks import warn_of_prompts
from pipelines.drawing.plots import plot_density, plot_losses
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import Told
from pipelines.planning.fit import summed_where_they_fit
from pipelines.process.interrupts import between_steps
from pipelines.process.processes import Processes, processes
from pipelines.process.progress import Reporter
from pipelines.run.cell_judge import CellJudge, cell_judge
from pipelines.run.cell_verdict import CellVerdict
from pipelines.run.looking import until_unseen, write_curve
from pipelines.run.masking import (
    make_mask,
    mask_of_layers,
    named_mask,
    require_factors,
    require_recomputing_of,
)
from pipelines.run.memory import enough_memory, of_drawing, of_saliency, of_training
from pipelines.run.models import open_model, own_judge, pick_device
from pipelines.run.preparing import cache_of, plan_of
from pipelines.run.run_folder import (
    LOOKS,
    LORA,
    MASK,
    MODEL,
    RECIPE,
    RECIPE_HEADER,
    STATE,
    clear,
    may_write,
)
from pipelines.run.run_result import write_history, write_result
from prompts.concepts.plan import ConceptPlan

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
    team.wait()  # all have looked before one writes
    if team.first:
        if not goes_on:
            clear(out)
        _begin(text, mask, out)
    team.wait()
    with enough_memory("training", of_training(recipe, team.count), device):
        edit = run.train(gathered, mask, until)
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
) -> "_Run":
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
        cache=cache_of(recipe),
        team=team,
        reporter=report,
        needs=recipe.needs,
        resumes=True,
    )
    component = component_of(recipe.method, checkpoint)
    mask = named_mask(recipe, checkpoint, component)
    require_factors(recipe, checkpoint, mask, component)
    origin = None if recipe.origin is None else open_model(recipe.origin)
    before = None if origin is None else origin.components[component]
    require_origin(before, checkpoint, recipe.method)
    return _Run(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What is to be erased from which models, and who does it where; its methods are the stages."""

    recipe: EraseRecipe
    checkpoint: Checkpoint
    out: Path
    device: torch.device
    team: Processes
    report: Reporter
    plan: ConceptPlan
    judge: CellJudge | None
    """Looks at pictures in the first process, where the recipe asks for a judge."""
    data: Gatherer
    component: str
    """The one that is edited."""
    named: SaliencyMask | None
    """The mask of the file that the recipe names; None where it is to be made."""
    origin: Checkpoint | None
    """The base that the checkpoint was once edited from, where its answers are asked."""

    def measuring(self, *, shown: bool) -> EraseRecipe:
        """The recipe with a way of measuring the mask that fits the memory that is here.

        Args:
            shown: whether the bill of the run is printed.
        """
        planner = Planner(
            checkpoint=self.checkpoint,
            plan=self.plan,
            mask=self.named,
            apart=self.device.type == "cuda",
            processes=self.team.count,
        )
        measuring = self.team.agreed(
            lambda: summed_where_they_fit(self.recipe, planner.bill, self.device)
        )
        if shown:
            bill = planner.bill(measuring.recipe)
            self.report.tell([*measuring.said, *Told.here(bill, self.device).lines()])
        return measuring.recipe

    def until_unseen(self) -> UntilUnseen | None:
        """What ends the training once the judge sees the concept no more, if the recipe says so."""
        looks = of_drawing(self.recipe.grid.drawing.batch_size, resumes=True)
        with enough_memory("looking at the model", looks, self.device):
            return until_unseen(
                self.recipe,
                self.checkpoint,
                self.plan,
                self.judge,
                team=self.team,
                device=self.device,
                report=self.report,
                folder=self.out,
            )

    def find_mask(
        self, measuring: EraseRecipe, gathered: ConceptData, *, goes_on: bool
    ) -> SaliencyMask:
        """The mask of the recipe, cut to the layers that the method moves.

        Args:
            measuring: what the method `measuring` gives.
            gathered: the pictures that the mask is measured on.
            goes_on: whether the folder's own mask counts, if it is there.
        """
        mask = self.named
        if goes_on and (self.out / MASK).exists():
            mask = load_mask(self.out / MASK)  # as it was, whatever device measured it
        less = of_saliency(self.recipe, self.device, resumes=True)
        with enough_memory("measuring the mask", less, self.device):
            mask = mask or make_mask(
                measuring,
                self.checkpoint,
                gathered,
                self.component,
                team=self.team,
                reporter=self.report,
                scratch=cache_of(self.recipe).folder,
            )
            return mask_of_layers(self.recipe, self.checkpoint, mask, self.report)

    def train(self, data: ConceptData, mask: SaliencyMask, until: UntilUnseen | None) -> Edit:
        """Run the method, a line of progress for each step; an interrupt ends it between two."""
        recipe, origin, component = self.recipe, self.origin, mask.info.component
        stage = "train" if recipe.training else "solve"
        with (
            self.report.stage(stage, recipe.method.length(mask)) as tick,
            between_steps() as stopping,
        ):

            def on_step(step: Step) -> None:
                tick(1, f"loss {step.loss:.4f}")
                if self.team.any(stopping()):  # all after the same step
                    raise KeyboardInterrupt

            return erase(
                self.checkpoint,
                data,
                mask,
                recipe.method,
                concept=self.plan.concept,
                concepts=[part.concept for part in self.plan.parts],
                origin=None if origin is None else origin.components[component],
                until=until,
                spent={"draw": self.data.tally.work},
                low_rank=recipe.factors,
                record=self._record(component),
                device=self.device,
                checkpointing=recipe.checkpointing,
                stream=recipe.stream,
                team=self.team,
                state=self.out / STATE,
                save_every=recipe.save_every,
                on_step=on_step,
            )

    def _record(self, component: str) -> dict[str, Any]:
        """What the provenance says beside the method, as plain JSON values."""
        loras, origin, rows = self.checkpoint.merged, self.origin, self.plan.rows
        return {
            **({"loras": list(loras)} if loras else {}),
            **({} if origin is None else {"origin_hash": origin.hash_of(component)}),
            "recipe": published_text(self.recipe),
            **({"rows": [asdict(row) for row in rows]} if rows else {}),
            **_notes(self.recipe, self.checkpoint),
        }

    def write(self, edit: Edit) -> CellVerdict | None:
        """Write the run's folder, and drop what it could have gone on from."""
        recipe, out = self.recipe, self.out
        warn_of_rounding(edit, self.checkpoint, recipe)
        plot_losses(edit.history, out / "loss.png", trained=recipe.training is not None)
        write_history(edit, out / "loss.csv")
        if edit.curve is not None:
            write_curve(edit.curve, *(out / name for name in LOOKS))
        less = of_drawing(recipe.grid.drawing.batch_size, resumes=True)
        with enough_memory("drawing the grid", less, self.device):
            verdict = write_result(
                recipe, self.checkpoint, self.plan, edit, out, self.report, self.judge
            )
        drop(out / STATE)
        return verdict


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


def warn_of_rounding(edit: Edit, checkpoint: Checkpoint, recipe: EraseRecipe) -> None:
    """Say so where most of the selected weights are stored as they were, as they moved by less
    than their stored type can hold."""
    made, training = edit.provenance.last, recipe.training
    lost = made.config["facts"].get("rounded_away", 0)
    if training is None or 2 * lost <= made.selected:
        return
    kinds = {weight.dtype for weight in checkpoint.components[edit.component].values()}
    _log.warning(
        "%s of the %s selected weights moved by less than half a step of %s and are stored as they "
        "were; give a larger --lr (now %g) or more --steps (now %d), or a base that is stored in "
        "float32",
        f"{lost:,}",
        f"{made.selected:,}",
        " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds)),
        training.learning_rate,
        training.steps,
    )


def _begin(recipe: str, mask: SaliencyMask, out: Path) -> None:
    """Write what a run can go on from."""
    with atomic(out / RECIPE) as part:
        part.write_text(recipe, encoding="utf-8")
    save_mask(out / MASK, mask)
    rows = mask_report(mask)
    plot_density(rows.blocks, out / "density.png", overall=rows.whole.density)


def _notes(recipe: EraseRecipe, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the model did not hold, for the record, where paths are told by their last part."""
    paths = (str(checkpoint.path), recipe.vae, recipe.config)
    notes = list(checkpoint.notes)
    for path in filter(None, paths):
        notes = [note.replace(path, last_part(path)) for note in notes]
    return {"notes": notes} if notes else {}
