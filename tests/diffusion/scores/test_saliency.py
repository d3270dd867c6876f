"""The forget loss and the scores: |sum of signed gradients|."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.threads import Member, as_team
from support.tiny import CPU, Toy, ToyDenoiser, copied, seeded, toy_data, toy_schedule
from torch import Tensor, nn

from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import Draw, LatentSet, Noised, noised
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import NoiseSchedule
from erasure.diffusion.scores.saliency import (
    Pass,
    SaliencyConfig,
    accumulate_gradients,
    forget_loss,
    guided,
    saliency_scores,
)
from erasure.errors import ConfigError, TrainingError
from erasure.masks.masks import salient_mask

PLAIN = SaliencyConfig(loss="plain")


class Linear(nn.Module):
    """e(x, t, c) = a * mean(c), the same everywhere, so that gradients are known by hand."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2))

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        means = condition.tokens.mean(dim=(1, 2)).double()
        return (self.a * means)[:, None, None, None].expand_as(x_t)


def condition_of(*values: float) -> Condition:
    return Condition({"tokens": torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)})


def a_batch(target: list[float], condition: Condition) -> Noised:
    wanted = torch.tensor(target).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Noised(torch.zeros_like(wanted), torch.zeros(len(target)), wanted, condition)


def run(network: nn.Module, data: ConceptData, config: SaliencyConfig) -> dict[str, Tensor]:
    for _ in accumulate_gradients(ToyDenoiser(network), data, toy_schedule(), config, device=CPU):
        pass
    return saliency_scores(network, dict(network.named_parameters()))


def test_the_guided_loss_equals_its_formula_and_its_gradient_flows_through_both_passes() -> None:
    # The loss is mean((noise - ((1 + w) e_c - w e_0))^2). With w = 7.5, a = 2, c = 3 and empty = 1
    # the prediction is 8.5 * 6 - 7.5 * 2 = 36; the noise is 10.
    model = Linear(2.0)
    loss = forget_loss(
        model, a_batch([10.0], condition_of(3.0)), condition_of(1.0), SaliencyConfig()
    )
    torch.testing.assert_close(loss, torch.tensor([26.0**2]))
    loss.sum().backward()
    # d/da = 2 (36 - 10) (8.5 * 3 - 7.5 * 1); through the first pass alone it were 2 * 26 * 25.5.
    assert float(model.a.grad) == pytest.approx(2 * 26 * 18)


def test_without_guidance_the_guided_loss_is_the_plain_one() -> None:
    # With g = 1 the guided prediction g e_c - (g - 1) e_0 is e_c.
    network, data = Toy(), toy_data()
    draws = [Draw(n, (0, n)) for n in range(5)]
    batch = noised(data.forget, data.prompts, toy_schedule(), draws)
    empty = data.prompts[torch.tensor([0])]
    denoise = ToyDenoiser(network)
    zero = forget_loss(denoise, batch, empty, SaliencyConfig(guidance_scale=1.0))
    plain = forget_loss(denoise, batch, empty, PLAIN)
    torch.testing.assert_close(zero, plain)
    assert plain.shape == (5,)
    predicted = network(batch.x_t, batch.t, batch.condition.tokens)
    torch.testing.assert_close(plain, ((predicted - batch.target) ** 2).mean(dim=(1, 2, 3)))
    assert not torch.allclose(forget_loss(denoise, batch, empty, SaliencyConfig()), plain)


def test_guidance_extrapolates_from_the_empty_prompt() -> None:
    assert float(guided(torch.tensor(3.0), torch.tensor(1.0), 8.5)) == 1 + 8.5 * (3 - 1)


def opposite_pictures(n: int) -> tuple[ConceptData, NoiseSchedule]:
    """With abar = 0 the velocity target is -x_0 whatever the noise: here m, -m, m, -m..."""
    sign = torch.tensor([1.0, -1.0] * n)[:n].reshape(-1, 1, 1, 1)
    mean = sign * torch.randn(1, 1, 2, 2, generator=seeded())
    forget = LatentSet(mean, torch.zeros_like(mean), torch.ones(n, dtype=torch.int64))
    nothing = LatentSet(mean[:0], mean[:0], forget.prompt[:0])
    data = ConceptData(forget, torch.full((n, 1), 2), nothing, condition_of(0.0, 3.0, 1.0))
    return data, NoiseSchedule(torch.tensor([0.0]), "v_prediction")


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_with_opposite_gradients_cancel(batch_size: int) -> None:
    # Gradients are summed before their absolute value is taken, so opposite ones score nothing.
    # At a = 0 the gradient is -2 c mean(target), opposite for opposite targets.
    model = Linear(0.0)
    config = SaliencyConfig(loss="plain", batch_size=batch_size)
    size = 0.0
    for n in (1, 4):
        data, schedule = opposite_pictures(n)
        for _ in accumulate_gradients(model, data, schedule, config, device=CPU):
            pass
        scores = saliency_scores(model, {"a": model.a})
        if n == 1:
            size = float(scores["a"])
    assert size > 0.1  # each picture by itself matters: the sum of absolute values is not zero
    assert float(scores["a"]) == pytest.approx(0, abs=1e-7)  # rounding within a batch


