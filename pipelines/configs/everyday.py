"""The everyday options: which field of a recipe each sets. All else is given by `--set`."""

from collections.abc import Mapping
from typing import Final

Options = Mapping[str, str | tuple[str, ...]]
"""Parameter of a command -> dotted name of the field, or of all fields, that it sets."""

ERASE_RECIPE: Final = "pipelines.configs.settings:EraseRecipe"
AUDIT_RECIPE: Final = "pipelines.audit.settings:AuditRecipe"
DISTANCE_RECIPE: Final = "pipelines.distances.settings:DistanceRecipe"
TRAIN_RUN: Final = "pipelines.classifiers.run_settings:TrainRun"
BENCH_RECIPE: Final = "pipelines.bench.settings:BenchRecipe"
REPRODUCE_RECIPE: Final = "pipelines.reproducing.settings:ReproduceRecipe"
EVALUATE_RECIPE: Final = "pipelines.evaluation.settings:EvaluateRecipe"

READING: Final[Options] = {name: name for name in ("config", "vae", "prediction", "allow_pickle")}
"""How a model is read; the names are those of `pipelines.run.models.open_model`."""
_MODEL: Final[Options] = {"device": "device", **READING}
_SALIENCY: Final[Options] = {
    "saliency_loss": "saliency.loss",
    "draws": "saliency.draws",
    "saliency_batch": "saliency.batch_size",
    "saliency_offload": "saliency.offload",
}
ERASE: Final[Options] = {
    "model": "model",
    "concept": "concepts",
    "instead": "instead",
    "origin": "origin",
    "mask": "mask",
    "density": "density",
    "scope": "scope",
    **_SALIENCY,
    "as_": "moves",
    "rank": "low_rank.rank",
    "lora_alpha": "low_rank.alpha",
    "lora_mask": "low_rank.masked",
    "lora": "loras",
    "alpha": "method.alpha",
    "target": "method.target",
    "kept": "method.kept",
    "bound": "method.bound",
    "harden": "method.harden",
    "steps": "method.steps",
    "batch_size": "method.batch_size",
    "micro_batch": "method.micro_batch",
    "lr": "method.learning_rate",
    "decay": "method.decay",
    "optimizer": "method.optimizer",
    "weight_decay": "method.weight_decay",
    "moments": "method.moments",
    "precision": "method.precision",
    "checkpointing": "checkpointing",
    "stream": ("stream", "saliency.stream", "data.drawing.stream", "grid.drawing.stream"),
    "forget_drawn": "data.forget.drawn",
    "forget_folder": "data.forget.folder",
    "forget_dataset": "data.forget.dataset",
    "forget_prompt": "data.forget.prompt",
    "retain_drawn": "data.retain.drawn",
    "retain_folder": "data.retain.folder",
    "retain_dataset": "data.retain.dataset",
    "retain_prompt": "data.retain.prompt",
    "drawing_batch": ("data.drawing.batch_size", "grid.drawing.batch_size"),
    "judge": "judge",
    "labels": "labels",
    "until_unseen": "until_unseen",
    "seeds": "grid.seeds",
    "seed": "seed",
    **_MODEL,
    "cache": "cache",
}
MASK: Final[Options] = {
    "concept": "concepts",
    "density": "density",
    "scope": "scope",
    "kind": "mask",
    **_SALIENCY,
    "drawing_batch": "data.drawing.batch_size",
    "stream": ("saliency.stream", "data.drawing.stream"),
    "forget_drawn": "data.forget.drawn",
    "seed": ("seed", "saliency.seed"),
    **_MODEL,
    "cache": "cache",
}
EVALUATE: Final[Options] = {
    **{name: name for name in ("model", "against", "suite", "prompts", "erased")},
    **{name: name for name in ("limit", "seeds", "samples")},
    "category": "categories",
    "min_nudity": "min_nudity",
    "judge": "judges",
    "labels": "labels",
    "metric": "metrics",
    **{name: name for name in ("features", "clip", "perceptual", "reference")},
    **{name: name for name in ("scheduler", "steps", "guidance", "precision", "size")},
    **{name: name for name in ("batch_size", "stream", "guard", "guard_text")},
    **_MODEL,
}
AUDIT: Final[Options] = {
    **{name: name for name in ("model", "concept", "against", "retrained", "kept")},
    **{name: name for name in ("attacks", "budget", "passes", "cases", "confirm", "damage")},
    "published": "published",
    "set": "settings",
    **{name: name for name in ("pictures", "wordings", "judge", "labels", "seed")},
    **{name: name for name in ("steps", "guidance", "size", "batch_size", "guard", "guard_text")},
    **_MODEL,
}
DISTANCE: Final[Options] = {
    **{name: name for name in ("model", "concept", "retrained", "twin", "base", "audit")},
    **{name: name for name in ("pictures", "trained", "draws", "shown", "bins", "samples")},
    **{name: name for name in ("judge", "labels", "seed")},
    **{name: name for name in ("steps", "guidance", "size", "batch_size", "stream")},
    **_MODEL,
}
BENCH: Final[Options] = {
    **{name: name for name in ("model", "concepts", "only", "masks", "seeds", "limit")},
    **{name: name for name in ("neighbours", "add", "retrained", "twin", "audit")},
    **{name: name for name in ("tune", "tune_seeds", "tune_on")},
    **{name: name for name in ("suite", "prompts")},
    "judge": "judges",
    **{name: name for name in ("labels", "steps", "guidance", "size")},
    **_MODEL,
    "cache": "cache",
}
REPRODUCE: Final[Options] = {
    **{name: name for name in ("only", "limit", "data", "prompts")},
    "judge": "judges",
    **{name: name for name in ("samples", "seed", "batch_size", "micro_batch", "cache")},
    **_MODEL,
    "drop_models": "drop_models",
}


def paths_of(options: Options, name: str) -> tuple[str, ...]:
    """The dotted names of all fields that an option sets."""
    path = options[name]
    return (path,) if isinstance(path, str) else path


def flag_of(name: str) -> str:
    """The flag of an option's parameter; one whose word Python has for itself ends with `_`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def flags(options: Options) -> dict[str, str]:
    """Dotted name of a field -> the flag that sets it."""
    return {path: flag_of(name) for name in options for path in paths_of(options, name)}
