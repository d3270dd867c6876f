"""One erasure from end to end: data, mask, training, checkpoint, pictures, provenance."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.folder import folder_size
from erasure.diffusion.edit import component_of, erase, require_origin
from erasure.diffusion.latents import ConceptData
from erasure.editing.proving import Edit
from erasure.errors import ConfigError
from erasure.local_paths import last_part
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.mask_report import mask_report
from erasure.masks.masks import SaliencyMask
from erasure.storage.cache import TensorCache
from erasure.storage.disk import require_space
from erasure.storage.files import atomic
from erasure.storage.state_file import drop
from erasure.storage.tables import build
from erasure.training.moments import require_eight_bit
from erasure.training.step import Step
from erasure.training.unseen import Curve, UntilUnseen
from erasure.work import Work
from pipelines.configs.recipe_files import merge
from pipelines.configs.settings import (
    EraseRecipe,
    parse_seeds,
    published_text,
    recipe_text,
    resolve,
)
from pipelines.data.class_names import with_class_names
from pipelines.data.concept_data import Gatherer
from pipelines.data.prompt_checks import check_plan, warn_of_prompts
from pipelines.drawing.own_guidance import tell_guidance
from pipelines.drawing.plots import plot_density, plot_losses
from pipelines.planning.bill import Planner
from pipelines.planning.bill_words import Told
from pipelines.planning.fit import summed_where_they_fit
from pipelines.process.interrupts import between_steps
from pipelines.process.processes import Processes, processes
from pipelines.process.progress import Reporter
from pipelines.run.cell_judge import cell_judge
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
from pipelines.run.merging_loras import merged_base
from pipelines.run.models import is_canvas, open_model, own_judge, pick_device
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
from prompts.concepts.concepts import Family, plan_concept
from prompts.concepts.phrases import mentions
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together
from prompts.trainer_rows import read_rows

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The part of a recipe that must be known before its defaults are."""

    model: str = "demo"
    config: str | None = None
    vae: str | None = None
    prediction: Literal["epsilon", "v"] | None = None
    allow_pickle: bool = False
    loras: tuple[str, ...] = ()


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
    recipe = resolve(
        tables,
        canvas=canvas,
        labels=checkpoint.classes is not None,
        under=under,
        scopes=family.scope_defaults,
        guidance=family.own_guidance,
    )
    recipe = with_class_names(recipe, checkpoint.classes)
    if recipe.scope != recipe.method.default_scope and "scope" not in settings:
        _log.warning("the scope is %s, as this model has no cross-attention", recipe.scope)
    asked = (settings.get("grid") or {}).get("drawing") or {}
    if not canvas and asked.get("guidance") is None:
        tell_guidance(family)
    return recipe, checkpoint


def _opened(chosen: ModelChoice) -> Checkpoint:
    return open_model(
        chosen.model,
        config=chosen.config,
        vae=chosen.vae,
        allow_pickle=chosen.allow_pickle,
        prediction=chosen.prediction,
    )


