"""What makes no task is refused in one sentence, before anything moves."""

from typing import Any

import pytest
import torch
from support.tiny_classifiers import CASES, RECIPE, Cnn, Mlp, loader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from erasure.classifiers import (
    Batches,
    TrainingRecipe,
    make_method,
    train_classifier,
    unlearn,
)
from erasure.classifiers.methods.gradient.fine_tune import FineTune
from erasure.errors import ConfigError, ErasureError, MaskError, TrainingError
from erasure.masks.masks import SaliencyMask

CASE = CASES["mlp"]
DATA = TensorDataset(torch.rand(10, 6), torch.arange(10) % 3)


def part(*places: int) -> DataLoader[Any]:
    return DataLoader(Subset(DATA, list(places)), batch_size=4)


def said(error: type[ErasureError], **changes: Any) -> str:  # noqa: ANN401
    """The sentence of the refusal; the model must be as it was."""
    task = {"model": CASE.model(), "forget": CASE.forget, "retain": CASE.retain}
    task |= {"method": FineTune(epochs=1)} | changes
    before = {name: value.clone() for name, value in task["model"].state_dict().items()}
    with pytest.raises(error) as info:
        unlearn(**task)
    after = task["model"].state_dict()
    assert all(value.equal(after[name]) or value.isnan().any() for name, value in before.items())
    return str(info.value)


def test_sets_that_make_no_task() -> None:
    everything = tuple(range(10))
    assert "forget set is empty" in said(ConfigError, forget=part())
    assert "so the forget set is all the data" in said(ConfigError, retain=part())
    same = said(ConfigError, forget=part(*everything), retain=part(*everything))
    assert "are the same data; give a retain set without the samples to forget" in same
    copy = DataLoader(TensorDataset(*DATA.tensors), batch_size=4)
    again = said(ConfigError, forget=DataLoader(DATA, batch_size=2), retain=copy)
    assert "begin with one batch; give a retain set without" in again
    within = said(ConfigError, forget=part(1, 2), retain=part(*everything))
    assert "lie one within the other" in within
    assert "2 samples are in both sets" in said(
        ConfigError, forget=part(1, 2, 3), retain=part(2, 3, 4)
    )


def test_labels_out_of_range() -> None:
    wrong = DataLoader(TensorDataset(torch.rand(4, 6), torch.tensor([0, 1, 2, 3])), batch_size=4)
    message = said(ConfigError, retain=wrong)
    assert message == (
        "labels run from 0 to 3 and the model has 3 outputs; give labels from 0 to 2"
    )
    assert "labels run from 0 to 3" in said(ConfigError, forget=wrong, method=make_method("ga"))


def test_a_loader_without_labels() -> None:
    unlabelled = DataLoader(TensorDataset(torch.rand(4, 6)), batch_size=4)
    assert "has no labels; give a loader whose samples are (inputs, label)" in said(
        ConfigError, forget=unlabelled
    )


def test_a_number_of_classes_that_is_not_the_models() -> None:
    assert said(ConfigError, classes=4) == "classes is 4 and the model has 3 outputs; give 3"


@pytest.mark.parametrize("name", ["retrain"])
def test_a_method_that_needs_what_was_not_given(name: str) -> None:
    message = said(ConfigError, method=make_method(name))
    assert "trains from scratch and needs to know how; give `training`" in message


def test_a_policy_that_does_not_exist() -> None:
    assert "batchnorm is 'off'; give one of ('update', 'frozen')" in said(
        ConfigError, batchnorm="off"
    )


def test_masks_of_another_model() -> None:
    other = SaliencyMask({"tail.weight": torch.ones(3, 8, dtype=torch.bool)})
    assert "covers tail.weight, which this model lacks" in said(MaskError, mask=other)
    wide = SaliencyMask({"head.bias": torch.ones(4, dtype=torch.bool)})
    assert "has shape (4,), the model's weight (3,)" in said(MaskError, mask=wide)
    empty = SaliencyMask({"head.bias": torch.zeros(3, dtype=torch.bool)})
    assert "the mask selects no weight" in said(MaskError, mask=empty)