def test_scores_are_the_absolute_summed_gradients_of_a_slow_loop() -> None:
    # The guided loss and the absolute value of the summed gradient are written out here, one sample
    # a pass.
    network, data, schedule = Toy(), toy_data(), toy_schedule()
    config = SaliencyConfig(draws=2, batch_size=3, seed=4)
    total = {name: torch.zeros_like(w) for name, w in network.named_parameters()}
    for n in range(len(data.forget)):
        for k in range(2):
            one = noised(data.forget, data.prompts, schedule, [Draw(n, (4, "saliency", n, k))])
            conditional = network(one.x_t, one.t, one.condition.tokens)
            unconditional = network(one.x_t, one.t, data.prompts.tokens[:1])
            loss = ((one.target - (8.5 * conditional - 7.5 * unconditional)) ** 2).mean()
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            for name, gradient in zip(total, gradients, strict=True):
                total[name] += gradient / 10
    scores = run(network, data, config)
    for name, value in total.items():
        torch.testing.assert_close(scores[name], value.abs(), rtol=1e-4, atol=1e-5)


def test_loss_and_its_negative_give_the_same_mask() -> None:
    # The release takes the gradient of the negative loss; the absolute value undoes that.
    masks = []
    for sign in (1, -1):
        network, data = Toy(), toy_data()
        draws = [Draw(n, (0, n)) for n in range(5)]
        batch = noised(data.forget, data.prompts, toy_schedule(), draws)
        empty = data.prompts[torch.tensor([0])]
        loss = forget_loss(ToyDenoiser(network), batch, empty, SaliencyConfig()).sum()
        (sign * loss).backward()
        scores = saliency_scores(network, dict(network.named_parameters()))
        masks.append(salient_mask(scores, 0.3).entries)
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


@settings(max_examples=30)
@given(
    batch_size=st.integers(1, 12),
    draws=st.integers(1, 2),
    loss=st.sampled_from(["guided", "plain"]),
)
def test_the_batch_size_changes_scores_only_by_rounding(
    batch_size: int, draws: int, loss: str
) -> None:
    data = toy_data()
    config = SaliencyConfig(draws=draws, batch_size=1, loss=loss)
    one, other = run(Toy(), data, config), run(Toy(), data, replace(config, batch_size=batch_size))
    for name in one:
        # Sums of up to ten gradients of size 100 in another order.
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)


def test_seed_and_draws_change_the_scores() -> None:
    def scores(**settings: int) -> Mapping[str, Tensor]:
        return run(Toy(), toy_data(), SaliencyConfig(**settings))

    plain = scores()
    assert all(torch.equal(plain[name], value) for name, value in scores().items())
    for other in (scores(seed=1), scores(draws=2)):
        assert not torch.allclose(plain["mix.weight"], other["mix.weight"])


def test_a_pass_moves_no_weight_and_leaves_no_gradient() -> None:
    network = Toy()
    before = copied(network)
    scores = run(network, toy_data(), PLAIN)
    assert all(torch.equal(before[name], value) for name, value in copied(network).items())
    assert all(weight.grad is None for weight in network.parameters())
    assert all(value.dtype == torch.float32 for value in scores.values())
    assert all((value >= 0).all() for value in scores.values())


def test_a_weight_without_gradient_scores_zero() -> None:
    model = Linear(1.0)
    forget_loss(
        model, a_batch([10.0], condition_of(3.0)), condition_of(0.0), PLAIN
    ).sum().backward()
    scores = saliency_scores(model, dict(model.named_parameters()))
    assert torch.equal(scores["unused"], torch.zeros(2))
    assert float(scores["a"]) == pytest.approx(2 * 7 * 3)


def test_weights_that_are_not_asked_for_lose_their_gradients_too() -> None:
    network = Toy()
    for _ in accumulate_gradients(
        ToyDenoiser(network), toy_data(), toy_schedule(), PLAIN, device=CPU
    ):
        pass
    assert set(saliency_scores(network, {"mix.bias": network.mix.bias})) == {"mix.bias"}
    assert all(weight.grad is None for weight in network.parameters())


def test_progress_counts_samples() -> None:
    config = SaliencyConfig(loss="plain", draws=2, batch_size=4)
    passes = list(
        accumulate_gradients(ToyDenoiser(Toy()), toy_data(), toy_schedule(), config, device=CPU)
    )
    assert [(p.done, p.total) for p in passes] == [(4, 10), (8, 10), (10, 10)]
    assert all(isinstance(p, Pass) and p.loss > 0 for p in passes)


def test_progress_of_each_process_ends_at_all_samples() -> None:
    def passes(member: Member) -> list[int]:
        data, schedule = opposite_pictures(6)
        config = SaliencyConfig(loss="plain", batch_size=2)
        made = accumulate_gradients(Linear(1.0), data, schedule, config, device=CPU, team=member)
        return [one.done for one in made]

    assert as_team(passes) == [[4, 6], [4, 6]]


def test_a_loss_that_is_not_finite_stops_the_pass() -> None:
    data = toy_data()
    data.forget.mean[3] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan on sample 2; check the checkpoint"):
        run(Toy(), data, SaliencyConfig(batch_size=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "cfg"}, "'cfg'; give 'guided', 'plain' or 'own'"),
        ({"draws": 0}, "draws is 0"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SaliencyConfig(**settings)
