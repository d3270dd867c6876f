"""Objectives, against their formulas worked out by hand and against plain torch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.tiny import Toy, ToyDenoiser, toy_data, toy_schedule
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.latents import Draw, Noised, noised
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError
from erasure.methods import GradientAscent, SalUn
from erasure.training.objective import Loss


def condition_of(*values: float) -> Condition:
    return Condition({"tokens": torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)})


def linear(a: Tensor) -> Callable[[Tensor, Tensor, Condition], Tensor]:
    """e(x, t, c) = a * c, the same in every element."""
    return lambda x, t, c: (a * c.tokens.mean(dim=(1, 2)))[:, None, None, None].expand_as(x)


def hand_made(forget: list[float], instead: list[float], retain: list[float]) -> PictureBatch:
    """Targets: 10 for what is forgotten, 1 for what is kept."""

    def samples(values: list[float], target: float) -> Noised:
        wanted = torch.full((len(values), 1, 2, 2), target)
        return Noised(
            torch.zeros_like(wanted), torch.zeros(len(values)), wanted, condition_of(*values)
        )

    retained = samples(retain, 1.0) if retain else None
    return PictureBatch(samples(forget, 10.0), condition_of(*instead), retained)


def toy_batch(*, retain: bool = True) -> PictureBatch:
    data, schedule = toy_data(), toy_schedule()
    forget = noised(data.forget, data.prompts, schedule, [Draw(n, (0, "f", n)) for n in range(4)])
    retained = noised(data.retain, data.prompts, schedule, [Draw(n, (0, "r", n)) for n in range(3)])
    return PictureBatch(
        forget, data.prompts[torch.tensor([3, 4, 4, 3])], retained if retain else None
    )


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters())))


class Counting:
    """Counts the samples of each call."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.calls = network, list[tuple[int, bool]]()

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        self.calls.append((len(x_t), torch.is_grad_enabled()))
        return self.network(x_t, t, condition.tokens)


@pytest.mark.parametrize("method", [SalUn(alpha=0.5), GradientAscent(alpha=0.5)])
def test_pictures_to_retain_may_have_another_size(method: SalUn | GradientAscent) -> None:
    a = torch.tensor(2.0)
    batch = hand_made([3, 1], [2, 4], [5])
    assert batch.retain is not None
    larger = replace(
        batch.retain, x_t=torch.zeros(1, 1, 4, 4), target=torch.full((1, 1, 4, 4), 1.0)
    )
    mixed = method(linear(a), linear(a), replace(batch, retain=larger))
    assert mixed == method(linear(a), linear(a), batch)  # the same in every element


def test_random_label_equals_its_formula_on_a_linear_denoiser() -> None:
    # The loss is mean((e_c - e_p)^2) + alpha mean((e_r - n_r)^2). With a = 2 and alpha = 0.5 it has
    # (6 - 4)^2 and (2 - 8)^2 to forget, and 0.5 * (10 - 1)^2 to retain.
    a = torch.tensor(2.0, requires_grad=True)
    loss = SalUn(alpha=0.5)(linear(a), linear(a), hand_made([3, 1], [2, 4], [5]))
    torch.testing.assert_close(loss.forget, torch.tensor((4 + 36) / 2))
    torch.testing.assert_close(loss.retain, torch.tensor(0.5 * 81))
    torch.testing.assert_close(loss.total, torch.tensor(20 + 40.5))
    # Gradient of the first pass only: mean of 2 (6 - 4) 3 and 2 (2 - 8) 1. Through both it were
    # mean of 2 (6 - 4) (3 - 2) and 2 (2 - 8) (1 - 4).
    (slope,) = torch.autograd.grad(loss.forget, a, retain_graph=True)
    assert float(slope) == pytest.approx((12 - 12) / 2)
    (slope,) = torch.autograd.grad(loss.retain, a)
    assert float(slope) == pytest.approx(0.5 * 2 * 9 * 5)


