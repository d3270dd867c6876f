"""What `erasure classify train` and `unlearn` do, once their options are read."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from erasure.errors import CheckpointError, ConfigError
from pipelines.classifiers.data.data import ClassifierData, DataConfig, load_data
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.measuring import answers, split_data
from pipelines.classifiers.model_file import load_classifier, save_classifier
from pipelines.classifiers.run_settings import ForgetRun, TrainRun, preset_of
from pipelines.classifiers.training import forget_data, steps_of_training, train_original
from pipelines.process.progress import Reporter
from pipelines.run.models import pick_device


def train_run(run: TrainRun, out: Path) -> dict[str, Any]:
    """Train, write, and say how good it is."""
    data, device = load_data(run.data), pick_device(run.device)
    total = steps_of_training(run.training, len(data.train))
    with Reporter().stage("train", total) as tick:
        model, record = train_original(
            data,
            run.model,
            run.training,
            seed=run.seed,
            device=device,
            on_step=lambda step: tick(note=f"loss {step.loss:.3f}"),
        )
    written = save_classifier(out, model, record)
    return {
        "out": str(out),
        "data": data.origin,
        "examples": len(data.train),
        "weights": sum(p.numel() for p in model.parameters()),
        "train accuracy": round(answers(model, data.train).accuracy, 2),
        "test accuracy": round(answers(model, data.test).accuracy, 2),
        "seconds": round(record.seconds, 1),
        "hash": written,
    }


def forget_run(run: ForgetRun, out: Path) -> dict[str, Any]:
    """Forget, write, and say what moved."""
    loaded = load_classifier(Path(run.model), allow_code=run.allow_code)
    if loaded.record.method:
        raise CheckpointError(
            f"{run.model} has forgotten {loaded.record.forget} by {loaded.record.method} already; "
            "give the original it was made from"
        )
    preset = preset_of(run)
    data = data_of(loaded.record.data, loaded.record.fingerprint, run.data_path)
    setting = ForgetSetting.parse(run.forget)
    split = split_data(data, setting, run.forget_seed)
    model = loaded.model.to(pick_device(run.device))
    with Reporter().stage(f"forget {setting} by {preset.name}", 1) as tick:
        made, record = forget_data(
            model,
            loaded.record,
            data,
            split,
            preset.make(),
            seed=run.seed,
            mask=preset.mask,
            density=preset.density,
            on_step=lambda step: tick(0, f"step {step.index}, loss {step.loss:.3f}"),
        )
        tick()
    record = replace(record, forget=str(setting), forget_seed=run.forget_seed)
    written = save_classifier(out, made.model, record)
    return {
        "out": str(out),
        "method": preset.method,
        "source": made.method.source,
        "settings": json.loads(record.settings),
        "forgotten": len(split.forget),
        "retained": len(split.retain),
        "moved": made.moved,
        "unselected identical": made.unselected_identical,
        "steps": len(made.steps),
        "seconds": round(made.seconds, 2),
        "base": record.base,
        "hash": written,
    }


def data_of(config: DataConfig, fingerprint: str, path: str | None) -> ClassifierData:
    """The data a model was trained on, read again and held against its record.

    Raises:
        ConfigError: they are others, or not there.
    """
    if path is None and config.path is not None and not os.path.exists(config.path):
        raise ConfigError(
            f"the model was trained on {config.name} data in a place called {config.path!r}, and "
            "its file does not say where that lies; give the place with --data-path"
        )
    data = load_data(config if path is None else replace(config, path=path))
    if data.fingerprint != fingerprint:
        raise ConfigError(
            f"the {config.name} data here are not those the model was trained on; give them with "
            "--data-path, or train again"
        )
    return data
