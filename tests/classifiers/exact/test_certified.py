"""Newton removal from linear heads against its formulas, its bound and exact refitting."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from support.tiny_classifiers import blobs, network, points_of, table_of
from torch import Tensor

from erasure.classifiers.exact.certified import Certified, CertifiedHead
from erasure.classifiers.exact.frozen_features import frozen_features
from erasure.classifiers.exact.linear_objective import LinearObjective, LossName
from erasure.classifiers.exact.newton_removal import gradient_left
from erasure.errors import CheckpointError, ConfigError, TrainingError

SEEDED = Certified(seed=0, l2=0.05)


def objective(loss: LossName, *, count: int = 12, outputs: int = 2) -> LinearObjective:
    """Make the objective of random rows, targets and noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(count, outputs, generator=generator, dtype=torch.float64).sign()
    b = torch.randn(outputs, 3, generator=generator, dtype=torch.float64)
    return LinearObjective(x / x.norm(dim=1, keepdim=True), y, b, 0.1, loss)


def by_hand(task: LinearObjective, w: Tensor) -> Tensor:
    """The paper's L_b, row by row, ()."""
    total = (task.b * w).sum() + 0.5 * task.l2 * len(task.x) * (w**2).sum()
    for x, y in zip(task.x, task.y, strict=True):
        z = w @ x
        each = torch.log1p(torch.exp(-y * z)) if task.loss == "logistic" else (z - y) ** 2 / 2
        total = total + each.sum()
    return total


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_the_objective_and_its_derivatives_are_those_of_the_formula(loss: LossName) -> None:
    task = objective(loss)
    w = torch.tensor([[0.3, -0.7, 0.2], [1.0, 0.1, -0.4]], dtype=torch.float64)
    torch.testing.assert_close(task.value(w).sum(), by_hand(task, w))
    slope = torch.autograd.functional.jacobian(lambda v: by_hand(task, v), w)
    torch.testing.assert_close(task.gradient(w), slope)
    curvature = torch.autograd.functional.hessian(lambda v: by_hand(task, v), w)
    for output in range(2):
        torch.testing.assert_close(task.hessian(w, output), curvature[output, :, output, :])
    assert curvature[0, :, 1, :].abs().max() == 0  # Outputs do not interact.


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_the_minimum_has_no_gradient(loss: LossName) -> None:
    task = objective(loss)
    w, passes = task.minimise()
    assert float(task.gradient(w).norm()) < 1e-9
    assert passes == 1 if loss == "squared" else passes > 1


def test_the_head_is_scikit_learns_where_the_noise_is_small() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    points = blobs(60, classes=2)
    chosen = Certified(seed=0, noise=1e-9, l2=0.01, intercept=False)
    head = chosen.fit(points)
    inputs, labels = table_of(points)
    rows = chosen.rows(inputs).numpy()
    other = linear.LogisticRegression(C=1 / (0.01 * 60), fit_intercept=False, tol=1e-10)
    other.fit(rows, labels.numpy())
    np.testing.assert_allclose(head.weight.numpy(), other.coef_, rtol=1e-5)
    said = head.predict_proba(inputs).numpy()
    np.testing.assert_allclose(said, other.predict_proba(rows), rtol=1e-5)


