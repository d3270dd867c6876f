"""SCRUB and bad teacher: divergences from models that do not move."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import seeded
from support.tiny_classifiers import linear, run, samples, task, tensors
from torch import Tensor

from erasure.classifiers import Batches
from erasure.classifiers.data.fresh import fresh_model
from erasure.classifiers.methods.gradient.bad_teacher import BadTeacher
from erasure.classifiers.methods.gradient.distillation import divergence
from erasure.classifiers.methods.gradient.scrub import Scrub

PLAIN: dict[str, Any] = {"epochs": 1, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over samples of sum p log(p / q)."""
    p, q = (F.softmax(logits / temperature, dim=1) for logits in (teacher, student))
    return temperature**2 * (p * (p / q).log()).sum() / len(p)


@given(temperature=st.floats(0.5, 8), seed=st.integers(0, 99))
def test_the_divergence_is_that_of_kullback_and_leibler(temperature: float, seed: int) -> None:
    student, teacher = torch.randn((2, 5, 3), generator=seeded(seed), dtype=torch.float64)
    value = divergence(student, teacher, temperature)
    torch.testing.assert_close(value, by_hand(student, teacher, temperature))
    assert float(divergence(teacher, teacher, temperature)) == pytest.approx(0, abs=1e-12)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = torch.randn((2, 5, 3), generator=seeded()).requires_grad_().unbind()
    divergence(student, teacher).backward()
    assert not divergence(student.detach(), teacher).requires_grad


def reference(forget: Batches, retain: Batches, ascents: int, epochs: int) -> Tensor:
    """SCRUB in straight lines, one batch a set."""
    teacher, student = linear(), linear()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    (away, _), (x, y) = tensors(forget), tensors(retain)
    for epoch in range(epochs):
        if epoch < ascents:
            optimizer.zero_grad()
            (-by_hand(student(away), teacher(away).detach(), 2.0)).backward()
            optimizer.step()
        optimizer.zero_grad()
        near = by_hand(student(x), teacher(x).detach(), 2.0)
        (0.9 * F.cross_entropy(student(x), y) + 0.3 * near).backward()
        optimizer.step()
    return student.weight.detach()


@pytest.mark.parametrize("ascents", [0, 1, 3])
def test_scrub_leaves_its_teacher_first_on_the_forget_data(ascents: int) -> None:
    forget, retain, model = samples(5, 0), samples(6, 1), linear()
    settings = PLAIN | {"epochs": 3}
    method = Scrub(ascents=ascents, alpha=0.3, gamma=0.9, temperature=2.0, **settings)
    losses = run(method, task(model, forget, retain))
    assert len(losses) == 3 + ascents
    torch.testing.assert_close(model.weight.detach(), reference(forget, retain, ascents, 3))


def test_the_forget_data_is_learnt_from_a_model_that_knows_nothing() -> None:
    forget, retain, model = samples(5, 0), samples(6, 1), linear()
    (x, _), (others, _) = tensors(forget), tensors(retain)
    original, ignorant = linear(), fresh_model(linear(), 0)
    assert not torch.equal(original.weight, ignorant.weight)
    far = by_hand(original(x), ignorant(x), 1.0)
    near = by_hand(original(others), original(others), 1.0)
    method = BadTeacher(**(PLAIN | {"optimizer": "sgd", "retain_share": 1.0}))
    (loss,) = run(method, task(model, replace(forget, batch_size=11), retain))
    assert loss == pytest.approx(float(((5 * far + 6 * near) / 11).detach()))
    (slope,) = torch.autograd.grad((5 * far + 6 * near) / 11, original.weight)
    torch.testing.assert_close(model.weight.detach(), (original.weight - 0.5 * slope).detach())


def test_only_a_share_of_the_retain_data_is_used() -> None:
    forget, retain = replace(samples(5, 0), batch_size=1), samples(20, 1)
    method = BadTeacher(**(PLAIN | {"retain_share": 0.3}))
    assert len(run(method, task(linear(), forget, retain))) == 5 + 6
