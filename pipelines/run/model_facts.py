"""What a model was read as: family, prediction, noise levels, number types, and who says so."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.facts.statements import SHORT
from pipelines.process.one_voice import is_first
from pipelines.words.terminal import printable

_PREDICTIONS: Final[Mapping[str, str]] = {str(kind): word for kind, word in SHORT.items()}
_TYPES: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The facts as a record keeps them: plain JSON values."""
    scheduler, kind = checkpoint.description.scheduler, checkpoint.kind
    prediction = checkpoint.description.prediction_type
    return {
        "family": checkpoint.architecture.title,
        "prediction": _PREDICTIONS.get(prediction, prediction),
        "prediction_from": kind.prediction_from,
        "noise": checkpoint.architecture.describe_noise(scheduler),
        "noise_from": kind.levels_from,
        "types": _types(checkpoint),
        "notes": list(checkpoint.public_notes),
    }


def tell_model(checkpoint: Checkpoint, role: str = "model") -> dict[str, Any]:
    """Say on stderr, in a line, what a model was read as; the first of several processes does.

    Returns:
        `facts_of` the model.
    """
    facts = facts_of(checkpoint)
    types = ", ".join(f"{part} {kind}" for part, kind in facts["types"].items())
    prediction_from, noise_from = _from(facts["prediction_from"]), _from(facts["noise_from"])
    if prediction_from == noise_from:
        prediction_from = ""  # said once, behind both
    parts = (
        facts["family"],
        f"predicts {facts['prediction']}{prediction_from}",
        f"noise {facts['noise']}{noise_from}",
        types,
    )
    notice([f"{role}: {'; '.join(parts)}"])
    return facts


def notice(lines: list[str]) -> None:
    """Lines on stderr, from the first of several processes."""
    if is_first():
        for line in lines:
            print(printable(line), file=sys.stderr)


def _types(checkpoint: Checkpoint) -> dict[str, str]:
    """Component -> the types of its weights."""
    types = {}
    for part, weights in checkpoint.components.items():
        names = dict.fromkeys(str(w.dtype).removeprefix("torch.") for w in weights.values())
        types[part] = " and ".join(_TYPES.get(name, name) for name in names)
    return types


def _from(place: str) -> str:
    return f" (from {place})" if place else ""
