"""One evaluation from start to end: draw, judge, count, measure, write."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.local_paths import typed_path
from erasure.storage.files import atomic
from pipelines.configs.settings import parse_seeds
from pipelines.data.prompt_checks import require_read, warn_of_prompts
from pipelines.drawing.guards import Guard, guard_of
from pipelines.drawing.same_noise import require_same_size
from pipelines.evaluation.asking import asks_for
from pipelines.evaluation.assembling import Pictures, Question, assembled
from pipelines.evaluation.drawing import RunConfig, draw_cases, require_drawable
from pipelines.evaluation.erased import erased_labels
from pipelines.evaluation.limiting import limited
from pipelines.evaluation.measuring import open_metrics
from pipelines.evaluation.opening import open_judges, require_named
from pipelines.evaluation.outcome.refusals import refusals_said
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_file import write_results
from pipelines.evaluation.outcome.training_record import read_training_record
from pipelines.evaluation.report.report import write_report
from pipelines.evaluation.settings import EvaluateRecipe, evaluation_text
from pipelines.evaluation.usable import require_usable
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from pipelines.run.model_facts import tell_model
from pipelines.run.models import files_for, open_model, pick_device
from pipelines.run.run_folder import require_no_other
from prompts.suites.case import PromptSet
from prompts.suites.suites import load_suite
from prompts.suites.unlearncanvas import resized

_HEADER: Final = (
    "A recipe of diffusion-erasure.\n"
    "Paths stand here as they were given, so that it can be used again; leave this file out of "
    "what you publish."
)


def suite_of(recipe: EvaluateRecipe) -> PromptSet:
    """Read the prompts that a recipe names.

    Raises:
        PromptError: they cannot be used.
    """
    suite = load_suite(
        recipe.suite,
        prompts=typed_path(recipe.prompts) if recipe.prompts else None,
        seeds=parse_seeds(recipe.seeds) if recipe.seeds else None,
        samples=recipe.samples,
        categories=recipe.categories,
        min_nudity=recipe.min_nudity,
    )
    if recipe.suite == "unlearncanvas" and recipe.size is not None:
        return resized(suite, recipe.size)
    return suite


def require_judged(recipe: EvaluateRecipe, checkpoint: Checkpoint, device: torch.device) -> None:
    """Find the judges and the prompts of an evaluation long before it draws.

    Raises:
        EvalError: a judge that cannot be used, or does not know what was erased.
        PromptError: the prompts cannot be, or none shows what was erased, or not so few.
    """
    require_shown(recipe, checkpoint)
    suite = suite_of(recipe)
    erased = erased_labels(recipe, checkpoint, suite).labels
    require_named(open_judges(recipe, device), suite, erased)


def require_shown(recipe: EvaluateRecipe, checkpoint: Checkpoint) -> None:
    """Raise PromptError where the prompts, or so few of them, do not show all that was erased."""
    suite = suite_of(recipe)
    limited(suite, erased_labels(recipe, checkpoint, suite).labels, recipe.limit)


def run_evaluation(
    recipe: EvaluateRecipe, out: Path, *, force: bool, reporter: Reporter
) -> Results | None:
    """Evaluate a model; what is in `out` already is used and not made again.

    Returns:
        What was found; None in all processes but the first.

    Raises:
        EvalError: a judge, a metric or a picture that cannot be used.
        PromptError: the prompts cannot be.
        ErasureError: as reading the models and drawing; or `out` is the folder of something else.
    """
    require_no_other(out, "evaluation")
    suite = suite_of(recipe)
    device = pick_device(recipe.device)
    team = processes(device)
    after, before = _opened(recipe)
    erased = erased_labels(recipe, after, suite)
    suite = limited(suite, erased.labels, recipe.limit)
    if team.first:
        prompts = (case.prompt for case in suite.cases)
        warn_of_prompts(f"prompts of {suite.name}", prompts, after)
    # Before the drawing, so that a judge or a metric that is not there is told at once.
    judges = open_judges(recipe, device) if team.first else {}
    require_named(judges, suite, erased.labels)
    metrics = None
    if team.first:
        others = sum(not asks_for(c.labels, c.prompt, erased.labels) for c in suite.cases)
        metrics = open_metrics(recipe, others, device, reporter)
    tell_model(after)
    if before is not None:
        tell_model(before, "before")
    guard = guard_of(recipe.guard, recipe.guard_text, erased.labels)
    if guard is not None:
        require_read(guard.text, "the guard's text", after)
    drawn = _draw(
        recipe, suite, (after, before), device, out, guard, force=force, reporter=reporter
    )
    if metrics is None:
        return None
    question = Question(
        recipe=recipe,
        suite=suite,
        after=after,
        before=before,
        erased=erased,
        judges=judges,
        metrics=metrics,
    )
    results = assembled(question, drawn, out, reporter)
    if guard is not None:
        results = _guarded(results, guard)
    write_results(results, out)
    with atomic(out / "recipe.toml") as part:
        part.write_text(evaluation_text(recipe, _HEADER), encoding="utf-8")
    record = read_training_record(recipe.model)
    write_report(results, out, density=record.density, losses=record.losses)
    return results


def _guarded(results: Results, guard: Guard) -> Results:
    """The same with the guard named beside the model and before the verdict."""
    marked = replace(results.models.after, guard=guard.described())
    verdict = f"With the guard {guard.described()}: {results.summary.verdict}"
    said = refusals_said(results)
    summary = replace(results.summary, verdict=f"{verdict} {said}" if said else verdict)
    return replace(results, models=replace(results.models, after=marked), summary=summary)


def _opened(recipe: EvaluateRecipe) -> tuple[Checkpoint, Checkpoint | None]:
    """The model and, where there is one, that before the erasure, both by the same options."""
    open_one = partial(
        open_model,
        vae=recipe.vae,
        allow_pickle=recipe.allow_pickle,
        prediction=recipe.prediction,
    )
    models = (recipe.model, *([recipe.against] if recipe.against else ()))
    each = files_for(models, recipe.config, recipe.text_encoders)
    opened = [open_one(model, **own) for model, own in zip(models, each, strict=True)]
    return opened[0], opened[1] if recipe.against else None


def _draw(
    recipe: EvaluateRecipe,
    suite: PromptSet,
    models: tuple[Checkpoint, Checkpoint | None],
    device: torch.device,
    out: Path,
    guard: Guard | None,
    *,
    force: bool,
    reporter: Reporter,
) -> Pictures:
    settings = RunConfig(
        scheduler=recipe.scheduler,
        steps=recipe.steps,
        guidance=recipe.guidance,
        precision=recipe.precision,
        width=recipe.size,
        height=recipe.size,
        batch_size=recipe.batch_size,
        stream=recipe.stream,
    )
    asked = {"after": (models[0], replace(settings, guard=guard))}
    if models[1] is not None:
        asked["before"] = (models[1], settings)
        if recipe.size is None and any(None in (c.width, c.height) for c in suite.cases):
            require_same_size(models[1], models[0])
    for model, own in asked.values():
        require_drawable(model, suite.cases, own)  # of both, before the first is drawn
    drawn = []
    for name, (model, own) in asked.items():
        made = draw_cases(
            model,
            suite.cases,
            out,
            own,
            device=device,
            reporter=reporter,
            name=name,
            force=force,
        )
        require_usable(made, out, name)
        drawn.append(made)
    return Pictures(drawn[0], drawn[1] if len(drawn) > 1 else None)
