"""Each descending method's step against its formula, worked out on softmax regression.

For logits W x, the gradient of the mean cross-entropy is (p - y)^T x / n, p being the answers and
y the one-hot labels.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import seeded
from support.tiny_classifiers import linear, run, samples, task, tensors
from torch import Tensor, nn

from erasure.classifiers import Batches
from erasure.classifiers.methods.gradient.ascent import GradientAscent
from erasure.classifiers.methods.gradient.fine_tune import FineTune
from erasure.classifiers.methods.gradient.l1_sparse import L1Sparse
from erasure.classifiers.methods.gradient.random_label import RandomLabel, label_turns
from erasure.masks.masks import SaliencyMask
from erasure.training.optimizers import OPTIMIZERS

PLAIN: dict[str, Any] = {"epochs": 1, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}


def slope(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy, worked out by hand."""
    powers = (x @ weight.T).exp()
    answers = powers / powers.sum(dim=1, keepdim=True)
    return (answers - torch.eye(len(weight), dtype=x.dtype)[y]).T @ x / len(x)


def after(method: Any, forget: Batches, retain: Batches, **more: Any) -> Tensor:  # noqa: ANN401
    """Let the method change a linear model, and return the model's weights W."""
    model = linear(bias=False, classes=more.get("classes", 3))
    run(method, task(model, forget, retain, **more))
    return model.weight.detach()


def start(classes: int = 3) -> Tensor:
    return linear(bias=False, classes=classes).weight.detach()


def test_fine_tuning_goes_down_the_retain_loss() -> None:
    forget, retain = samples(5, 0), samples(6, 1)
    expected = start() - 0.5 * slope(start(), *tensors(retain))
    torch.testing.assert_close(after(FineTune(**PLAIN), forget, retain), expected)


def test_ascent_goes_up_the_forget_loss() -> None:
    forget, retain = samples(5, 0), samples(6, 1)
    expected = start() + 0.5 * slope(start(), *tensors(forget))
    torch.testing.assert_close(after(GradientAscent(**PLAIN), forget, retain), expected)


def test_the_loss_of_ascent_is_minus_the_cross_entropy() -> None:
    forget, model = samples(5, 0), linear()
    x, y = tensors(forget)
    (loss,) = run(GradientAscent(**PLAIN), task(model, forget, samples(6, 1)))
    assert loss == -float(F.cross_entropy(linear()(x), y).detach())


def test_random_labels_of_two_classes_are_the_other_class() -> None:
    forget, retain = samples(5, 0, classes=2), samples(6, 1, classes=2)
    (x, y), (others, true) = tensors(forget), tensors(retain)
    first = start(2) - 0.5 * slope(start(2), x, 1 - y)
    expected = first - 0.5 * 0.3 * slope(first, others, true)
    updated = after(RandomLabel(alpha=0.3, **PLAIN), forget, retain, classes=2)
    torch.testing.assert_close(updated, expected)


def test_mixed_random_labels_weigh_the_retain_samples_of_each_batch() -> None:
    forget, retain = samples(5, 0, classes=2), samples(6, 1, classes=2)
    (x, y), (others, true) = tensors(forget), tensors(retain)
    both = (5 * slope(start(2), x, 1 - y) + 0.3 * 6 * slope(start(2), others, true)) / 11
    method = RandomLabel(alpha=0.3, order="mixed", **PLAIN)
    updated = after(method, replace(forget, batch_size=11), retain, classes=2)
    torch.testing.assert_close(updated, start(2) - 0.5 * both)


@given(classes=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_random_label_is_never_the_true_one(classes: int, seed: int) -> None:
    turns = label_turns(200, classes, seed, other=True)
    assert int(turns.min()) >= 1
    assert int(turns.max()) < classes


@pytest.mark.parametrize("other", [True, False])
def test_random_labels_are_uniform_over_the_classes_they_may_be(other: bool) -> None:
    turns = label_turns(40000, 5, "labels", other=other)
    counts = torch.bincount(turns, minlength=5)[int(other) :]
    wanted = 40000 / len(counts)
    # Six standard deviations of a binomial count.
    assert (counts - wanted).abs().max() < 6 * (wanted * (1 - 1 / len(counts))) ** 0.5
    assert (turns == 0).any() != other


def test_every_epoch_draws_its_own_labels() -> None:
    draws = [label_turns(50, 10, 3, "random label", epoch, other=True) for epoch in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_penalty_falls_in_a_line_to_nothing() -> None:
    method = L1Sparse(alpha=0.2, epochs=10, plain_epochs=2)
    expected = [0.2 * (1 - epoch / 8) for epoch in range(8)] + [0.0, 0.0]
    assert [method.penalty(epoch) for epoch in range(10)] == pytest.approx(expected)


def test_the_l1_step_adds_the_signs_of_all_weights() -> None:
    forget, retain = samples(5, 0), samples(6, 1)
    gradient = slope(start(), *tensors(retain)) + 0.1 * start().sign()
    updated = after(L1Sparse(alpha=0.1, **PLAIN), forget, retain)
    torch.testing.assert_close(updated, start() - 0.5 * gradient)


def test_the_l1_loss_counts_biases_too() -> None:
    model, retain = linear(), samples(6, 1)
    x, y = tensors(retain)
    size = model.weight.abs().sum() + model.bias.abs().sum()
    expected = float((F.cross_entropy(model(x), y) + 0.1 * size).detach())
    (loss,) = run(L1Sparse(alpha=0.1, **PLAIN), task(model, samples(5, 0), retain))
    assert loss == pytest.approx(expected)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masked_steps_are_those_of_torch_on_masked_gradients(name: str, decay: float) -> None:
    # And every weight that is masked out is put back after each step, where decay moves it.
    forget, retain = samples(5, 0), samples(6, 1)
    chosen = torch.rand((3, 4), generator=seeded()) < 0.5
    momentum = {"momentum": 0.9} if name == "sgd" else {}
    method = FineTune(epochs=5, lr=0.1, weight_decay=decay, optimizer=name, **momentum)
    updated = after(method, forget, retain, mask=SaliencyMask({"weight": chosen}))
    weight = nn.Parameter(start())
    optimizer = OPTIMIZERS[name]([weight], lr=0.1, weight_decay=decay, **momentum)
    for _ in range(5):
        weight.grad = slope(weight.detach(), *tensors(retain)) * chosen
        optimizer.step()
        with torch.no_grad():
            weight.copy_(torch.where(chosen, weight, start()))
    torch.testing.assert_close(updated, weight.detach())
    assert torch.equal(updated[~chosen], start()[~chosen])
    assert (updated[chosen] != start()[chosen]).all()


def test_ascent_raises_the_forget_loss_and_fine_tuning_does_not() -> None:
    # All of one rule, so that what is kept teaches what is forgotten.
    rule = torch.randn((4, 3), generator=seeded(), dtype=torch.float64)

    def ruled(data: Batches) -> Batches:
        x, _ = tensors(data)
        return replace(data, dataset=torch.utils.data.TensorDataset(x, (x @ rule).argmax(dim=1)))

    forget, retain = ruled(samples(8, 0)), ruled(samples(30, 1))
    x, y = tensors(forget)

    def loss(weight: Tensor) -> float:
        return float(F.cross_entropy(x @ weight.T, y))

    settings = PLAIN | {"epochs": 5}
    assert loss(after(GradientAscent(**settings), forget, retain)) > loss(start())
    assert loss(after(FineTune(**settings), forget, retain)) < loss(start())