@settings(max_examples=15)
@given(
    count=st.integers(4, 40),
    classes=st.integers(2, 4),
    noise=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_on_least_squares_a_removal_is_the_exact_refit(
    count: int, classes: int, noise: float, seed: int, data: st.DataObject
) -> None:
    points = blobs(count, classes=classes, seed=seed)
    head = Certified(loss="squared", noise=noise, seed=seed).fit(points, classes=classes)
    places = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    gone = [10 + 3 * place for place in places]
    refitted = head.refit(points.without(gone))
    at_once = head.forget(points, gone).model
    one_by_one = head
    for name in gone:
        one_by_one = one_by_one.forget(points, [name]).model
    # Rounding: the smallest curvature is l2 = 1e-3 a point.
    torch.testing.assert_close(at_once.weight, refitted.weight, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(one_by_one.weight, refitted.weight, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(one_by_one.gram, refitted.gram)
    assert at_once.spent == 0
    assert at_once.audit(points).passed


def test_a_removal_on_least_squares_reads_only_the_points_that_leave() -> None:
    points = blobs(40)
    deletion = Certified(loss="squared", seed=0).fit(points).forget(points, [10, 13])
    assert (deletion.cost.spent, deletion.cost.refit) == (2, 38)


def test_a_removal_is_the_newton_step_of_the_paper() -> None:
    points = blobs(30, classes=2)
    chosen = dataclasses.replace(SEEDED, epsilon=100.0)
    head = chosen.fit(points)
    remaining = chosen.objective(points.without([10, 16]), 2, head.secret)
    left = chosen.objective(points.only(torch.tensor([10, 16])), 2, head.secret)
    w = head.weight
    curvature = torch.autograd.functional.hessian(lambda v: by_hand(remaining, v), w).reshape(6, 6)
    # Delta: the loss of the points that leave, with their share of the norm, without b.
    slope = torch.autograd.functional.jacobian(lambda v: by_hand(left, v), w) - left.b
    wanted = w + torch.linalg.solve(curvature, slope.flatten()).reshape(1, 6)
    torch.testing.assert_close(head.forget(points, [10, 16]).model.weight, wanted)


@settings(max_examples=25)
@given(
    count=st.integers(6, 40),
    classes=st.integers(2, 3),
    leaving=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_the_gradient_that_is_left_is_below_the_bound_and_that_below_the_papers(
    count: int, classes: int, leaving: int, seed: int
) -> None:
    points = blobs(count, classes=classes, seed=seed)
    chosen = Certified(seed=seed, epsilon=1e6, l2=0.01)
    head = chosen.fit(points, classes=classes)
    gone = [10 + 3 * place for place in range(leaving)]
    after = head.forget(points, gone).model
    remaining = chosen.objective(points.without(gone), classes, head.secret)
    measured = float(remaining.gradient(after.weight).norm())
    step = after.weight - head.weight
    spectral = torch.linalg.matrix_norm(remaining.x, 2)
    each = 0.25 * spectral * step.norm(dim=1) * (remaining.x @ step.T).norm(dim=0)  # Corollary 1.
    assert measured <= after.spent + 1e-9
    assert after.spent <= head.spent + float(each.norm()) + 1e-9
    assert after.audit(points).passed


mp.dps = 60


def delta_of_the_worst_attack(shift: float, epsilon: float) -> float:
    """Subtract e^epsilon P(x > t) under N(0, 1) from P(x > t) under N(shift, 1).

    At this t one density is e^epsilon times the other, so no other t gives more.
    """
    edge = mp.mpf(epsilon) / shift + mp.mpf(shift) / 2
    tails = [mp.erfc((edge - centre) / mp.sqrt(2)) / 2 for centre in (shift, 0)]
    return float(tails[0] - mp.e ** mp.mpf(epsilon) * tails[1])


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 1.0, 8.0, 20.0, 100.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-4, 1e-9])
def test_a_budget_that_is_spent_to_the_end_has_the_delta_that_is_stated(
    epsilon: float, delta: float
) -> None:
    chosen = Certified(epsilon=epsilon, delta=delta, noise=3.0)
    truth = delta_of_the_worst_attack(chosen.budget / 3.0, epsilon)
    assert delta * (1 - 1e-6) < truth <= delta
    # The test would see a budget that is larger by a thousandth.
    assert delta_of_the_worst_attack(1.001 * chosen.budget / 3.0, epsilon) > delta


def test_the_classical_bound_is_false_where_epsilon_is_large_and_wasteful_where_it_is_small() -> (
    None
):
    def classical(epsilon: float, delta: float) -> float:
        return epsilon / math.sqrt(2 * math.log(1.5 / delta))

    assert delta_of_the_worst_attack(classical(20.0, 1e-4), 20.0) > 100 * 1e-4
    assert classical(1.0, 1e-4) < 0.73 * Certified(noise=1.0).budget
    assert Certified(noise=1.0, epsilon=20.0).budget == pytest.approx(3.7113, abs=1e-4)


def test_a_budget_is_found_where_e_to_the_epsilon_is_beyond_a_float() -> None:
    budgets = [Certified(epsilon=epsilon).budget for epsilon in (1e3, 1e6, 1e12)]
    # For large epsilon r^2 / 2 - epsilon nearly vanishes: r is about sqrt(2 epsilon).
    for epsilon, budget in zip((1e3, 1e6, 1e12), budgets, strict=True):
        assert 0.9 < budget / math.sqrt(2 * epsilon) < 1


def test_the_bound_of_what_a_step_leaves_is_attained_and_would_show_if_it_were_smaller() -> None:
    # One row, where the third derivative of the logistic loss is largest: z = log(2 + sqrt 3).
    worst, move = math.log(2 + math.sqrt(3)), 0.01
    points = points_of(torch.ones(2, 1), torch.tensor([1, 0]))
    chosen = Certified(seed=0, intercept=False)
    head = chosen.fit(points)
    head = dataclasses.replace(head, weight=torch.full_like(head.weight, worst))
    remaining = chosen.objective(points.only(points.ids[:1]), 2, head.secret)
    step = torch.full_like(head.weight, move)
    bound = gradient_left(step, remaining, remaining.x.T @ remaining.x)

    def slope(z: float) -> float:
        return -1 / (1 + math.exp(z))

    bend = math.exp(-worst) / (1 + math.exp(-worst)) ** 2
    left = abs(slope(worst + move) - slope(worst) - bend * move)
    assert 0.99 * bound < left <= bound


def test_removals_add_up_until_the_budget_is_spent() -> None:
    points = blobs(60)
    head = dataclasses.replace(SEEDED, epsilon=0.5).fit(points)
    spent = [head.spent]
    for name in points.ids.tolist():
        try:
            head = head.forget(points, [name]).model
        except TrainingError as err:
            assert "the budget is spent: forgetting 1 point may leave" in str(err)  # noqa: PT017
            break
        spent.append(head.spent)
    else:
        pytest.fail("the budget never ended")
    assert spent == sorted(spent)
    assert len(spent) > 2
    assert spent[-1] <= head.settings.budget
    assert "certified" in head.statement()
    assert head.audit(points).passed


def test_a_spent_budget_can_mean_refitting_with_new_noise() -> None:
    points = blobs(60)
    chosen = dataclasses.replace(SEEDED, epsilon=1e-4, when_spent="refit")
    head = chosen.fit(points)
    deletion = head.forget(points, [10])
    assert deletion.cost.saved == 0
    assert "trained again" in deletion.statement
    assert deletion.model.refits == 1
    assert deletion.model.secret != head.secret
    assert deletion.model.spent < chosen.budget
    assert deletion.model.audit(points).passed


def test_an_audit_fails_for_weights_that_still_hold_a_point() -> None:
    points = blobs(60)
    head = SEEDED.fit(points)
    liar = dataclasses.replace(head, ids=points.without([10]).ids)
    audit = liar.audit(points)
    assert not audit.passed
    assert audit.differing == ("weight",)
    moved = dataclasses.replace(head, weight=head.weight + 1e-6)
    assert not moved.audit(points).passed


def test_each_row_is_scaled_by_itself_to_a_length_of_at_most_one() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    alike = Certified(intercept=False).rows(rows)
    torch.testing.assert_close(alike.norm(dim=1), torch.tensor([1.0, 1.0, 0.0]).double())
    within = Certified(intercept=False, radius=2.0).rows(rows)
    torch.testing.assert_close(within.norm(dim=1), torch.tensor([1.0, 0.25, 0.0]).double())
    with_intercept = Certified().rows(rows)
    assert with_intercept.shape == (3, 3)
    assert float(with_intercept.norm(dim=1).max()) <= 1 + 1e-12
    torch.testing.assert_close(Certified().rows(rows[1:2]), with_intercept[1:2])


def test_without_a_seed_the_noise_is_another_each_time() -> None:
    points = blobs(30)
    heads = [Certified().fit(points) for _ in range(2)]
    assert heads[0].secret != heads[1].secret
    assert not torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(SEEDED.fit(points).weight, SEEDED.fit(points).weight)


def test_a_head_says_where_its_noise_came_from() -> None:
    points = blobs(20)
    assert "from a seed that was given" in SEEDED.fit(points).noise_source
    drawn = Certified().fit(points).noise_source
    assert "not cryptographically secure, from 62 secret bits" in drawn
    assert "none is needed" in Certified(loss="squared").fit(points).noise_source
    assert "was not measured" in SEEDED.fit(points).audit(points).statement


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_heads_learn_the_classes(loss: LossName) -> None:
    points = blobs(300, seed=3)
    head = Certified(loss=loss, seed=0).fit(points)
    inputs, labels = table_of(points)
    said = head.predict_proba(inputs)
    torch.testing.assert_close(said.sum(1), torch.ones(300, dtype=torch.float64))
    assert float((said.argmax(1) == labels).double().mean()) > 0.8


def test_features_are_what_the_last_layer_takes() -> None:
    points, net = blobs(30), network(batchnorm=True)
    features = frozen_features(net, points)
    inputs, labels = table_of(features)
    assert torch.equal(labels, table_of(points)[1])
    assert torch.equal(features.ids, points.ids)
    torch.testing.assert_close(net.eval()[-1](inputs), net(table_of(points)[0]))
    head = Certified(loss="squared").fit(features)
    assert head.forget(features, [10]).model.audit(features).passed


def test_a_network_without_a_linear_layer_gives_no_features() -> None:
    with pytest.raises(ConfigError, match="no linear layer"):
        frozen_features(torch.nn.Flatten(), blobs(3))


def test_saving_and_loading_is_the_identity(tmp_path: Path) -> None:
    points = blobs(30)
    head = SEEDED.fit(points).forget(points, [10]).model
    head.save(tmp_path / "head.safetensors")
    read = CertifiedHead.load(tmp_path / "head.safetensors")
    for field in dataclasses.fields(CertifiedHead):
        one, other = getattr(head, field.name), getattr(read, field.name)
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert 10 not in read.ids
    assert torch.equal(
        read.forget(points, [13]).model.weight, head.forget(points, [13]).model.weight
    )


def test_a_file_of_another_method_is_refused(tmp_path: Path) -> None:
    from erasure.classifiers.exact.trees import RandomForest

    RandomForest(trees=1).fit(blobs(20)).save(tmp_path / "forest.safetensors")
    with pytest.raises(CheckpointError, match="method 'forest', not 'certified'"):
        CertifiedHead.load(tmp_path / "forest.safetensors")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"delta": 1.0}, "delta is 1.0"),
        ({"noise": 0.0}, "noise is 0.0; give more than 0, or loss = 'squared'"),
        ({"radius": 0.0}, "radius is 0.0"),
        ({"when_spent": "ignore"}, "when_spent is 'ignore'"),
    ],
)
def test_settings_are_checked(chosen: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Certified(**chosen)


def test_data_that_cannot_be_meant_is_named() -> None:
    points = blobs(20)
    inputs, labels = table_of(points)
    with pytest.raises(ConfigError, match="there is 1 class"):
        SEEDED.fit(points_of(inputs, torch.zeros_like(labels)))
    with pytest.raises(ConfigError, match="labels run from 0 to 2"):
        SEEDED.fit(points, classes=2)
    head = SEEDED.fit(points)
    with pytest.raises(ConfigError, match="id 11 is not among"):
        head.forget(points, [11])
    with pytest.raises(ConfigError, match="all 20 points"):
        head.forget(points, points.ids.tolist())
    with pytest.raises(ConfigError, match="rows have 4 features; give 5"):
        head.forget(blobs(20, features=4), [10])
    with pytest.raises(ConfigError, match="rows have 4 features; give 5"):
        head.predict_proba(torch.zeros(1, 4))
