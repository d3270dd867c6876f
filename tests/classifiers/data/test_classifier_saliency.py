"""The saliency of a classifier's weights: |sum of gradients|, one formula for every batch size."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import copied
from support.tiny_classifiers import CASES, linear, samples, tensors
from torch import Tensor
from torch.utils.data import TensorDataset

from erasure.classifiers import Batches, classifier_saliency
from erasure.errors import ConfigError, TrainingError
from erasure.masks.masks import salient_mask


def test_the_score_is_the_size_of_the_summed_gradient_worked_out_by_hand() -> None:
    data, model = samples(6, 0), linear()
    x, y = tensors(data)
    error = F.softmax(model(x), dim=1) - F.one_hot(y, 3)  # (6, 3)
    scores = classifier_saliency(model, data)
    torch.testing.assert_close(scores["weight"], (error.T @ x).abs().float().detach())
    torch.testing.assert_close(scores["bias"], error.sum(0).abs().float().detach())


@settings(max_examples=10)
@given(size=st.integers(1, 9))
def test_the_batch_size_does_not_matter(size: int) -> None:
    data = samples(7, 0)
    one = classifier_saliency(linear(), data)
    other = classifier_saliency(linear(), replace(data, batch_size=size))
    assert all(torch.allclose(one[name], other[name]) for name in one)


def test_gradients_that_cancel_leave_no_score() -> None:
    model = linear(classes=2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    twice = torch.ones((2, 4), dtype=torch.float64)
    data = Batches(TensorDataset(twice, torch.tensor([0, 1])), batch_size=1)
    assert not any(score.any() for score in classifier_saliency(model, data).values())
    single = classifier_saliency(model, data.subset(torch.tensor([0])))
    assert all((score == 0.5).all() for score in single.values())


@pytest.mark.parametrize("name", CASES)
def test_the_model_is_left_as_it_was(name: str) -> None:
    case = CASES[name]
    model = case.model()
    model.head.eval()
    modes = [module.training for module in model.modules()]
    before = copied(model)
    scores = classifier_saliency(model, case.forget)
    assert list(scores) == [name for name, _ in model.named_parameters()]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    again = classifier_saliency(model, case.forget)
    assert all(torch.equal(scores[key], again[key]) for key in scores)


def test_a_frozen_part_cannot_be_selected() -> None:
    case = CASES["mlp"]
    model = case.model()
    model.hidden.requires_grad_(False)
    scores = classifier_saliency(model, case.forget)
    assert list(scores) == ["head.weight", "head.bias"]
    assert salient_mask(scores, 1.0).selected == 27


def frozen() -> torch.nn.Module:
    return linear().requires_grad_(False)


def test_a_model_without_trainable_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="no parameter of the model is trainable"):
        classifier_saliency(frozen(), samples(3, 0))


def test_nan_in_the_data_is_named() -> None:
    x, y = tensors(samples(3, 0))
    broken: Tensor = x.clone()
    broken[1, 2] = float("nan")
    with pytest.raises(TrainingError, match="the loss is nan; look for NaN in the data"):
        classifier_saliency(linear(), Batches(TensorDataset(broken, y)))
