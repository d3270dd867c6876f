"""`erasure classify evaluate`: score a classifier, alone or beside the retrained one."""

from pathlib import Path
from typing import Any

import torch

from erasure.errors import ConfigError
from eval.rates.unlearning_metrics import average_gap
from pipelines.classifiers.data.data import ClassifierData
from pipelines.classifiers.data.forget_setting import ForgetSetting, refuse_seed_of_class
from pipelines.classifiers.exact_folder import is_exact
from pipelines.classifiers.exact_models import evaluate_exact
from pipelines.classifiers.measuring import Measured, Split, measure, split_data
from pipelines.classifiers.model_file import LoadedClassifier, load_classifier
from pipelines.classifiers.run_settings import EvaluateRun
from pipelines.classifiers.runs import data_of
from pipelines.classifiers.shadow import require_enough, shadow_attack
from pipelines.process.progress import Reporter
from pipelines.run.models import pick_device


def evaluate_run(run: EvaluateRun) -> dict[str, Any]:
    """The four scores, the other attacks, and the gap where there is a retrained model."""
    if run.shadows:
        require_enough(run.shadows)
    if is_exact(Path(run.model)):
        if run.retrained or run.shadows:
            raise ConfigError(
                f"{run.model} forgets by a method of its own, whose claim `unlearn --audit` "
                "checks; leave --retrained and --shadows out"
            )
        if run.device != "auto":
            raise ConfigError(
                f"--device is {run.device} and would not be read, as {run.model} is scored on the "
                "CPU; leave it out"
            )
        measured, about = evaluate_exact(run)
        return about | shown(measured)
    loaded, device = (
        load_classifier(Path(run.model), allow_code=run.allow_code),
        pick_device(run.device),
    )
    data = data_of(loaded.record.data, loaded.record.fingerprint, run.data_path)
    forget = run.forget or loaded.record.forget or "10%"
    if run.forget_seed is not None:
        refuse_seed_of_class(forget)
    seed = loaded.record.forget_seed if run.forget_seed is None else run.forget_seed
    setting = ForgetSetting.parse(forget)
    split = split_data(data, setting, seed)
    scored = _score(loaded, data, split, device, exact=run.exact_attack)
    result: dict[str, Any] = {
        "model": run.model,
        "method": loaded.record.method or "none",
        "forget": forget,
    }
    result |= shown(scored)
    if run.retrained is not None:
        target = load_classifier(Path(run.retrained), allow_code=run.allow_code)
        _require_twin(target, loaded, setting, seed)
        other = _score(target, data, split, device, exact=run.exact_attack)
        four = shown(other)
        result["retrained"] = {name: four[name] for name in ("UA", "RA", "TA", "MIA")}
        result["Avg Gap"] = round(average_gap(scored.scores, other.scores), 4)
    if run.shadows:
        result["likelihood ratio"] = shadow_attack(
            loaded, data, split, run.shadows, device=device, reporter=Reporter()
        )
    return result


def _score(
    loaded: LoadedClassifier,
    data: ClassifierData,
    split: Split,
    device: torch.device,
    *,
    exact: bool,
) -> Measured:
    return measure(
        loaded.model.to(device),
        data,
        split,
        seconds=loaded.record.seconds,
        signals=True,
        exact=exact,
    )


def shown(measured: Measured) -> dict[str, Any]:
    """Scores under the names that tables use, in per cent; times in seconds."""
    scores = measured.scores
    four = {"UA": scores.ua, "RA": scores.ra, "TA": scores.ta, "MIA": scores.mia}
    return {
        **{name: round(value, 4) for name, value in four.items()},
        **{f"MIA by {name}": round(value, 4) for name, value in measured.others.items()},
        "RTE": round(scores.seconds, 3),
        "attack seconds": round(measured.attack_seconds, 3),
    }


def _require_twin(
    target: LoadedClassifier, model: LoadedClassifier, forget: ForgetSetting, seed: int
) -> None:
    """Raises ConfigError unless `target` was retrained without the same examples, as the model was
    trained."""
    made = target.record
    wanted = f"retrain, {forget}" + (f" and {seed}" if forget.label is None else "")
    if made.method != "retrain":
        raise ConfigError(
            f"the retrained model is of method {made.method or 'none'}, forget set "
            f"{made.forget or 'none'} and seed {made.forget_seed}; give one of {wanted}"
        )
    if made.fingerprint != model.record.fingerprint:
        raise ConfigError("the two models were trained on different data; compare like with like")
    classes = model.record.facts.classes
    other = ForgetSetting.parse(made.forget).decided_by(classes, made.forget_seed)
    if other != forget.decided_by(classes, seed):
        raise ConfigError(
            f"the retrained model is of the forget set {made.forget} and seed {made.forget_seed}; "
            f"give one of {wanted}"
        )
    if (made.model, made.training) != (model.record.model, model.record.training):
        raise ConfigError(
            "the two models are of another network or training, so their gap would be that of both "
            "too; give the model that `unlearn --method retrain` makes of the same original"
        )
