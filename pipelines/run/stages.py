"""The stages of one erasure: how the mask is measured, found, trained with, and what is written."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.edit import erase
from erasure.editing.proving import Edit
from erasure.errors import ConfigError, way
from erasure.masks.mask_file import load_mask
from erasure.masks.masks import SaliencyMask
from erasure.storage.state_file import drop
from erasure.training.step import Step
from erasure.training.unseen import UntilUnseen
from pipelines.configs.resolving import published_text
from pipelines.configs.settings import EraseRecipe
from pipelines.data.concept_data import Gatherer
from pipelines.drawing.plots import plot_losses
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import summed_where_they_fit
from pipelines.process.interrupts import between_steps
from pipelines.process.processes import Processes
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.judging.cell_verdict import CellVerdict
from pipelines.run.judging.looking import until_unseen, write_curve
from pipelines.run.masking import make_mask, mask_of_layers, measured_beside_the_same
from pipelines.run.memory import enough_memory, narrower_scope, of_drawing, of_saliency
from pipelines.run.preparing import cache_of
from pipelines.run.run_folder import LOOKS, MASK, STATE
from pipelines.run.run_result import write_history, write_result
from prompts.concepts.plan import ConceptPlan

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
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
            self.report.tell([*measuring.said, *BillInWords.here(bill, self.device).lines()])
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
            self._require_same_rest(mask)
        scope = narrower_scope(self.checkpoint, self.component)
        less = of_saliency(self.recipe, self.device, resumes=True, scope=scope)
        with enough_memory("measuring the mask", less, self.device):
            mask = mask or make_mask(
                measuring,
                self.checkpoint,
                gathered,
                self.component,
                team=self.team,
                reporter=self.report,
                scratch=cache_of(self.recipe.cache).folder,
            )
            return mask_of_layers(self.recipe, self.checkpoint, mask, self.report)

    def _require_same_rest(self, mask: SaliencyMask) -> None:
        """Raise ConfigError where scores were measured on other text encoders or another VAE.

        A saved state is known by all that it was trained on; a run that was cut before the first
        has its mask alone.
        """
        if not measured_beside_the_same(mask, self.checkpoint):
            raise ConfigError(
                f"the mask in {self.out} was measured when {self.recipe.model} had other text "
                "encoders, another VAE or other configs; give that model again, or ",
                way("force", True),
                " without --resume to begin anew",
            )

    def train(
        self,
        data: ConceptData,
        mask: SaliencyMask,
        until: UntilUnseen | None,
        on_ready: Callable[[], None],
    ) -> Edit:
        """Run the method, a line of progress for each step; an interrupt ends it between two.

        Args:
            on_ready: what `erasure.diffusion.edit.erase` calls before the first step of a training.
        """
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
                on_ready=on_ready,
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
            **({"notes": [*notes]} if (notes := self.checkpoint.public_notes) else {}),
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
