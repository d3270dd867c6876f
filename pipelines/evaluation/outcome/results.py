"""What an evaluation found: `results.json`, its values, written and read (see docs/results.md)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from erasure.storage.files import atomic
from erasure.storage.regular_files import require_regular
from erasure.storage.tables import read_record, to_table
from eval.errors import EvalError
from eval.judges.judge import Judgement
from eval.rates.intervals import Difference, Proportion
from eval.rates.unlearning_rates import Compared, UnlearningRates
from pipelines.evaluation.outcome.results_csv import write_classes, write_images

FORMAT: Final = "diffusion-erasure results 2"
_OLDER: Final = ("diffusion-erasure results 1",)
"""Read as well: their judges could not reject a picture, all else is the same."""
FILE_NAME: Final = "results.json"


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
    """`erasure.storage.hashing.weights_hash` of the UNet."""
    family: str
    concept: str | None = None
    """What the model itself says was erased from it, all of it, with commas."""
    concepts: tuple[str, ...] = ()
    """The same one by one, oldest first."""
    provenance: Mapping[str, Any] | None = None
    """As `erasure.json` holds it."""
    read_as: Mapping[str, Any] | None = None
    """Prediction, noise levels and number types, and who says so; none in older results."""


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
class Rejected:
    """Share of pictures in which a judge sees nothing that it knows: destroyed, not forgotten."""

    after: Proportion
    before: Proportion | None = None

    @classmethod
    def of(cls, rate: Compared | None) -> "Rejected | None":
        """None where the judge cannot reject, or no picture can be used."""
        if rate is None or rate.after is None:
            return None
        return cls(after=rate.after, before=rate.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures to quote, by name: `ua`, `ira`, `cra`, or `ua`, `ra`; none in some suites."""

    verdict: str
    """One sentence."""
    after: Mapping[str, Proportion] = field(default_factory=dict)
    before: Mapping[str, Proportion] | None = None
    difference: Mapping[str, Difference] | None = None
    """After - before over the same prompts and seeds."""
    rejected: Mapping[str, Rejected] | None = None
    """By rate, the share of its pictures; None where no judge can reject a picture."""

    @classmethod
    def of(cls, rates: UnlearningRates | None, verdict: str) -> "Summary":
        """Sum up the rates of a suite; `rates` is None for a suite without labels."""
        by_name = {} if rates is None else rates.rates
        before = {name: rate.before for name, rate in by_name.items() if rate.before}
        changes = {name: rate.difference for name, rate in by_name.items() if rate.difference}
        return cls(
            verdict=verdict,
            after={name: rate.after for name, rate in by_name.items() if rate.after},
            before=before or None,
            difference=changes or None,
            rejected=None if rates is None else _rejected(rates),
        )

    def to_dict(self) -> dict[str, Any]:
        """Shares first, their intervals and counts beside them."""
        return _shares(self.after) | {
            "before": None if self.before is None else _shares(self.before),
            "difference": to_table(self.difference),
            "rejected": to_table(self.rejected),
            "verdict": self.verdict,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Summary":
        """The inverse of `to_dict`."""
        before = values["before"]
        return cls(
            verdict=_read(str, values["verdict"], "verdict"),
            after=_proportions(values),
            before=None if before is None else _proportions(before),
            difference=_read(Mapping[str, Difference] | None, values["difference"], "difference"),
            rejected=_read(Mapping[str, Rejected] | None, values.get("rejected"), "rejected"),
        )


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
    """Pictures that could be judged."""
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
    """From the folder of the evaluation, with `/`."""
    sha256: str
    state: Literal["ok", "nan", "black"] = "ok"
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    """Empty where the picture is unusable."""


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


def write_results(results: Results, folder: Path) -> Path:
    """Write `images.csv`, `classes.csv`, then `results.json`, each whole or not at all.

    Returns:
        The path of `results.json`.

    Raises:
        DiskError: the disk refuses.
    """
    write_images(results.images, folder / "images.csv")
    write_classes(results.classes, folder / "classes.csv")
    path = folder / FILE_NAME
    with atomic(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as file:
        # Half a surrogate pair, which JSONL may bring in, becomes the escape that JSON reads back.
        file.writelines(_lines(results))
    return path


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Args:
        path: the file, or the folder it lies in.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    file = path / FILE_NAME if path.is_dir() else path
    require_regular(file, EvalError)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise EvalError(
            f"there is no {file}; give the folder that `erasure evaluate --out` wrote"
        ) from err
    except OSError as err:
        raise EvalError(f"{file} cannot be read ({err.strerror}); check its permissions") from err
    except (ValueError, RecursionError) as err:  # not UTF-8, not JSON, nested a thousand deep
        raise EvalError(f"{file} is damaged: it is not JSON ({err}); {_AGAIN}") from err
    format_name = values.get("format") if isinstance(values, dict) else None
    if format_name not in (FORMAT, *_OLDER):
        raise EvalError(
            f"{file} has format {format_name!r}, not {FORMAT!r}; read it with the version of "
            "diffusion-erasure that wrote it"
        )
    try:
        read: Results = _read(Results, values, "results")
    except EvalError as err:
        raise EvalError(f"{file} is damaged: {err}; {_AGAIN}") from err
    return read


_AGAIN: Final = "evaluate again into that folder, finished images are kept"


def _read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    return read_record(kind, value, where, EvalError)


def _lines(results: Results) -> Iterator[str]:
    """JSON with a row of a list on each line: quick to search, and two files can be compared."""
    yield f'{{\n"format": {_json(FORMAT)}'
    for f in fields(results):
        value = to_table(getattr(results, f.name))
        yield f',\n"{f.name}": '
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield "[\n" + ",\n".join(map(_json, value)) + "\n]"
        else:
            yield _json(value)
    yield "\n}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _rejected(rates: UnlearningRates) -> dict[str, Rejected] | None:
    rejected = {name: Rejected.of(rate) for name, rate in rates.rejected.items()}
    return {name: rate for name, rate in rejected.items() if rate is not None} or None


def _shares(rates: Mapping[str, Proportion]) -> dict[str, Any]:
    plain: dict[str, Any] = {name: to_table(rate.share) for name, rate in rates.items()}
    plain["intervals"] = {name: to_table((r.low, r.high)) for name, r in rates.items()}
    plain["counts"] = {name: [rate.count, rate.total] for name, rate in rates.items()}
    return plain


def _proportions(values: Mapping[str, Any]) -> dict[str, Proportion]:
    counts = _read(Mapping[str, tuple[int, int]], values["counts"], "counts")
    intervals = _read(Mapping[str, tuple[float, float]], values["intervals"], "intervals")
    shares = {name: _read(float, values[name], name) for name in counts}
    return {
        name: Proportion(count, total, shares[name], *intervals[name])
        for name, (count, total) in counts.items()
    }
