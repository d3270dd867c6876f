"""Boundary shrink takes the neighbour's label, boundary expanding a class that is dropped."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.tiny_classifiers import CASES, CLASSES, Mlp, linear, run, samples, task, tensors
from torch import Tensor, nn

from erasure.classifiers import Batch, make_method, unlearn
from erasure.classifiers.methods.gradient.boundary_expand import BoundaryExpand, Wider
from erasure.classifiers.methods.gradient.boundary_shrink import BoundaryShrink
from erasure.errors import TrainingError
from erasure.seeds import seeded_torch

PLAIN: dict[str, Any] = {"epochs": 1, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}


def stepped(model: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """W after one step of 0.5 down the cross-entropy."""
    loss = F.cross_entropy(model(x), y)
    (slope,) = torch.autograd.grad(loss, model.weight)
    return (model.weight - 0.5 * slope).detach()


def attacked(model: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """x + 0.1 sign(W^T (p - y)): the gradient with respect to x, worked out by hand."""
    error = F.softmax(model(x), dim=1) - F.one_hot(y, CLASSES)
    return (x + 0.1 * (error @ model.weight).sign()).detach()


def test_the_label_is_that_of_the_rounded_attack_on_the_original() -> None:
    forget, model = samples(40, 0), linear()
    x, y = tensors(forget)
    moved = (attacked(model, x, y).clamp(0, 1) * 255).round() / 255
    expected = model(moved).argmax(dim=1)
    labels = BoundaryShrink().nearest(model, next(forget.ordered()))
    assert torch.equal(labels, expected)
    assert (labels != model(x).argmax(dim=1)).any()
    run(BoundaryShrink(**PLAIN), task(model, forget, samples(6, 1)))
    torch.testing.assert_close(model.weight.detach(), stepped(linear(), x, expected))


def test_inputs_that_are_no_image_are_neither_rounded_nor_held_in() -> None:
    data, model = samples(40, 0), linear()
    x, y = tensors(data)
    x = 10 * x - 5
    labels = BoundaryShrink(image=False).nearest(model, Batch(x, y, torch.arange(40)))
    assert torch.equal(labels, model(attacked(model, x, y)).argmax(dim=1))


def test_the_labels_stay_those_of_the_original_while_the_model_moves() -> None:
    # Ten epochs with a rate so large that the model's own neighbours change.
    forget, model = samples(40, 0), linear()
    x, _ = tensors(forget)
    nearest = BoundaryShrink().nearest(linear(), next(forget.ordered()))
    method = BoundaryShrink(**(PLAIN | {"epochs": 10, "lr": 5.0}))
    losses = run(method, task(model, forget, samples(6, 1)))
    assert losses[-1] < losses[0]
    weight = nn.Parameter(linear().weight.detach())
    bias = nn.Parameter(linear().bias.detach())
    optimizer = torch.optim.SGD([weight, bias], lr=5.0)
    for _ in range(10):
        optimizer.zero_grad()
        F.cross_entropy(F.linear(x, weight, bias), nearest).backward()
        optimizer.step()
    torch.testing.assert_close(model.weight.detach(), weight.detach())


def test_normalised_images_are_refused_and_not_clamped_in_silence() -> None:
    batch = Batch(torch.tensor([[-2.1, 2.0, 0.0, 0.5]]), torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(TrainingError, match=r"from -2\.1 to 2 and images should lie in \[0, 1\]"):
        BoundaryShrink().nearest(linear().float(), batch)


def test_text_has_no_neighbours() -> None:
    case = CASES["text"]
    with pytest.raises(TrainingError, match="for text use another method"):
        unlearn(case.model(), case.forget, case.retain, make_method("bs"))


def test_the_shadow_class_adds_one_logit_and_keeps_the_others() -> None:
    forget, model = samples(5, 0), linear()
    wider = Wider(task(model, forget, samples(6, 1)))
    batch = next(forget.ordered())
    logits = wider(batch)
    assert logits.shape == (5, CLASSES + 1)
    assert torch.equal(logits[:, :CLASSES], model(batch.inputs))
    assert torch.equal(logits[:, CLASSES:], wider.row(batch.inputs))
    wider.close()
    assert not model._forward_hooks


def test_expanding_is_cross_entropy_to_the_shadow_class_of_a_wider_layer() -> None:
    # An independent writing: a layer with one more row, trained, and cut.
    forget, model = samples(5, 0), linear()
    x, _ = tensors(forget)
    with seeded_torch(torch.device("cpu"), 0, "shadow class"):
        row = nn.Linear(4, 1, dtype=torch.float64)
    wide = nn.Linear(4, CLASSES + 1, dtype=torch.float64)
    with torch.no_grad():
        wide.weight.copy_(torch.cat([model.weight, row.weight]))
        wide.bias.copy_(torch.cat([model.bias, row.bias]))
    settings = PLAIN | {"epochs": 4, "momentum": 0.9, "weight_decay": 0.1}
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(wide(x), torch.full((5,), CLASSES)).backward()
        optimizer.step()
    run(BoundaryExpand(**settings), task(model, forget, samples(6, 1)))
    torch.testing.assert_close(model.weight.detach(), wide.weight[:CLASSES].detach())
    torch.testing.assert_close(model.bias.detach(), wide.bias[:CLASSES].detach())
    assert model.weight.shape == (CLASSES, 4)


class Scaled(Mlp):
    """Its logits are not those of its last layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Conv(nn.Module):
    """It has no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, CLASSES, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.unsqueeze(1)).squeeze(2)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Scaled(), "are not what the last nn.Linear of the model gives"),
        (Conv(), "no nn.Linear of Conv has 3 outputs, so there is no last layer to expand"),
    ],
)
def test_a_model_without_a_plain_last_layer_cannot_be_expanded(model: nn.Module, said: str) -> None:
    case = CASES["mlp"]
    with pytest.raises(TrainingError, match=said):
        unlearn(model, case.forget, case.retain, BoundaryExpand())
