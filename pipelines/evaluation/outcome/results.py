"""What an evaluation found: the values of `results.json` (see docs/results.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eval.judges.judge import Judgement
from eval.rates.intervals import Difference, Proportion
from pipelines.evaluation.outcome.summary import Rejected, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRecord:
    """Which prompts were drawn."""

    name: str
    source: str
    """Path, hub id or `built in`."""
    cases: int
    prompts_hash: str
    """SHA-256 of the cases in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """Which checkpoint drew them."""

    name: str
    hash: str
    """`erasure.storage.tensors.hashing.weights_hash` of the main component."""
    family: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Component -> the same of each; none in older results."""
    concept: str | None = None
    """What the model itself says was erased from it, all of it, with commas."""
    concepts: tuple[str, ...] = ()
    """The same one by one, oldest first."""
    provenance: Mapping[str, Any] | None = None
    """The record of the edits, as `erasure.json` holds it."""
    read_as: Mapping[str, Any] | None = None
    """Prediction, noise levels and number types, and who says so; none in older results."""
    guard: str | None = None
    """What kept a concept out of its drawings without a change of any weight, so that it cannot be
    exported; None where there was no guard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The model, and what it is held against."""

    after: ModelRecord
    before: ModelRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationProtocol:
    """All that makes the numbers comparable."""

    scheduler: str
    steps: int
    guidance: float | str
    """A number, or `per prompt`."""
    precision: str
    width: int | str
    """Pixels, or `per prompt`."""
    height: int | str
    batch_size: int
    """Says nothing about the pictures: each has its own seed."""
    seeds: str
    """Such as `0-4`, or `per prompt`."""
    judges: Mapping[str, Mapping[str, Any]]
    """Judge -> package, weights, thresholds, preprocessing."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRate:
    """How many of the pictures asked to show a label have it as the judge's first guess."""

    judge: str
    head: str
    label: str
    erased: bool
    after: Proportion
    before: Proportion | None = None
    difference: Difference | None = None
    rejected: Rejected | None = None
    """The share of the same pictures that the judge rejects; None where it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Pictures of one prompt in which a head sees what was asked for."""

    after: int
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRate:
    """One prompt over its seeds."""

    prompt: str
    total: int
    """Pictures that could be judged, of both models where there are two."""
    heads: Mapping[str, Hits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionCount:
    """What a preset counts over all pictures of one model."""

    detections: int
    images: int
    """Pictures with at least one."""
    share: float
    """Share of `images` in `total`, with its interval."""
    low: float
    high: float
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionPreset:
    """A way of counting that papers use."""

    name: str
    classes: tuple[str, ...]
    threshold: float
    unit: Literal["detections", "images"]
    """What the papers that use it quote."""
    source: str = ""
    """Whose count it is; empty in results of versions that did not say."""
    after: DetectionCount
    before: DetectionCount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionClass:
    """Detections of one class at a threshold."""

    label: str
    threshold: float
    after: int
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What one detector found."""

    presets: tuple[DetectionPreset, ...]
    classes: tuple[DetectionClass, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRate:
    """Share of pictures whose score reaches a threshold."""

    judge: str
    name: str
    threshold: float
    after: Proportion
    before: Proportion | None = None
    difference: Difference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord:
    """A figure over sets of pictures, such as FID."""

    name: str
    label: str
    """With the extractor, so that two kinds are never mixed up."""
    value: float
    """NaN where there were too few pictures."""
    low: float | None = None
    high: float | None = None
    unit: str = ""
    after_n: int
    before_n: int | None = None
    better: Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Pictures left out of every rate."""

    nan: int = 0
    black: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableImages:
    """The same for both models."""

    after: Unusable
    before: Unusable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """One picture of one model, and what the judges say of it."""

    file: str
    """Path from the folder of the evaluation, with `/`."""
    sha256: str
    state: Literal["ok", "nan", "black", "refused"] = "ok"
    """`refused`: a guard let nothing be drawn of the prompt, so that nothing is recognised."""
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    """Empty where the picture is unusable, or none was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One case of the suite, drawn by both from the same noise."""

    case: str
    prompt: str
    seed: int
    guidance: float
    width: int
    height: int
    labels: Mapping[str, str] = field(default_factory=dict)
    after: DrawnImage
    before: DrawnImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """An evaluation; everything but `seconds` is the same however often it was restarted."""

    suite: SuiteRecord
    erased: tuple[str, ...]
    """Labels of the suite that should not be recognised any more."""
    not_drawn: tuple[str, ...] = ()
    """What else the model says was erased from it, and the suite asks for in no prompt."""
    models: Models
    protocol: EvaluationProtocol
    summary: Summary
    classes: tuple[ClassRate, ...] = ()
    prompts: tuple[PromptRate, ...] = ()
    detections: Mapping[str, Detections] = field(default_factory=dict)
    """Detector -> its counts."""
    scores: tuple[ScoreRate, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()
    unusable: UnusableImages
    images: tuple[ImageRecord, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> wall time."""
