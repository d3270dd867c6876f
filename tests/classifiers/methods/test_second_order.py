"""Influence, Fisher forgetting and dampening against the matrices they stand for."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import seeded
from support.tiny_classifiers import linear, run, same_bytes, samples, task, tensors
from torch import Tensor

from erasure.classifiers import Batches, Method, make_method, unlearn
from erasure.classifiers.curvature.inverse_hessian import (
    conjugate_gradients,
    hessian_product,
    woodfisher,
)
from erasure.classifiers.curvature.per_sample import fisher_diagonal
from erasure.classifiers.data.batches import joined
from erasure.classifiers.methods.closed_form.fisher import FisherForgetting
from erasure.classifiers.methods.closed_form.influence import Influence
from erasure.classifiers.methods.closed_form.ssd import SelectiveDampening
from erasure.masks.masks import SaliencyMask
from erasure.seeds import generator_for


def loss_of(data: Batches, flat: Tensor) -> Tensor:
    """Mean cross-entropy of softmax regression with 3 x 4 weights, as a function of them."""
    x, y = tensors(data)
    return F.cross_entropy(x @ flat.view(3, 4).T, y)


def gradient(data: Batches, flat: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda w: loss_of(data, w), flat)


def hessian(data: Batches, flat: Tensor) -> Tensor:
    return torch.autograd.functional.hessian(lambda w: loss_of(data, w), flat)


def start() -> Tensor:
    return linear(bias=False).weight.detach().flatten()


def sample_gradients(data: Batches, flat: Tensor) -> Tensor:
    return torch.stack([gradient(data.subset(torch.tensor([n])), flat) for n in range(len(data))])


def spd(size: int, seed: int) -> Tensor:
    root = torch.randn((size, size), generator=seeded(seed), dtype=torch.float64)
    return root @ root.T + torch.eye(size, dtype=torch.float64)


def test_the_recursion_on_three_gradients_by_hand() -> None:
    # N = 2, v = (1, 1), gradients (1, 0), (1, 1), (0, 2). o = (1, 0), k = (1, 1).
    # (1, 1): o.g = 1, k.g = 2, so k -= 2/3 o = (1/3, 1) and o -= 1/3 o = (2/3, 0).
    # (0, 2): o.g = 0, k.g = 2, so k -= 2/2 o = (-1/3, 1).
    gradients = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    direction = woodfisher(torch.tensor([1.0, 1.0]), gradients, 2)
    torch.testing.assert_close(direction, torch.tensor([-1 / 3, 1.0]))


def test_the_recursion_only_ever_subtracts_the_first_gradient() -> None:
    gradients = torch.randn((6, 5), generator=seeded())
    vector = torch.randn(5, generator=seeded(1))
    change = woodfisher(vector, gradients, 6) - vector
    cosine = F.cosine_similarity(change, gradients[0], dim=0)
    assert abs(float(cosine)) == pytest.approx(1)


@settings(max_examples=20)
@given(size=st.integers(1, 12), seed=st.integers(0, 99))
def test_conjugate_gradients_solve_a_system(size: int, seed: int) -> None:
    matrix = spd(size, seed)
    vector = torch.randn(size, generator=seeded(seed + 1), dtype=torch.float64)
    solution = conjugate_gradients(lambda x: matrix @ x, vector, 10 * size, 1e-12)
    torch.testing.assert_close(solution, torch.linalg.solve(matrix, vector), rtol=1e-7, atol=1e-9)


def test_conjugate_gradients_stop_where_there_is_no_bowl() -> None:
    matrix = torch.diag(torch.tensor([1.0, -1.0]))
    uphill = conjugate_gradients(lambda x: matrix @ x, torch.tensor([0.0, 1.0]), 10, 0.0)
    assert torch.equal(uphill, torch.zeros(2))
    assert torch.equal(conjugate_gradients(lambda x: x, torch.zeros(2), 10, 0.0), torch.zeros(2))


def test_the_hessian_product_is_that_of_the_matrix() -> None:
    data, model = replace(samples(7, 1), batch_size=3), linear(bias=False)
    vector = torch.randn(12, generator=seeded(), dtype=torch.float64)
    product = hessian_product(model, {"weight": model.weight}, data, vector)
    torch.testing.assert_close(product, hessian(samples(7, 1), start()) @ vector)


@pytest.mark.parametrize("size", [2, 30])
def test_the_influence_step_is_v_through_the_inverse_hessian(size: int) -> None:
    forget, retain = samples(5, 0), samples(9, 1)
    share = 5 / 14
    v = share * (gradient(forget, start()) - gradient(retain, start()))
    damped = hessian(retain, start()) + 0.01 * torch.eye(12, dtype=torch.float64)
    model = linear(bias=False)
    method = Influence(alpha=1.5, inverse="newton", damping=0.01, tolerance=1e-10, iterations=50)
    job = task(model, replace(forget, batch_size=size), replace(retain, batch_size=size))
    assert len(run(method, job)) == (2 if size == 30 else 6)
    expected = start() + 1.5 * torch.linalg.solve(damped, v)
    torch.testing.assert_close(model.weight.detach().flatten(), expected)


def test_at_a_minimum_it_is_the_newton_step_of_the_retain_loss() -> None:
    # Where the mean loss over all data is least, v is minus the gradient of the retain loss.
    forget, retain = samples(5, 0), samples(60, 1)
    whole, weight = joined(forget, retain), start()
    whole = replace(whole, batch_size=100)
    for _ in range(30):  # Newton's method; softmax leaves directions without curvature.
        weight = weight - torch.linalg.pinv(hessian(whole, weight)) @ gradient(whole, weight)
    assert float(gradient(whole, weight).norm()) < 1e-12
    model = linear(bias=False)
    with torch.no_grad():
        model.weight.copy_(weight.view(3, 4))
    run(Influence(alpha=1.0, inverse="newton", tolerance=1e-12), task(model, forget, retain))
    newton = weight - torch.linalg.pinv(hessian(retain, weight)) @ gradient(retain, weight)
    torch.testing.assert_close(model.weight.detach().flatten(), newton, rtol=1e-6, atol=1e-8)
    assert loss_of(retain, newton) < loss_of(retain, weight)


def test_the_newton_step_on_a_quadratic_is_exact() -> None:
    # retain loss 1/2 (w - a)^T A (w - a), forget loss 1/2 (w - b)^T B (w - b): from the minimum
    # of their weighted mean, one step with A reaches a.
    a, b = (torch.randn(4, generator=seeded(n), dtype=torch.float64) for n in (0, 1))
    keep, drop, share = spd(4, 2), spd(4, 3), 0.25
    weight = torch.linalg.solve(
        share * drop + (1 - share) * keep, share * drop @ b + (1 - share) * keep @ a
    )
    v = share * (drop @ (weight - b) - keep @ (weight - a))
    step = conjugate_gradients(lambda x: keep @ x, v, 40, 1e-14)
    torch.testing.assert_close(weight + step, a)


def test_the_released_step_is_alpha_times_the_recursion() -> None:
    forget, retain = samples(5, 0), samples(9, 1)
    v = 5 / 14 * (gradient(forget, start()) - gradient(retain, start()))
    model = linear(bias=False)
    chosen = torch.arange(12).view(3, 4) % 2 == 0
    job = task(model, forget, retain, mask=SaliencyMask({"weight": chosen}))
    run(Influence(alpha=3.0), job)
    change = (model.weight.detach().flatten() - start())[chosen.flatten()]
    order = torch.randperm(9, generator=generator_for(0, "curvature"))
    rows = sample_gradients(retain, start())[order]
    torch.testing.assert_close(change, 3 * woodfisher(v, rows, 9)[chosen.flatten()])


def fisher(data: Batches, flat: Tensor, labels: str) -> Tensor:
    """Diagonal of the Fisher information, by the definition, one sample and label at a time."""
    x, y = tensors(data)
    total = torch.zeros_like(flat)
    for n in range(len(x)):
        answers = F.softmax(flat.view(3, -1) @ x[n], dim=0)
        for label in range(3):
            error = answers - torch.eye(3, dtype=x.dtype)[label]
            square = torch.outer(error, x[n]).flatten() ** 2
            weight = answers[label] if labels == "model" else float(label == y[n])
            total += weight * square
    return total / len(x)


def measured(data: Batches, labels: str) -> Tensor:
    model = linear(bias=False)
    passing = fisher_diagonal(model, {"weight": model.weight}, data, labels)
    while True:
        try:
            next(passing)
        except StopIteration as end:
            return end.value["weight"].flatten()


@pytest.mark.parametrize("labels", ["data", "model"])
@pytest.mark.parametrize("size", [1, 3, 20])
def test_the_fisher_diagonal_is_that_of_the_definition(labels: str, size: int) -> None:
    data = samples(8, 1)
    diagonal = measured(replace(data, batch_size=size), labels)
    torch.testing.assert_close(diagonal, fisher(data, start(), labels))


def test_fisher_noise_has_the_variance_of_its_formula() -> None:
    alpha, limit, model = 1e-4, 15.0, linear(500, bias=False)
    retain, before = samples(8, 1, features=500), model.weight.detach().flatten().clone()
    inverse = 1 / (fisher(retain, before, "model") + 1e-8)
    wanted = alpha * inverse.clamp(max=limit)
    assert 100 < int((inverse > limit).sum()) < 1400
    forget = samples(5, 0, features=500)
    run(FisherForgetting(alpha=alpha, limit=limit), task(model, forget, retain))
    noise = (model.weight.detach().flatten() - before) / wanted.sqrt()
    # Five standard errors of a mean, and of a variance, over 1500 normal draws.
    assert abs(float(noise.mean())) < 5 / math.sqrt(1500)
    assert abs(float(noise.var()) - 1) < 5 * math.sqrt(2 / 1500)
    for part in (inverse > limit, inverse <= limit):
        assert abs(float(noise[part].var()) - 1) < 5 * math.sqrt(2 / int(part.sum()))


def test_fisher_noise_is_one_draw_from_the_seed_scaled_weight_by_weight() -> None:
    retain, moves = samples(8, 1), []
    for alpha in (1e-6, 4e-6):
        model = linear(bias=False)
        run(FisherForgetting(alpha=alpha), task(model, samples(5, 0), retain, seed=3))
        moves.append(model.weight.detach().flatten() - start())
    torch.testing.assert_close(moves[1], 2 * moves[0])


def test_dampening_shrinks_what_matters_more_to_the_forget_data() -> None:
    forget, retain, alpha, strength = samples(5, 0), samples(9, 1), 1.05, 0.8
    ours = fisher(forget, start(), "data")
    whole = (5 * ours + 9 * fisher(retain, start(), "data")) / 14
    chosen = ours > alpha * whole
    assert 0 < int(chosen.sum()) < 12
    factor = (strength * whole / ours).clamp(max=1)
    model = linear(bias=False)
    run(SelectiveDampening(alpha=alpha, dampening=strength), task(model, forget, retain))
    expected = torch.where(chosen, start() * factor, start())
    torch.testing.assert_close(model.weight.detach().flatten(), expected)
    assert torch.equal(model.weight.detach().flatten()[~chosen], start()[~chosen])


@pytest.mark.parametrize(
    ("method", "heavy"),
    [
        ("fisher", "erasure.classifiers.methods.closed_form.fisher.fisher_diagonal"),
        ("ssd", "erasure.classifiers.methods.closed_form.ssd.fisher_diagonal"),
        ("iu", "erasure.classifiers.methods.closed_form.influence.mean_gradient"),
    ],
)
def test_trials_that_share_a_memo_compute_once_and_give_the_same_bytes(
    method: str, heavy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, forget, retain = linear(), samples(6, 1), samples(20, 2)
    trials: list[Method] = [make_method(method, alpha=alpha) for alpha in (0.5, 2.0)]
    alone = [unlearn(model, forget, retain, trial).model for trial in trials]
    memo: dict[str, object] = {}
    first = unlearn(model, forget, retain, trials[0], memo=memo).model

    def never(*_: object, **__: object) -> Iterator[float]:
        raise AssertionError("computed again")
        yield 0.0  # So that it is a generator, which only raises where it is asked.

    monkeypatch.setattr(heavy, never)
    second = unlearn(model, forget, retain, trials[1], memo=memo).model
    assert same_bytes(first, alone[0])
    assert same_bytes(second, alone[1])
    assert not same_bytes(first, second)
    with pytest.raises(AssertionError, match="computed again"):
        unlearn(model, forget, retain, trials[1])


def test_a_memo_tells_apart_what_a_method_computes_it_by() -> None:
    model, forget, retain = linear(), samples(6, 1), samples(20, 2)
    memo: dict[str, object] = {}
    for settings_of in ({"samples": 5}, {"samples": 9}, {"labels": "data"}):
        trial = make_method("fisher", alpha=0.1, **settings_of)
        unlearned = unlearn(model, forget, retain, trial, memo=memo).model
        assert same_bytes(unlearned, unlearn(model, forget, retain, trial).model)
