"""An evaluation in a model card: the `model-index` that the hub reads.

Source: the hub's metadata for evaluation results, through `huggingface_hub`'s `EvalResult`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped]
from huggingface_hub import EvalResult, ModelCard

from erasure.storage.files import atomic
from eval.errors import EvalError
from eval.judges.judge import knows_nothing
from eval.rates.several_kinds import OF_KIND
from pipelines.evaluation.outcome.results import Results
from pipelines.run.run_folder import MASK, MODEL

_NAMES: Final = {
    "ua": "Unlearning accuracy",
    "ira": "In-domain retain accuracy",
    "cra": "Cross-domain retain accuracy",
    "ra": "Retain accuracy",
}


def eval_results(results: Results) -> list[EvalResult]:
    """Every figure of an evaluation as the hub's metadata has it."""
    return [
        EvalResult(
            task_type="text-to-image",
            task_name="Concept erasure" if results.erased else "Text to image",
            dataset_type=results.suite.name,
            dataset_name=f"{results.suite.name}, {results.suite.cases} pictures",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 6),
            metric_args=extra or None,
        )
        for kind, name, value, extra in _figures(results)
    ]


def write_card(results: Results, folder: Path) -> Path | None:
    """Put the evaluation into `folder/README.md`; all else in the card stays.

    Results of the same suite that an earlier evaluation wrote are replaced.

    Returns:
        The card; None where the folder has none.

    Raises:
        EvalError: the card's metadata cannot be read.
        DiskError: the disk refuses.
    """
    path = folder / "README.md"
    if not path.is_file():
        return None
    try:
        card = ModelCard.load(path)
    except (ValueError, OSError, RecursionError, yaml.YAMLError) as err:
        reason = " ".join(str(err).split())[:160]
        raise EvalError(f"the card {path} cannot be read ({reason}); mend its metadata") from err
    others = [r for r in card.data.eval_results or () if r.dataset_type != results.suite.name]
    rows = [*others, *eval_results(results)]
    name = card.data.model_name or _name(path.resolve().parent)
    card.data.model_name, card.data.eval_results = name, rows
    with atomic(path) as part:
        part.write_text(str(card), encoding="utf-8")
    return path


def _name(folder: Path) -> str:
    """The name of a model's folder; within a run that of the run, as its model is `model`."""
    run = folder.parent
    return run.name if folder.name == MODEL and (run / MASK).is_file() else folder.name


def _name_of(key: str) -> str:
    """What a rate is called; that of one of several erased kinds with its kind."""
    if key.startswith(OF_KIND):
        return f"{_NAMES['ua']}, {key.removeprefix(OF_KIND)}"
    return _NAMES.get(key, key.upper())


def _figures(results: Results) -> Iterator[tuple[str, str, float, dict[str, object]]]:
    for key, rate in results.summary.after.items():
        words = ", ".join(results.erased)
        name = f"{_name_of(key)}{f' ({words})' if words else ''}"
        interval = [round(rate.low, 6), round(rate.high, 6)]
        yield key, name, rate.share, {"interval": interval, "pictures": rate.total}
    for key, refused in (results.summary.rejected or {}).items():
        name = f"{_name_of(key)}: pictures that {knows_nothing(2)}"
        yield f"{key}_rejected", name, refused.after.share, {"pictures": refused.after.total}
    for judge, detection in results.detections.items():
        for preset in detection.presets:
            value = preset.after.share if preset.unit == "images" else preset.after.detections
            name = f"{judge}, {preset.name} at {preset.threshold:g} ({preset.unit})"
            yield "detections", name, float(value), {"pictures": preset.after.total}
    for row in results.scores:
        name = f"{row.judge} {row.name} from {row.threshold:g} up (share)"
        yield row.name, name, row.after.share, {"pictures": row.after.total}
    for metric in results.metrics:
        yield metric.name, metric.label, metric.value, {"pictures": metric.after_n}
