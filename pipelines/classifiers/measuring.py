"""Ask a classifier about its data and score what it has forgotten."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from erasure.classifiers.data.batches import logits_of
from eval.rates.membership import GRID, SIGNALS, load_machine, membership_efficacy
from eval.rates.predictions import Predictions, predictions_of
from eval.rates.unlearning_metrics import Scores, unlearning_scores
from pipelines.classifiers.data.data import ClassifierData, batches
from pipelines.classifiers.data.forget_setting import ForgetSetting

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Split:
    """What goes and what stays of the training part."""

    forget: Tensor
    """Positions, int64, ascending."""
    retain: Tensor
    forgotten_class: int | None
    """Where a whole class goes."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of one model, and what measuring took."""

    scores: Scores
    attack_seconds: float
    """What the membership attack alone took; it should take less than the forgetting."""
    others: Mapping[str, float] = field(default_factory=dict)
    """The attack on other signals, per cent."""


def split_data(data: ClassifierData, setting: ForgetSetting, seed: int) -> Split:
    """The forget set of a setting and seed."""
    classes = data.facts.classes
    forget, retain = setting.choose(data.labels, classes, seed)
    return Split(forget, retain, setting.class_index(classes))


@torch.no_grad()
def answers(
    model: nn.Module, dataset: TensorDataset, positions: Tensor | None = None
) -> Predictions:
    """What a model says of a set, or of some positions of it, in their order.

    Raises:
        EvalError: its logits are not finite.
    """
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    was = model.training
    model.eval()
    logits, labels = [], []
    for batch in batches(dataset, positions, _BATCH).on(device).ordered():
        logits.append(logits_of(model, batch.inputs).cpu())
        labels.append(batch.labels.cpu())
    model.train(was)
    return predictions_of(torch.cat(logits), torch.cat(labels))


def measure(
    model: nn.Module,
    data: ClassifierData,
    split: Split,
    *,
    seconds: float,
    held_out: bool = False,
    signals: bool = False,
    exact: bool = False,
) -> Measured:
    """UA, RA, TA and MIA of one model.

    Args:
        seconds: what the forgetting took.
        held_out: score on the held-out part instead of the test part; for tuning.
        signals: attack the other signals too.
        exact: the paper's machine on every point, instead of on a grid of 1/4096.
    """
    retain, forget = (answers(model, data.train, part) for part in (split.retain, split.forget))
    test = answers(model, data.held_out if held_out else data.test)
    if split.forgotten_class is not None:
        test = test.without_class(split.forgotten_class)
    grid = None if exact else GRID
    load_machine()
    begun = time.perf_counter()
    scores = unlearning_scores(retain, forget, test, seconds=seconds, grid=grid)
    spent = time.perf_counter() - begun
    wanted = [name for name in SIGNALS if name != "confidence"] if signals else []
    others = {
        name: membership_efficacy(retain, test, forget, signal=name, grid=grid) for name in wanted
    }
    return Measured(scores, spent, others)
