"""The everyday options: which field of a recipe each sets. All else is given by `--set`."""

from collections.abc import Mapping
from typing import Final

from pipelines.configs import option_groups as group

_Fields = Mapping[str, str | tuple[str, ...]]
"""Parameter of a command -> dotted name of the field, or of all fields, that it sets."""
Options = Mapping[str, _Fields]
"""Title of a group of a command's help -> the parameters in it."""

ERASE_RECIPE: Final = "pipelines.configs.settings:EraseRecipe"
AUDIT_RECIPE: Final = "pipelines.audit.settings:AuditRecipe"
DISTANCE_RECIPE: Final = "pipelines.distances.settings:DistanceRecipe"
TRAIN_RUN: Final = "pipelines.classifiers.run_settings:TrainRun"
BENCH_RECIPE: Final = "pipelines.bench.settings:BenchRecipe"
REPRODUCE_RECIPE: Final = "pipelines.reproducing.settings:ReproduceRecipe"
EVALUATE_RECIPE: Final = "pipelines.evaluation.settings:EvaluateRecipe"

_READING: Final[_Fields] = {
    **{name: name for name in ("config", "vae")},
    "text_encoder": "text_encoders",
    **{name: name for name in ("prediction", "allow_pickle")},
}
READING: Final[Options] = {group.READING: _READING}
"""How a model is read; the fields are those of `pipelines.run.models.open_model`."""
MERGING: Final[Options] = {group.READING: {**_READING, "lora": "loras"}}
"""The same, with LoRA files that are merged into the model that is read."""
_DEVICE: Final[_Fields] = {"device": "device"}
_CACHE: Final[_Fields] = {"cache": "cache"}
_SALIENCY: Final[_Fields] = {"saliency_loss": "saliency.loss", "draws": "saliency.draws"}
_SALIENCY_MEMORY: Final[_Fields] = {
    "saliency_batch": "saliency.batch_size",
    "saliency_offload": "saliency.offload",
}
_JUDGES: Final[_Fields] = {"judge": "judges", "labels": "labels"}
_GUARD: Final[_Fields] = {"guard": "guard", "guard_text": "guard_text"}
ERASE: Final[Options] = {
    group.SUBJECT: {"model": "model", "concept": "concepts", "instead": "instead"},
    group.WEIGHTS: {
        "mask": "mask",
        "density": "density",
        "scope": "scope",
        **_SALIENCY,
        "as_": "moves",
        "rank": "low_rank.rank",
        "lora_alpha": "low_rank.alpha",
        "lora_mask": "low_rank.masked",
    },
    group.TRAINING: {
        "alpha": "method.alpha",
        "target": "method.target",
        "kept": "method.kept",
        "bound": "method.bound",
        "harden": "method.harden",
        "steps": "method.steps",
        "batch_size": "method.batch_size",
        "lr": "method.learning_rate",
        "decay": "method.decay",
        "optimizer": "method.optimizer",
        "weight_decay": "method.weight_decay",
        "origin": "origin",
        "seed": "seed",
    },
    group.EXAMPLES: {
        "forget_drawn": "data.forget.drawn",
        "forget_folder": "data.forget.folder",
        "forget_dataset": "data.forget.dataset",
        "forget_prompt": "data.forget.prompt",
        "retain_drawn": "data.retain.drawn",
        "retain_folder": "data.retain.folder",
        "retain_dataset": "data.retain.dataset",
        "retain_prompt": "data.retain.prompt",
    },
    group.PICTURES: {"seeds": "grid.seeds"},
    group.JUDGING: {"judge": "judge", "labels": "labels", "until_unseen": "until_unseen"},
    **MERGING,
    group.MACHINE: {
        **_DEVICE,
        "micro_batch": "method.micro_batch",
        "precision": "method.precision",
        "moments": "method.moments",
        "checkpointing": "checkpointing",
        "stream": ("stream", "saliency.stream", "data.drawing.stream", "grid.drawing.stream"),
        **_SALIENCY_MEMORY,
        "drawing_batch": ("data.drawing.batch_size", "grid.drawing.batch_size"),
    },
    group.RUN: _CACHE,
}
MASK: Final[Options] = {
    group.SUBJECT: {"concept": "concepts"},
    group.WEIGHTS: {
        **{"density": "density", "scope": "scope", "kind": "mask"},
        **_SALIENCY,
        "seed": ("seed", "saliency.seed"),
    },
    group.EXAMPLES: {"forget_drawn": "data.forget.drawn"},
    **MERGING,
    group.MACHINE: {
        **_DEVICE,
        **_SALIENCY_MEMORY,
        "stream": ("saliency.stream", "data.drawing.stream"),
        "drawing_batch": "data.drawing.batch_size",
    },
    group.RUN: _CACHE,
}
EVALUATE: Final[Options] = {
    group.MEASURED: {
        **{name: name for name in ("model", "against", "suite", "prompts", "erased")},
        **{name: name for name in ("limit", "seeds", "samples")},
        "category": "categories",
        "min_nudity": "min_nudity",
    },
    group.PICTURES: {
        **{name: name for name in ("scheduler", "steps", "guidance", "size")},
        **_GUARD,
    },
    group.JUDGING: {
        **_JUDGES,
        "metric": "metrics",
        **{name: name for name in ("features", "clip", "perceptual", "reference")},
    },
    **READING,
    group.MACHINE: {
        **_DEVICE,
        **{name: name for name in ("precision", "batch_size", "stream")},
    },
}
AUDIT: Final[Options] = {
    group.MEASURED: {name: name for name in ("model", "concept", "against", "retrained", "kept")},
    group.ATTACKS: {
        **{name: name for name in ("attacks", "budget", "passes", "cases", "confirm", "damage")},
        "published": "published",
        "set": "settings",
        "wordings": "wordings",
        "seed": "seed",
    },
    group.PICTURES: {
        **{name: name for name in ("pictures", "trained", "steps", "guidance", "size")},
        **_GUARD,
    },
    group.JUDGING: {"judge": "judge", "labels": "labels"},
    **READING,
    group.MACHINE: {**_DEVICE, "batch_size": "batch_size", "stream": "stream"},
}
DISTANCE: Final[Options] = {
    group.MEASURED: {
        **{name: name for name in ("model", "concept", "retrained", "twin", "base", "audit")},
        **{name: name for name in ("trained", "draws", "shown", "bins", "samples", "seed")},
    },
    group.PICTURES: {name: name for name in ("pictures", "steps", "guidance", "size")},
    group.JUDGING: {"judge": "judge", "labels": "labels"},
    **READING,
    group.MACHINE: {**_DEVICE, "batch_size": "batch_size", "stream": "stream"},
    group.RUN: _CACHE,
}
BENCH: Final[Options] = {
    group.MEASURED: {
        **{
            name: name
            for name in ("model", "concepts", "only", "masks", "densities", "seeds", "limit")
        },
        **{name: name for name in ("neighbours", "add", "retrained", "twin", "audit")},
        **{name: name for name in ("suite", "prompts")},
    },
    group.TRAINING: {name: name for name in ("tune", "tune_rates", "tune_seeds", "tune_on")},
    group.PICTURES: {name: name for name in ("steps", "guidance", "size")},
    group.JUDGING: _JUDGES,
    **READING,
    group.MACHINE: _DEVICE,
    group.RUN: _CACHE,
}
REPRODUCE: Final[Options] = {
    group.MEASURED: {name: name for name in ("only", "limit", "data", "prompts")},
    group.PICTURES: {"samples": "samples", "seed": "seed"},
    group.JUDGING: {"judge": "judges"},
    **READING,
    group.MACHINE: {**_DEVICE, "batch_size": "batch_size", "micro_batch": "micro_batch"},
    group.RUN: {**_CACHE, "drop_models": "drop_models"},
}


def fields_of(options: Options) -> dict[str, tuple[str, ...]]:
    """Parameter of a command -> the dotted names of all fields that it sets."""
    return {
        name: (path,) if isinstance(path, str) else path
        for members in options.values()
        for name, path in members.items()
    }


def group_of(options: Options, name: str) -> str:
    """The title of the group that an option stands in."""
    return next(title for title, members in options.items() if name in members)


def flag_of(name: str) -> str:
    """The flag of an option's parameter; one whose word Python has for itself ends with `_`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def flags(options: Options) -> dict[str, str]:
    """Dotted name of a field -> the flag that sets it."""
    return {path: flag_of(name) for name, paths in fields_of(options).items() for path in paths}
