"""The results of an evaluation, put together of what was drawn, judged, counted and measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.local_paths import shown_path
from eval.judges.judge import Judge, Judgement
from pipelines.evaluation.erased import ErasedLabels
from pipelines.evaluation.judging import judge_drawn
from pipelines.evaluation.manifest import Drawn, cases_hash, unusable
from pipelines.evaluation.measuring import Metrics, kept_pictures, measure
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
from pipelines.evaluation.outcome.summary import Summary
from pipelines.evaluation.outcome.verdict import verdict
from pipelines.evaluation.scoring import (
    Sides,
    class_rates,
    detections,
    prompt_rates,
    rates_of,
    score_rates,
    seen_labels,
)
from pipelines.evaluation.settings import EvaluateRecipe
from pipelines.process.progress import Reporter
from pipelines.run.model_facts import facts_of
from prompts.suites.case import PromptSet

_THRESHOLD: Final = 0.5
"""From this score up a picture counts as flagged, where the judge names no threshold."""
_PACKAGES: Final = ("torch", "diffusers", "transformers", "diffusion-erasure")
_PER_PROMPT: Final = "per prompt"


@dataclass(frozen=True, slots=True)
class Pictures:
    """What both models drew."""

    after: Sequence[Drawn]
    before: Sequence[Drawn] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of which models, and who answers."""

    recipe: EvaluateRecipe
    suite: PromptSet
    after: Checkpoint
    before: Checkpoint | None
    erased: ErasedLabels
    judges: Mapping[str, Judge]
    metrics: Metrics


def assembled(question: Question, drawn: Pictures, out: Path, reporter: Reporter) -> Results:
    """Judge and measure the pictures that lie in `out`, and gather all that is known of them."""
    suite, judges, erased = question.suite, question.judges, question.erased.labels
    judged = {}
    for name, judge in judges.items():
        side = judge_drawn(drawn.after, judge, out, name="after", reporter=reporter)
        other = None
        if drawn.before is not None:
            other = judge_drawn(drawn.before, judge, out, name="before", reporter=reporter)
        judged[name] = Sides(side, other)
    cases = [picture.case for picture in drawn.after]
    refused = [n for n, picture in enumerate(drawn.after) if picture.state == "refused"]
    seen = seen_labels(suite.heads, judged, judges, refused)
    rates = rates_of(cases, seen, suite.heads, erased)
    detected = {n: detections(s) for n, s in judged.items() if _detects(judges[n])}
    scores = [row for n, s in judged.items() for row in score_rates(n, s, _threshold(judges[n]))]
    drawings = kept_pictures(out, drawn.after, drawn.before, erased)
    measured = measure(question.metrics, drawings, reporter)
    return Results(
        suite=SuiteRecord(
            name=suite.name,
            source=shown_path(suite.source),
            cases=len(cases),
            prompts_hash=cases_hash(cases),
        ),
        erased=erased,
        not_drawn=question.erased.missing,
        models=Models(
            after=_model_record(question.after),
            before=_model_record(question.before) if question.before else None,
        ),
        protocol=_protocol(question.recipe, drawn.after, judges, measured.protocol),
        summary=Summary.of(
            rates, verdict(erased, rates, detected, scores, question.erased.missing)
        ),
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
        judgements={
            name: judgement
            for name, judgement in judged.items()
            if judgement is not None and picture.state == "ok"
        },
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