def cache_of(recipe: EraseRecipe) -> TensorCache:
    """Where drawn pictures and latents are kept."""
    folder = recipe.cache or os.environ.get("ERASURE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return TensorCache(Path(folder) if folder else home / "diffusion-erasure")


def plan_of(recipe: EraseRecipe, checkpoint: Checkpoint, *, checked: bool = True) -> ConceptPlan:
    """The prompts of the recipe's concept; ConfigError where the model would not read one whole,
    which is looked at where they are to be `checked`."""
    family: Family = recipe.data.words or ("canvas" if is_canvas(checkpoint) else "general")
    extra = recipe.data.forget_prompts
    plan = together(
        [
            plan_concept(
                name,
                family=family,
                labels=checkpoint.classes.names if checkpoint.classes else (),
                instead=recipe.instead,
                prompts=_own_prompts(extra, name, recipe.names) or None,
                retain=recipe.data.retain_prompts,
            )
            for name in recipe.names
        ]
    )
    if recipe.data.rows is not None:
        read = read_rows(Path(recipe.data.rows))
        for note in read.notes:
            _log.warning("%s", note)
        plan = replace(plan, rows=read.rows)
    if checked:
        check_plan(plan, checkpoint)
    return plan


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
    # Whatever may be wrong with the input is known before the folder is touched.
    text = recipe_text(recipe, RECIPE_HEADER)
    goes_on = may_write(out, text, recipe.model, resume=resume, force=force)
    require_space(out / MODEL, 3 * folder_size(checkpoint))
    if recipe.grid.prompts:
        warn_of_prompts("prompts of the grid", recipe.grid.prompts, checkpoint)
    planner = Planner(
        checkpoint=checkpoint,
        plan=plan,
        mask=mask,
        apart=device.type == "cuda",
        processes=team.count,
    )
    measuring = team.agreed(lambda: summed_where_they_fit(recipe, planner.bill, device))
    if report is reporter:
        report.tell([*measuring.said, *Told.here(planner.bill(measuring.recipe), device).lines()])
    looks = of_drawing(recipe.grid.drawing.batch_size, resumes=True)
    with enough_memory("looking at the model", looks, device):
        until = until_unseen(
            recipe, checkpoint, plan, judge, team=team, device=device, report=report, folder=out
        )
    gathered = data.gather()
    if goes_on and (out / MASK).exists():
        mask = load_mask(out / MASK)  # as it was, whatever device measured it
    with enough_memory("measuring the mask", of_saliency(recipe, device, resumes=True), device):
        mask = mask or make_mask(
            measuring.recipe,
            checkpoint,
            gathered,
            component,
            team=team,
            reporter=report,
            scratch=cache_of(recipe).folder,
        )
        mask = mask_of_layers(recipe, checkpoint, mask, report)
    team.wait()  # all have looked before one writes
    if team.first:
        if not goes_on:
            clear(out)
        _begin(text, mask, out)
    team.wait()
    with enough_memory("training", of_training(recipe, team.count), device):
        asked = _Asked(
            recipe=recipe,
            checkpoint=checkpoint,
            plan=plan,
            origin=origin,
            until=until,
            spent={"draw": data.tally.work},
        )
        edit = _train(asked, gathered, mask, out / STATE, team, report)
    verdict = None
    if team.first:
        warn_of_rounding(edit, checkpoint, recipe)
        plot_losses(edit.history, out / "loss.png")
        write_history(edit, out / "loss.csv")
        if edit.curve is not None:
            write_curve(edit.curve, *(out / name for name in LOOKS))
        grid = of_drawing(recipe.grid.drawing.batch_size, resumes=True)
        with enough_memory("drawing the grid", grid, device):
            verdict = write_result(recipe, checkpoint, plan, edit, out, report, judge)
        drop(out / STATE)
    team.wait()
    made = edit.provenance.last
    return Erased(
        out,
        out / MODEL,
        made.selected,
        made.moved,
        made.total,
        edit.unselected_identical,
        dict(report.seconds),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is to be erased, from which models, and when it is over."""

    recipe: EraseRecipe
    checkpoint: Checkpoint
    plan: ConceptPlan
    origin: Checkpoint | None
    """The base that the checkpoint was once edited from, where its answers are asked."""
    until: UntilUnseen | None
    spent: Mapping[str, Work]
    """Stage -> what it took before."""

    def record(self, component: str) -> dict[str, Any]:
        """What the provenance says beside the method: plain JSON values.

        Args:
            component: the one that is edited.
        """
        loras, origin, rows = self.checkpoint.merged, self.origin, self.plan.rows
        return {
            **({"loras": list(loras)} if loras else {}),
            **({} if origin is None else {"origin_hash": origin.hash_of(component)}),
            "recipe": published_text(self.recipe),
            **({"rows": [asdict(row) for row in rows]} if rows else {}),
            **_notes(self.recipe, self.checkpoint),
        }


def _train(
    asked: _Asked,
    data: ConceptData,
    mask: SaliencyMask,
    state: Path,
    team: Processes,
    report: Reporter,
) -> Edit:
    """Run the method, a line of progress for each step; an interrupt ends it between two steps."""
    recipe, origin = asked.recipe, asked.origin
    stage = "train" if recipe.training else "solve"
    length, component = recipe.method.length(mask), mask.info.component
    with report.stage(stage, length) as tick, between_steps() as stopping:

        def on_step(step: Step) -> None:
            tick(1, f"loss {step.loss:.4f}")
            if team.any(stopping()):  # all after the same step
                raise KeyboardInterrupt

        return erase(
            asked.checkpoint,
            data,
            mask,
            recipe.method,
            concept=asked.plan.concept,
            concepts=[part.concept for part in asked.plan.parts],
            origin=None if origin is None else origin.components[component],
            until=asked.until,
            spent=asked.spent,
            low_rank=recipe.factors,
            record=asked.record(component),
            device=pick_device(recipe.device),
            checkpointing=recipe.checkpointing,
            stream=recipe.stream,
            team=team,
            state=state,
            save_every=recipe.save_every,
            on_step=on_step,
        )


def _notes(recipe: EraseRecipe, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the model did not hold, for the record, where paths are told by their last part."""
    paths = (str(checkpoint.path), recipe.vae, recipe.config)
    notes = list(checkpoint.notes)
    for path in filter(None, paths):
        notes = [note.replace(path, last_part(path)) for note in notes]
    return {"notes": notes} if notes else {}