@pytest.mark.parametrize("target", ["moving", "frozen"])
def test_no_gradient_flows_through_the_answer_to_the_replacement(target: str) -> None:
    # Value and gradient are those of mean((e_c - e_p)^2) where e_p is a constant, on a network with
    # every kind of weight.
    student, other, batch = Toy(seed=1), Toy(seed=2), toy_batch()
    loss = SalUn(alpha=0.3, target=target)(ToyDenoiser(student), ToyDenoiser(other), batch)
    f, r = batch.forget, batch.retain
    teacher = student if target == "moving" else other
    wanted = teacher(f.x_t, f.t, batch.replacement.tokens).detach()
    forget = ((student(f.x_t, f.t, f.condition.tokens) - wanted) ** 2).mean()
    retain = 0.3 * ((student(r.x_t, r.t, r.condition.tokens) - r.target) ** 2).mean()
    torch.testing.assert_close(loss.forget, forget)
    torch.testing.assert_close(loss.retain, retain)
    ours, plain = gradients(loss.total, student), gradients(forget + retain, student)
    for one, two in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert all(weight.grad is None for weight in other.parameters())


@pytest.mark.parametrize("retain", [False, True])
def test_nothing_is_forgotten_where_the_replacement_is_the_prompt_itself(retain: bool) -> None:
    # The loss is zero, as both passes see the same x_t. The release draws two posterior samples
    # of a picture, so its loss is above zero here.
    network, batch = Toy(), toy_batch(retain=retain)
    same = replace(batch, replacement=batch.forget.condition)
    loss = SalUn()(ToyDenoiser(network), ToyDenoiser(network), same)
    assert float(loss.forget.detach()) == pytest.approx(0, abs=1e-13)  # squared float32 rounding
    other = SalUn()(ToyDenoiser(network), ToyDenoiser(network), batch)
    assert float(other.forget.detach()) > 1e-4


def test_moving_and_frozen_targets_agree_until_the_student_moves() -> None:
    student, start, batch = Toy(), Toy(), toy_batch()

    def loss(target: str) -> float:
        objective = SalUn(target=target)
        return float(objective(ToyDenoiser(student), ToyDenoiser(start), batch).forget.detach())

    assert loss("moving") == loss("frozen")
    with torch.no_grad():
        student.text.weight.mul_(1.5)
    assert abs(loss("moving") - loss("frozen")) > 1e-3


@pytest.mark.parametrize("target", ["moving", "frozen"])
def test_the_replacement_pass_runs_without_gradient_and_the_rest_in_one_pass(target: str) -> None:
    student, frozen = Counting(Toy()), Counting(Toy())
    objective = SalUn(target=target)
    objective(student, frozen, toy_batch())
    if target == "moving":
        assert (student.calls, frozen.calls) == ([(4, False), (7, True)], [])
    else:
        assert (student.calls, frozen.calls) == ([(7, True)], [(4, False)])
    assert ("frozen" in objective.needs) == (target == "frozen")


def test_what_base_predicts_is_kept_in_place_of_the_noise() -> None:
    # a = 2 in training, 3 before: retain 0.5 * (10 - 15)^2; its gradient reaches `a` alone.
    a, base = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    objective = SalUn(alpha=0.5, kept="base")
    assert "frozen" in objective.needs
    loss = objective(linear(a), linear(base), hand_made([3, 1], [2, 4], [5]))
    torch.testing.assert_close(loss.retain, torch.tensor(0.5 * 25))
    (slope,) = torch.autograd.grad(loss.retain, a)
    assert float(slope) == pytest.approx(0.5 * 2 * (10 - 15) * 5)
    assert base.grad is None
    start = objective(linear(a), linear(a), hand_made([3, 1], [2, 4], [5]))
    assert float(start.retain.detach()) == 0


@pytest.mark.parametrize("objective", [SalUn(alpha=2.0), GradientAscent(alpha=2.0)])
def test_without_retain_data_the_retain_loss_is_zero(
    objective: SalUn | GradientAscent,
) -> None:
    network = Toy()
    denoise = ToyDenoiser(network)
    with_retain = objective(denoise, denoise, toy_batch())
    without = objective(denoise, denoise, toy_batch(retain=False))
    assert float(without.retain) == 0
    torch.testing.assert_close(without.forget, with_retain.forget)
    gradients(without.total, network)