def test_running_statistics_that_are_not_finite() -> None:
    # The variance of a batch is infinite, and every loss and gradient is finite all the same.
    network = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    huge = TensorDataset(1e20 * torch.randn(8, 6), torch.arange(8) % 3)
    message = said(TrainingError, model=network, retain=DataLoader(huge, batch_size=4))
    assert message.startswith("0.running_var of the model holds NaN or infinity; lower lr, or look")
    with pytest.raises(TrainingError, match=r"0\.running_var of the model"):
        list(train_classifier(network, Batches(huge), TrainingRecipe(epochs=1), 0))
    network = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    network[0].running_mean[1] = float("inf")
    assert "0.running_mean of the model" in said(TrainingError, model=network)


def test_nan_in_the_weights_or_the_data() -> None:
    broken = CASE.model()
    with torch.no_grad():
        broken.head.bias[1] = float("nan")
    assert said(TrainingError, model=broken) == (
        "head.bias of the model holds NaN or infinity; give a sound model"
    )
    inputs = torch.rand(8, 6)
    inputs[3, 2] = float("nan")
    data = DataLoader(TensorDataset(inputs, torch.arange(8) % 3), batch_size=8)
    assert "step 1: the loss is nan" in said(TrainingError, retain=data)
    for name in ("iu", "fisher", "ssd"):
        message = said(TrainingError, retain=data, method=make_method(name))
        assert message == "the loss is nan; look for NaN in the data and the weights"


def test_a_rate_that_blows_the_model_up() -> None:
    message = said(TrainingError, method=make_method("ga", lr=1e38, epochs=5))
    assert "so the step was not taken; lower lr" in message
    noisy = said(TrainingError, method=make_method("fisher", alpha=1e80, limit=1e300))
    assert "fisher made NaN or infinity of hidden.weight; use a smaller step" in noisy


class Silent(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 0]


class Worded(Mlp):
    def forward(self, x: Tensor) -> Any:  # noqa: ANN401
        return "cat"


def test_models_that_are_no_classifiers() -> None:
    assert "answers with shape (1,); it should give logits" in said(TrainingError, model=Silent())
    assert "answers with str; it should give logits" in said(TrainingError, model=Worded())
    assert "Identity has no parameters" in said(ConfigError, model=nn.Identity())
    frozen = CASE.model().requires_grad_(False)
    assert "no parameter of the model is trainable" in said(ConfigError, model=frozen)


class Flat(nn.Module):
    """BatchNorm over a table: one sample has no variance."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))


def test_a_single_sample_needs_frozen_statistics() -> None:
    parts = {"forget": part(1), "retain": part(2, 3, 4), "method": make_method("ga")}
    assert "use batchnorm 'frozen', or more samples" in said(TrainingError, model=Flat(), **parts)
    result = unlearn(Flat(), batchnorm="frozen", **parts)
    assert result.moved > 0


def test_a_single_sample_can_be_forgotten_by_every_other_method() -> None:
    for name in ("ft", "rl", "ga", "iu", "fisher", "be", "salun", "scrub", "ssd", "bad-teacher"):
        method = make_method(name)
        result = unlearn(Cnn(), loader((1, 6, 6), 1, 0), loader((1, 6, 6), 9, 1), method)
        assert result.steps


def test_frozen_parts_stay_frozen_and_still() -> None:
    model = CASE.model()
    model.hidden.requires_grad_(False)
    result = unlearn(model, CASE.forget, CASE.retain, FineTune(epochs=1), training=RECIPE)
    assert torch.equal(result.model.hidden.weight, model.hidden.weight)
    assert not result.model.hidden.weight.requires_grad
    assert result.model.head.weight.requires_grad


def test_batches_are_taken_as_they_are() -> None:
    forget, retain = Batches.of(CASE.forget), Batches.of(CASE.retain)
    one = unlearn(CASE.model(), forget, retain, FineTune(epochs=1))
    other = unlearn(CASE.model(), CASE.forget, CASE.retain, FineTune(epochs=1))
    assert one.steps == other.steps
