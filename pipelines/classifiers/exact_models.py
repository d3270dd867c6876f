"""Models that forget exactly: SISA, DP-SGD, certified heads, forests; a folder each.

Forgetting makes a new folder; the old one stays.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from erasure.checkpoints.checks.containment import inside
from erasure.classifiers.exact.exact import ExactModel
from erasure.classifiers.exact.exact_methods import EXACT
from erasure.classifiers.exact.points import Points
from erasure.errors import CheckpointError, ConfigError
from erasure.storage.disk import disk_errors
from erasure.storage.tables import build
from erasure.storage.whole_folder import whole_folder
from pipelines.classifiers.data.data import ClassifierData, batches, load_data
from pipelines.classifiers.data.forget_setting import ForgetSetting, refuse_seed_of_class
from pipelines.classifiers.exact_folder import (
    ExactRecord,
    load_folder,
    noise_of,
    open_exact,
    require_replaceable,
    save_folder,
)
from pipelines.classifiers.fixed_scale import stays, without_looking
from pipelines.classifiers.measuring import Measured, answers, measure, split_data
from pipelines.classifiers.networks.architectures import make_model
from pipelines.classifiers.run_settings import EvaluateRun, ForgetRun, TrainRun
from pipelines.process.progress import Reporter

SEEDED: Final = ("sisa", "forest", "extra-trees")
"""Methods that take the seed of the run; the noise of the others is secret unless `--set seed`."""


class Answering(nn.Module):
    """An exact model as a module whose logits are log-probabilities."""

    def __init__(self, model: ExactModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs as the data set has them -> (B, K), float64."""
        batch = inputs[0] if len(inputs) == 1 else inputs
        tiny = torch.finfo(torch.float64).tiny
        return self.model.predict_proba(batch).double().clamp(min=tiny).log()


def train_exact(
    run: TrainRun, method: str, settings: Mapping[str, Any], out: Path, *, force: bool
) -> dict[str, Any]:
    """Train a model that can forget exactly, and say how good it is."""
    data = load_data(run.data)
    kind = EXACT[method]
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    own: dict[str, Any] = {"recipe": asdict(run.training)} if "recipe" in names else {}
    own |= {"seed": run.seed} if method in SEEDED else {}
    maker = build(kind, own | dict(settings))
    facts = without_looking(data.facts) if "start" in maker.needs else None
    start = None if facts is None else make_model(run.model, facts, run.seed)
    require_replaceable(out, force=force)
    with disk_errors(out), whole_folder(out) as folder:
        begun = time.perf_counter()
        with Reporter().stage(f"train {method}", 1) as tick:
            model = maker.fit(
                _points(data),
                classes=len(data.facts.classes),
                start=start,
                folder=folder if start is not None else None,
                on_progress=lambda done, total: tick(0, f"{done} of {total}"),
            )
            tick()
        record = ExactRecord(
            method=method,
            data=run.data,
            model=run.model,
            fingerprint=data.fingerprint,
            seed=run.seed,
            seconds=time.perf_counter() - begun,
            facts=facts,
        )
        save_folder(folder, model, record)
        learned, unseen = (answers(Answering(model), part) for part in (data.train, data.test))
    return {
        "out": str(out),
        "method": method,
        "source": maker.source,
        "data": data.origin,
        "examples": len(data.train),
        "train accuracy": round(learned.accuracy, 2),
        "test accuracy": round(unseen.accuracy, 2),
        "seconds": round(record.seconds, 2),
        **_noise(model),
    }


def forget_exact(run: ForgetRun, out: Path, *, audit: bool, force: bool) -> dict[str, Any]:
    """Delete a forget set, and say what it cost and what may be said of it now."""
    folder = Path(run.model)
    one, other = out.resolve(), folder.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ConfigError(
            f"--out is {out}, and the model is {folder}, so one lies in the other; give another "
            "folder"
        )
    for path in folder.rglob("*"):  # all of it is copied, so no link may lead elsewhere
        if inside(path, folder).is_dir() and path.is_symlink():
            raise CheckpointError(f"{path} is a link to a folder; put the folder in its place")
    model, record, data = open_exact(folder, run.data_path, allow_code=run.allow_code)
    setting = ForgetSetting.parse(run.forget)
    split = split_data(data, setting, run.forget_seed)
    gone = split.forget[torch.isin(split.forget, model.ids)]
    needs_start = "start" in EXACT[record.method].needs
    points = _points(data)
    require_replaceable(out, force=force)
    with disk_errors(out), whole_folder(out) as part:
        # A method that keeps checkpoints changes them in place.
        shutil.copytree(folder, part, dirs_exist_ok=True)
        model = load_folder(part, record, data)
        begun = time.perf_counter()
        with Reporter().stage(f"forget {setting} by {record.method}", 1) as tick:
            made = model.forget(
                points, gone.tolist(), lambda done, total: tick(0, f"{done}/{total}")
            )
            tick()
        seconds = time.perf_counter() - begun
        changed = replace(record, forget=str(setting), forget_seed=run.forget_seed, seconds=seconds)
        save_folder(part, made.model, changed)
        result = {
            "out": str(out),
            "method": record.method,
            "forgotten": made.forgotten,
            "cost": str(made.cost),
            "saved": round(made.cost.saved, 4),
            "statement": made.statement + (stays(data.facts.kind) if needs_start else ""),
            **made.details,
            **_noise(made.model),
            "seconds": round(seconds, 3),
        }
        if audit:
            with Reporter().stage("audit", 1):
                report = made.model.audit(points)
            result |= {"audit": str(report), "audit passed": report.passed}
    return result


def evaluate_exact(run: EvaluateRun) -> tuple[Measured, dict[str, Any]]:
    """Scores of a folder's model, and what they are of."""
    folder = Path(run.model)
    model, record, data = open_exact(folder, run.data_path, allow_code=run.allow_code)
    text = run.forget or record.forget or "10%"
    if run.forget_seed is not None:
        refuse_seed_of_class(text)
    seed = record.forget_seed if run.forget_seed is None else run.forget_seed
    split = split_data(data, ForgetSetting.parse(text), seed)
    # What left before is no member any more.
    split = replace(split, retain=split.retain[torch.isin(split.retain, model.ids)])
    exact = run.exact_attack
    measured = measure(
        Answering(model), data, split, seconds=record.seconds, signals=True, exact=exact
    )
    return measured, {"model": str(folder), "method": record.method, "forget": text}


def _noise(model: ExactModel) -> dict[str, str]:
    words = noise_of(model)
    return {"noise": words} if words else {}


def _points(data: ClassifierData) -> Points:
    return Points.of(batches(data.train))