@pytest.mark.parametrize("kind", [SalUn, GradientAscent])
def test_alpha_weighs_the_retain_loss(kind: type[SalUn] | type[GradientAscent]) -> None:
    denoise, batch = ToyDenoiser(Toy()), toy_batch()

    def loss(alpha: float) -> Loss:
        return kind(alpha=alpha)(denoise, denoise, batch)

    torch.testing.assert_close(loss(3.0).retain, 3 * loss(1.0).retain)
    assert float(loss(0.0).retain.detach()) == 0
    torch.testing.assert_close(loss(3.0).forget, loss(0.0).forget)


def test_ascent_equals_its_formula_on_a_linear_denoiser() -> None:
    # a = 2: -((6 - 10)^2 + (2 - 10)^2) / 2 and 1.5 * (10 - 1)^2.
    a = torch.tensor(2.0, requires_grad=True)
    objective = GradientAscent(alpha=1.5, bound=0.0)
    loss = objective(linear(a), linear(a), hand_made([3, 1], [0, 0], [5]))
    torch.testing.assert_close(loss.forget, torch.tensor(-(16.0 + 64) / 2))
    torch.testing.assert_close(loss.retain, torch.tensor(1.5 * 81))
    (slope,) = torch.autograd.grad(loss.forget, a)
    assert float(slope) == pytest.approx(-(2 * -4 * 3 + 2 * -8 * 1) / 2)


def test_unbounded_ascent_climbs_the_diffusion_loss_itself() -> None:
    network, batch = Toy(), toy_batch()
    denoise = ToyDenoiser(network)
    ours = GradientAscent(alpha=0.0, bound=0.0)(denoise, denoise, batch).total
    f = batch.forget
    plain = F.mse_loss(network(f.x_t, f.t, f.condition.tokens), f.target)
    for one, two in zip(gradients(ours, network), gradients(plain, network), strict=True):
        torch.testing.assert_close(one, -two, rtol=1e-4, atol=1e-6)


def test_a_sample_whose_error_has_reached_the_bound_gives_no_gradient() -> None:
    # Errors 16 and 64; the bound stops the second one only, then both.
    for bound, expected in ((20.0, -(2 * -4 * 3) / 2), (10.0, 0.0)):
        a = torch.tensor(2.0, requires_grad=True)
        objective = GradientAscent(bound=bound)
        loss = objective(linear(a), linear(a), hand_made([3, 1], [0, 0], []))
        (slope,) = torch.autograd.grad(loss.total, a)
        assert float(slope) == pytest.approx(expected)
        torch.testing.assert_close(loss.forget, torch.tensor(-(min(16, bound) + bound) / 2))


def test_ascent_needs_no_copy_of_the_model() -> None:
    denoise = Counting(Toy())

    def never(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        raise AssertionError

    GradientAscent()(denoise, never, toy_batch())
    assert denoise.calls == [(7, True)]
    assert "frozen" not in GradientAscent().needs


@pytest.mark.parametrize("objective", [SalUn(), GradientAscent()])
def test_losses_are_float32_whatever_the_model_answers_in(
    objective: SalUn | GradientAscent,
) -> None:
    network = Toy()
    loss = objective(
        lambda x, t, c: network(x, t, c.tokens).bfloat16(),
        lambda x, t, c: network(x, t, c.tokens).bfloat16(),
        toy_batch(),
    )
    assert loss.forget.dtype == loss.retain.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SalUn(alpha=-1), r"alpha is -1; give 0 or more"),
        (lambda: SalUn(target="fixed"), r"target is 'fixed'; give 'moving' or 'frozen'"),
        (lambda: GradientAscent(alpha=-0.5), r"alpha is -0\.5"),
        (lambda: GradientAscent(bound=-1.0), r"bound is -1\.0; give more than 0, or 0 for none"),
    ],
)
def test_settings_are_checked(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
