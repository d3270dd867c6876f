"""A run that breaks anywhere and is continued ends with the bytes of an unbroken one."""

import time
from pathlib import Path
from typing import Any

import pytest
from support.tiny_classifiers import CASES, RECIPE, Case, same_bytes

from erasure.classifiers import (
    METHODS,
    Batches,
    Step,
    Unlearned,
    classifier_saliency,
    make_method,
    train_classifier,
    unlearn,
)
from erasure.classifiers.descent import Descent
from erasure.errors import TrainingError
from erasure.masks.masks import salient_mask

EPOCHS = 3
DESCENTS = [name for name, kind in METHODS.items() if issubclass(kind, Descent)]
SETTINGS: dict[str, dict[str, Any]] = {
    "bs": {"image": False, "lr": 0.01},
    "be": {"lr": 0.01},
    "scrub": {"ascents": 2},
    "salun-soft": {"share": 0.5},
}


class Broken(Exception):
    """The machine stops."""


def started(
    case: Case,
    name: str,
    state: Path | None = None,
    stop: int = 0,
    **more: Any,  # noqa: ANN401
) -> Unlearned:
    """A run that breaks after `stop` steps, if that is not 0."""

    def note(step: Step) -> None:
        if step.index == stop:
            raise Broken

    settings = {"epochs": EPOCHS} | SETTINGS.get(name, {}) | more.pop("settings", {})
    return unlearn(
        case.model(),
        case.forget,
        case.retain,
        make_method(name, **({} if name == "retrain" else settings)),
        training=RECIPE,
        state=state,
        on_step=note,
        **more,
    )


@pytest.mark.crossed
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "free"])
@pytest.mark.parametrize("name", [*DESCENTS, "retrain"])
def test_a_continued_run_ends_with_the_bytes_of_an_unbroken_one(
    name: str, masked: bool, tmp_path: Path
) -> None:
    case = CASES["cnn" if name != "ft" else "transformer"]  # dropout draws from torch's stream
    more: dict[str, Any] = {}
    if masked and name != "retrain":
        more["mask"] = salient_mask(classifier_saliency(case.model(), case.forget), 0.5)
    unbroken = started(case, name, **more)
    total = len(unbroken.steps)
    state = tmp_path / "state"
    for stop in (2, total // 2 + 1, total - 1):
        with pytest.raises(Broken):
            started(case, name, state, stop, **more)
    result = started(case, name, state, **more)
    assert same_bytes(result.model, unbroken.model)
    assert result.steps == unbroken.steps
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.crossed
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_moments_and_rates_are_continued_too(optimizer: str, schedule: str, tmp_path: Path) -> None:
    case = CASES["text"]
    settings = {"optimizer": optimizer, "schedule": schedule, "weight_decay": 0.1}
    unbroken = started(case, "rl", settings=settings)
    with pytest.raises(Broken):
        started(case, "rl", tmp_path / "state", len(unbroken.steps) - 1, settings=settings)
    result = started(case, "rl", tmp_path / "state", settings=settings)
    assert same_bytes(result.model, unbroken.model)
    assert result.steps == unbroken.steps


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    case, state = CASES["mlp"], tmp_path / "state"
    first = started(case, "salun", state)
    written = state.stat().st_mtime_ns
    again = started(case, "salun", state)
    assert same_bytes(first.model, again.model)
    assert first.steps == again.steps
    assert state.stat().st_mtime_ns == written


def test_the_time_of_a_continued_run_is_that_of_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, state, now, there = CASES["mlp"], tmp_path / "state", [0.0], [0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def part(stop: int) -> Unlearned:
        def work(step: Step) -> None:
            now[0] += 10.0 * (step.index > there[0])  # Steps that the file holds take no time.
            if step.index == stop:
                raise Broken

        method = make_method("ft", epochs=EPOCHS)
        return unlearn(case.model(), case.forget, case.retain, method, state=state, on_step=work)

    each = len(started(case, "ft").steps) // EPOCHS
    with pytest.raises(Broken):
        part(each + 1)
    now[0] += 1000.0  # The machine stood still.
    there[0] = each
    assert part(0).seconds == pytest.approx(10.0 * EPOCHS * each)
    there[0] = EPOCHS * each
    assert part(0).seconds == pytest.approx(10.0 * EPOCHS * each)


def test_training_is_continued_too(tmp_path: Path) -> None:
    case, data = CASES["cnn"], Batches.of(CASES["cnn"].retain)
    unbroken, broken, again = case.model(), case.model(), case.model()
    steps = list(train_classifier(unbroken, data, RECIPE, 4))
    for step in train_classifier(broken, data, RECIPE, 4, tmp_path / "state"):
        if step.index == len(steps) - 1:
            break
    assert list(train_classifier(again, data, RECIPE, 4, tmp_path / "state")) == steps
    assert same_bytes(again, unbroken)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"batchnorm": "frozen"},
        {"settings": {"lr": 0.02}},
        {"name": "rl"},
        {"case": "transformer"},
        {"mask": True},
    ],
)
def test_a_file_of_another_run_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    state = tmp_path / "state"
    started(CASES["mlp"], "ft", state)
    case = CASES[other.pop("case", "mlp")]
    if other.pop("mask", False):
        other["mask"] = salient_mask(classifier_saliency(case.model(), case.forget), 0.5)
    with pytest.raises(TrainingError, match="belongs to a run with another model, mask, data or"):
        started(case, other.pop("name", "ft"), state, **other)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    started(CASES["mlp"], "ft", state)
    content = bytearray(state.read_bytes())
    content[-3] ^= 1
    state.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        started(CASES["mlp"], "ft", state)
    state.write_bytes(b"nothing of ours")
    with pytest.raises(TrainingError, match="is not a training state"):
        started(CASES["mlp"], "ft", state)


def test_methods_without_epochs_write_no_file(tmp_path: Path) -> None:
    case = CASES["mlp"]
    for name in ("iu", "fisher", "ssd"):
        unlearn(case.model(), case.forget, case.retain, make_method(name), state=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
