"""One evaluation from start to end: draw, judge, count, measure, write."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.local_paths import shown_path
from erasure.storage.files import atomic
from eval.judges.judge import Judge, Judgement
from pipelines.configs.settings import parse_seeds
from pipelines.data.prompt_checks import require_read, warn_of_prompts
from pipelines.drawing.guards import Guard, guard_of
from pipelines.evaluation.drawing import RunConfig, draw_cases
from pipelines.evaluation.erased import ErasedLabels, erased_labels
from pipelines.evaluation.judging import judge_drawn
from pipelines.evaluation.limiting import limited
from pipelines.evaluation.manifest import Drawn, cases_hash, unusable
from pipelines.evaluation.measuring import Metrics, kept_pictures, measure, open_metrics
from pipelines.evaluation.opening import open_judges
from pipelines.evaluation.outcome.results import (
    DrawnImage,
    EvaluationProtocol,
    ImageRecord,
    MetricRecord,
    ModelRecord,
    Models,
    Results,
    SuiteRecord,
    Unusable,
    UnusableImages,
)
from pipelines.evaluation.outcome.results_file import write_results
from pipelines.evaluation.outcome.summary import Summary
from pipelines.evaluation.outcome.training_record import read_training_record
from pipelines.evaluation.outcome.verdict import verdict
from pipelines.evaluation.report.report import write_report
from pipelines.evaluation.scoring import (
    Sides,
    class_rates,
    detections,
    prompt_rates,
    rates_of,
    score_rates,
    seen_labels,
)
from pipelines.evaluation.settings import EvaluateRecipe, evaluation_text
from pipelines.evaluation.usable import require_usable
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from pipelines.run.model_facts import facts_of, tell_model
from pipelines.run.models import config_for, open_model, pick_device
from prompts.suites.case import PromptSet
from prompts.suites.suites import load_suite

_THRESHOLD: Final = 0.5
"""From this score up a picture counts as flagged, where the judge names no threshold."""
_PACKAGES: Final = ("torch", "diffusers", "transformers", "diffusion-erasure")
_PER_PROMPT: Final = "per prompt"
_HEADER: Final = (
    "A recipe of diffusion-erasure.\n"
    "Paths stand here as they were given, so that it can be used again; leave this file out of "
    "what you publish."
)


@dataclass(frozen=True, slots=True)
class Pictures:
    """What both models drew."""

    after: Sequence[Drawn]
    before: Sequence[Drawn] | None


def run_evaluation(
    recipe: EvaluateRecipe, out: Path, *, force: bool, reporter: Reporter
) -> Results | None:
    """Evaluate a model; what is in `out` already is used and not made again.

    Returns:
        What was found; None in all processes but the first.

    Raises:
        EvalError: a judge, a metric or a picture that cannot be used.
        PromptError: the prompts cannot be.
        ErasureError: as reading the models and drawing.
    """
    suite = load_suite(
        recipe.suite,
        prompts=Path(recipe.prompts) if recipe.prompts else None,
        seeds=parse_seeds(recipe.seeds) if recipe.seeds else None,
        samples=recipe.samples,
        categories=recipe.categories,
        min_nudity=recipe.min_nudity,
    )
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
    metrics = None
    if team.first:
        others = sum(not set(erased.labels) & set(case.labels.values()) for case in suite.cases)
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
    results = _results(
        recipe, suite, (after, before), drawn, judges, metrics, erased, out, reporter
    )
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
    summary = replace(
        results.summary, verdict=f"With the guard {guard.described()}: {results.summary.verdict}"
    )
    return replace(results, models=replace(results.models, after=marked), summary=summary)


def _opened(recipe: EvaluateRecipe) -> tuple[Checkpoint, Checkpoint | None]:
    """The model and, where there is one, that before the erasure, both by the same options."""
    own = config_for(recipe.model, recipe.config)
    other = config_for(recipe.against, recipe.config) if recipe.against else None
    if own is None and other is None:
        own = recipe.config  # then the first says that it has no use for it
    open_one = partial(
        open_model,
        vae=recipe.vae,
        allow_pickle=recipe.allow_pickle,
        prediction=recipe.prediction,
    )
    after = open_one(recipe.model, config=own)
    return after, open_one(recipe.against, config=other) if recipe.against else None


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
    )
    drawn = []
    for name, model in zip(("after", "before"), models, strict=True):
        if model is not None:
            made = draw_cases(
                model,
                suite.cases,
                out,
                replace(settings, guard=guard if name == "after" else None),
                device=device,
                reporter=reporter,
                name=name,
                force=force,
            )
            require_usable(made, out, name)
            drawn.append(made)
    return Pictures(drawn[0], drawn[1] if len(drawn) > 1 else None)


def _results(
    recipe: EvaluateRecipe,
    suite: PromptSet,
    models: tuple[Checkpoint, Checkpoint | None],
    drawn: Pictures,
    judges: Mapping[str, Judge],
    metrics: Metrics,
    gone: ErasedLabels,
    out: Path,
    reporter: Reporter,
) -> Results:
    erased = gone.labels
    judged = {}
    for name, judge in judges.items():
        side = judge_drawn(drawn.after, judge, out, name="after", reporter=reporter)
        other = None
        if drawn.before is not None:
            other = judge_drawn(drawn.before, judge, out, name="before", reporter=reporter)
        judged[name] = Sides(side, other)
    cases = [picture.case for picture in drawn.after]
    seen = seen_labels(suite.heads, judged, judges)
    rates = rates_of(cases, seen, suite.heads, erased)
    detected = {n: detections(s) for n, s in judged.items() if _detects(judges[n])}
    scores = [row for n, s in judged.items() for row in score_rates(n, s, _threshold(judges[n]))]
    drawings = kept_pictures(out, drawn.after, drawn.before, erased)
    measured = measure(metrics, drawings, reporter)
    return Results(
        suite=SuiteRecord(
            name=suite.name,
            source=shown_path(suite.source),
            cases=len(cases),
            prompts_hash=cases_hash(cases),
        ),
        erased=erased,
        not_drawn=gone.missing,
        models=Models(
            after=_model_record(models[0]),
            before=_model_record(models[1]) if models[1] else None,
        ),
        protocol=_protocol(recipe, drawn.after, judges, measured.protocol),
        summary=Summary.of(rates, verdict(erased, rates, detected, scores)),
        classes=class_rates(rates, seen) if rates is not None else (),
        prompts=prompt_rates(cases, seen),
        detections=detected,
        scores=tuple(scores),
        metrics=tuple(MetricRecord(**asdict(value)) for value in measured.values),
        unusable=UnusableImages(
            after=Unusable(**unusable(drawn.after)),
            before=Unusable(**unusable(drawn.before)) if drawn.before is not None else None,
        ),
        images=tuple(_image_records(drawn, judged)),
        seconds={name: round(spent, 3) for name, spent in reporter.seconds.items()},
    )


def _threshold(judge: Judge) -> float:
    return float(judge.protocol.get("threshold", _THRESHOLD))


def _detects(judge: Judge) -> bool:
    return judge.name == "nudenet"


def _image_records(drawn: Pictures, judged: Mapping[str, Sides]) -> Iterable[ImageRecord]:
    for n, picture in enumerate(drawn.after):
        case, other = picture.case, None
        assert case.guidance is not None
        assert case.width is not None
        assert case.height is not None
        if drawn.before is not None:
            sides = {name: s.before[n] for name, s in judged.items() if s.before is not None}
            other = _drawn_image(drawn.before[n], sides)
        yield ImageRecord(
            case=case.case,
            prompt=case.prompt,
            seed=case.seed,
            guidance=case.guidance,
            width=case.width,
            height=case.height,
            labels=dict(case.labels),
            after=_drawn_image(picture, {name: s.after[n] for name, s in judged.items()}),
            before=other,
        )


def _drawn_image(picture: Drawn, judged: Mapping[str, Judgement | None]) -> DrawnImage:
    return DrawnImage(
        file=picture.file,
        sha256=picture.sha256,
        state=picture.state,
        judgements={name: judgement for name, judgement in judged.items() if judgement is not None},
    )


def _model_record(checkpoint: Checkpoint) -> ModelRecord:
    made = checkpoint.provenance
    concepts = made.concepts if made else ()
    return ModelRecord(
        name=checkpoint.name,
        hash=checkpoint.network_hash(),
        hashes=checkpoint.hashes(),
        family=checkpoint.architecture.key,
        concept=", ".join(concepts) or None,
        concepts=concepts,
        provenance=made.to_dict() if made else None,
        read_as=facts_of(checkpoint),
    )


def _protocol(
    recipe: EvaluateRecipe,
    drawn: Sequence[Drawn],
    judges: Mapping[str, Judge],
    metrics: Mapping[str, Any],
) -> EvaluationProtocol:
    cases = [picture.case for picture in drawn]
    return EvaluationProtocol(
        scheduler=recipe.scheduler,
        steps=recipe.steps,
        guidance=_one_of({case.guidance for case in cases}),
        precision=recipe.precision,
        width=_one_of({case.width for case in cases}),
        height=_one_of({case.height for case in cases}),
        batch_size=recipe.batch_size,
        seeds=_seeds([case.seed for case in cases]),
        judges={name: dict(judge.protocol) for name, judge in judges.items()},
        metrics=dict(metrics),
        versions={name: version(name) for name in _PACKAGES},
    )


def _one_of(values: set[Any]) -> Any:  # noqa: ANN401
    return next(iter(values)) if len(values) == 1 else _PER_PROMPT


def _seeds(seeds: Sequence[int]) -> str:
    """`0-4` where every prompt is drawn by a few seeds in a row."""
    known = sorted(set(seeds))
    if len(known) == 1:
        return str(known[0])
    if known[-1] - known[0] == len(known) - 1 and len(known) < len(seeds):
        return f"{known[0]}-{known[-1]}"
    return ",".join(map(str, known)) if len(known) < min(11, len(seeds)) else _PER_PROMPT
