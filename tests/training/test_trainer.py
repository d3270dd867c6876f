"""The masked trainer, against straight-line training and through its promises."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import (
    PROMPTS,
    Toy,
    ToyDenoiser,
    assert_same_bits,
    copied,
    outside,
    some_mask,
    toy_batches,
    toy_data,
    toy_schedule,
)
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Denoiser, join
from erasure.diffusion.schedule import NoiseSchedule
from erasure.errors import ConfigError, MaskError, TrainingError
from erasure.methods import GradientAscent, SalUn
from erasure.seeds import generator_for
from erasure.training.objective import Loss, Objective
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.split import Combine

SMALL = TrainConfig(steps=4, batch_size=4, learning_rate=1e-2)


def trainer_of(
    network: nn.Module,
    config: TrainConfig = SMALL,
    objective: Objective[PictureBatch] | None = None,
    *,
    data: ConceptData | None = None,
    mask: dict[str, Tensor] | None = None,
    schedule: NoiseSchedule | None = None,
    combine: Combine | None = None,
) -> MaskedTrainer[PictureBatch]:
    return MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(data, schedule, config.seed),
        mask or some_mask(network),
        objective=objective or SalUn(),
        config=config,
        needs_frozen=True,
        combine=combine,
    )


def trained(config: TrainConfig = SMALL, **settings: Any) -> dict[str, Tensor]:  # noqa: ANN401
    network = Toy()
    list(trainer_of(network, config, **settings).steps())
    return copied(network)


@dataclass
class Recording:
    """Sees every batch and asks for nothing but its size."""

    batches: list[PictureBatch] = field(default_factory=list)
    needs_frozen: bool = False
    cached: list[bool] = field(default_factory=list)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        self.batches.append(batch)
        self.cached.append(torch.is_autocast_cache_enabled())
        predicted = student(batch.forget.x_t, batch.forget.t, batch.forget.condition)
        return Loss(predicted.square().mean(), predicted.new_zeros(()))


def seen(config: TrainConfig, data: ConceptData | None = None) -> dict[str, Tensor]:
    """All samples of a run, in order."""
    record = Recording()
    list(trainer_of(Toy(), config, record, data=data).steps())
    forget = [b.forget for b in record.batches]
    retain = [b.retain for b in record.batches if b.retain is not None]
    tensors = {
        f"{name}.{key}": torch.cat([getattr(part, key) for part in parts])
        for name, parts in (("forget", forget), ("retain", retain))
        for key in ("x_t", "t", "target")
    }
    tensors["forget.condition"] = join([part.condition for part in forget]).tokens
    tensors["retain.condition"] = join([part.condition for part in retain]).tokens
    tensors["instead"] = join([b.replacement for b in record.batches]).tokens
    return tensors


def sample(data: ConceptData, part: str, position: int, seed: int) -> tuple[Tensor, ...]:
    """One training sample from the definition of its stream: x_t, t, noise, prompt, picture."""
    latents = getattr(data, part)
    n = len(latents)
    order = torch.randperm(n, generator=generator_for(seed, f"{part} order", position // n))
    row = int(order[position % n])
    stream = generator_for(seed, part, position)
    t = torch.randint(1000, (1,), generator=stream)
    x_0 = latents.mean[row] + latents.std[row] * torch.randn(2, 4, 4, generator=stream)
    noise = torch.randn(2, 4, 4, generator=stream)
    level = toy_schedule().alphas_cumprod[t]
    x_t = level.sqrt() * x_0 + (1 - level).sqrt() * noise
    return x_t, t, noise, data.prompts.tokens[latents.prompt[row]], torch.tensor(row)


def straight_line_loss(network: nn.Module, data: ConceptData, step: int, alpha: float) -> Tensor:
    """The random-label loss of step `step`, batch 4, seed 0, one sample at a time."""
    total = torch.zeros(())
    for position in range(4 * step, 4 * step + 4):
        x_t, t, _, tokens, row = sample(data, "forget", position, 0)
        pick = int(
            torch.randint(2, (1,), generator=generator_for(0, "forget", position, "replacement"))
        )
        instead = data.prompts.tokens[data.replacements[row, pick]]
        wanted = network(x_t[None], t, instead[None]).detach()
        total = total + (network(x_t[None], t, tokens[None]) - wanted).square().mean() / 4
        x_t, t, noise, tokens, _ = sample(data, "retain", position, 0)
        total = total + alpha * (network(x_t[None], t, tokens[None]) - noise).square().mean() / 4
    return total


def straight_line(config: TrainConfig, alpha: float) -> tuple[dict[str, Tensor], list[float]]:
    """Masked Adam by hand: m, v, bias correction; lr as configured, no decay."""
    network, data = Toy(), toy_data()
    mask = some_mask(network)
    weights = dict(network.named_parameters())
    m = {name: torch.zeros_like(w) for name, w in weights.items()}
    v = {name: torch.zeros_like(w) for name, w in weights.items()}
    history = []
    for step in range(config.steps):
        loss = straight_line_loss(network, data, step, alpha)
        history.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for (name, w), full in zip(weights.items(), gradients, strict=True):
            g = full * mask[name]
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g * g
            m_hat, v_hat = m[name] / (1 - 0.9 ** (step + 1)), v[name] / (1 - 0.999 ** (step + 1))
            w.data -= config.learning_rate * m_hat / (v_hat.sqrt() + 1e-8)
    return copied(network), history


def test_a_step_equals_a_straight_line_implementation() -> None:
    # One step of Adam at a rate of 1e-5 agrees within 1e-6 in float32.
    config = TrainConfig(steps=1, batch_size=4)
    assert config.learning_rate == 1e-5
    expected, (loss,) = straight_line(config, alpha=0.5)
    network = Toy()
    start = copied(network)
    (step,) = trainer_of(network, config, SalUn(alpha=0.5)).steps()
    assert step.loss == pytest.approx(loss, rel=1e-5)
    for name, value in copied(network).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
        moved = value != start[name]
        assert torch.equal(moved, some_mask(network)[name]), name  # all of them, and no other


def test_many_steps_equal_a_straight_line_implementation() -> None:
    expected, losses = straight_line(SMALL, alpha=0.5)
    network = Toy()
    steps = list(trainer_of(network, SMALL, SalUn(alpha=0.5)).steps())
    assert [s.loss for s in steps] == pytest.approx(losses, rel=1e-4)
    for name, value in copied(network).items():
        # Adam divides by the gradient's size, so rounding of 1e-6 becomes 1e-6 of 4 steps of 1e-2.
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)


def test_steps_are_counted_from_one_and_add_up() -> None:
    trainer = trainer_of(Toy(), objective=SalUn(alpha=0.5))
    steps = list(trainer.steps())
    assert [s.index for s in steps] == [1, 2, 3, 4]
    assert all(s.loss == s.forget + s.retain for s in steps)
    assert all(s.forget > 0 and s.retain > 0 for s in steps)
    assert trainer.done == 4
    assert list(trainer.steps()) == []


def test_whoever_iterates_may_stop_and_go_on() -> None:
    network = Toy()
    trainer = trainer_of(network)
    first = [next(trainer.steps()), next(trainer.steps())]
    rest = list(trainer.steps())
    assert [s.index for s in first + rest] == [1, 2, 3, 4]
    assert_same_bits(copied(network), trained())


@settings(max_examples=30)
@given(micro=st.integers(1, 6), clip=st.sampled_from([None, 0.1]))
def test_micro_batches_give_the_full_batch(micro: int, clip: float | None) -> None:
    # With plain SGD a step is proportional to the gradient, so this compares gradients.
    config = TrainConfig(steps=2, batch_size=6, learning_rate=0.1, optimizer="sgd", clip_norm=clip)
    whole, parts = trained(config), trained(replace(config, micro_batch=micro))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-6)


def test_gradients_apart_come_as_that_of_the_forget_loss_and_that_of_the_retain_loss() -> None:
    config = TrainConfig(steps=2, batch_size=4, learning_rate=0.1, optimizer="sgd", micro_batch=2)
    network = Toy()
    trainer = trainer_of(network, config, SalUn(alpha=0.5), combine=lambda forget, retain: forget)
    list(trainer.steps())
    alone = trained(config, objective=SalUn(alpha=0.0))
    for name, value in copied(network).items():
        torch.testing.assert_close(value, alone[name], rtol=0, atol=1e-6)


def test_the_losses_of_a_step_are_those_of_its_whole_batch() -> None:
    config = TrainConfig(steps=1, batch_size=6)
    (whole,) = trainer_of(Toy(), config, SalUn(alpha=0.5)).steps()
    (parts,) = trainer_of(Toy(), replace(config, micro_batch=4), SalUn(alpha=0.5)).steps()
    assert parts.forget == pytest.approx(whole.forget, rel=1e-5)
    assert parts.retain == pytest.approx(whole.retain, rel=1e-5)


@pytest.mark.parametrize("other", [(2, 6, None), (3, 4, 3), (12, 1, 5), (1, 12, None)])
def test_the_samples_do_not_depend_on_how_they_are_cut_into_batches(
    other: tuple[int, int, int | None],
) -> None:
    size, steps, micro = other
    one = seen(TrainConfig(steps=3, batch_size=4))
    two = seen(TrainConfig(steps=steps, batch_size=size, micro_batch=micro))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_samples_depend_on_the_seed() -> None:
    one, two = seen(SMALL), seen(replace(SMALL, seed=1))
    assert not torch.equal(one["forget.x_t"], two["forget.x_t"])
    assert not torch.equal(one["retain.t"], two["retain.t"])


def test_every_picture_is_seen_once_a_pass() -> None:
    data = toy_data(forget=4, retain=6)
    data.forget.std.zero_()
    data.retain.std.zero_()
    level = NoiseSchedule(torch.tensor([1.0]))  # no noise: x_t is the picture
    record = Recording()
    config = TrainConfig(steps=6, batch_size=4)
    list(trainer_of(Toy(), config, record, data=data, schedule=level).steps())
    for part, latents, n in (("forget", data.forget, 4), ("retain", data.retain, 6)):
        rows = [
            int((latents.mean == x).flatten(1).all(dim=1).nonzero())
            for batch in record.batches
            for x in getattr(batch, part).x_t
        ]
        assert len(rows) == 24
        assert all(sorted(rows[k : k + n]) == list(range(n)) for k in range(0, 24, n))


def test_replacements_are_drawn_from_a_picture_s_own_and_all_of_them_in_time() -> None:
    data = toy_data(forget=2)
    table = torch.tensor([[3, 4, 5], [5, 5, 0]])
    data = replace(data, replacements=table)
    trained = seen(TrainConfig(steps=20, batch_size=4), data)
    rows = {tuple(tokens.flatten().tolist()): n for n, tokens in enumerate(data.prompts.tokens)}
    assert len(rows) == PROMPTS

    def row(tokens: Tensor) -> int:
        return rows[tuple(tokens.flatten().tolist())]

    pairs = Counter(
        zip(map(row, trained["forget.condition"]), map(row, trained["instead"]), strict=True)
    )
    assert set(pairs) == {(1, 3), (1, 4), (1, 5), (2, 5), (2, 0)}
    assert pairs[2, 5] > pairs[2, 0] > 0


def test_without_retain_pictures_there_is_no_retain_batch() -> None:
    record = Recording()
    list(trainer_of(Toy(), objective=record, data=toy_data(retain=0)).steps())
    assert all(batch.retain is None for batch in record.batches)
    steps = list(trainer_of(Toy(), data=toy_data(retain=0)).steps())
    assert all(step.retain == 0 for step in steps)


def test_a_frozen_target_stays_where_the_model_was_and_a_moving_one_follows() -> None:
    histories: dict[str, list[Step]] = {}
    for target in ("moving", "frozen"):
        config = TrainConfig(steps=3, batch_size=4, learning_rate=0.05)
        histories[target] = list(trainer_of(Toy(), config, SalUn(target=target)).steps())
    moving, frozen = histories["moving"], histories["frozen"]
    assert moving[0] == frozen[0]
    assert abs(moving[1].forget - frozen[1].forget) > 1e-5

    # The frozen copy answers as the first model did, to the bit, when all is done.
    network, stayed = Toy(), []

    class Watching(SalUn):
        def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
            f = batch.forget
            stayed.append(
                torch.equal(frozen(f.x_t, f.t, f.condition), Toy()(f.x_t, f.t, f.condition.tokens))
            )
            return SalUn.__call__(self, student, frozen, batch)

    list(trainer_of(network, objective=Watching(target="frozen")).steps())
    assert stayed == [True] * 4


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("objective", [SalUn(), SalUn(target="frozen"), GradientAscent()])
def test_unselected_weights_keep_their_bits_under_every_objective_and_optimizer(
    optimizer: str, objective: Objective[PictureBatch]
) -> None:
    # The trainer puts back what weight decay or momentum would move outside the mask.
    network = Toy()
    mask, start = some_mask(network), copied(network)
    config = replace(SMALL, optimizer=optimizer, weight_decay=0.1)
    list(trainer_of(network, config, objective, mask=mask).steps())
    assert_same_bits(copied(network), start, outside(mask))
    assert any((copied(network)[n] != start[n]).any() for n in start)


def test_weights_outside_the_mask_never_have_a_gradient() -> None:
    network = Toy()
    mask = {"text.weight": torch.ones(2, 5, dtype=torch.bool)}
    for _ in trainer_of(network, mask=mask).steps():
        assert [n for n, w in network.named_parameters() if w.requires_grad] == ["text.weight"]
        assert all(w.grad is None for w in network.parameters())


def test_random_label_brings_both_answers_together() -> None:
    network, data = Toy(), toy_data(retain=0)
    config = TrainConfig(steps=60, batch_size=4, learning_rate=2e-2)
    steps = list(trainer_of(network, config, data=data).steps())
    assert steps[0].loss > 1e-3  # the effect is there before
    assert sum(s.loss for s in steps[-10:]) < 0.05 * sum(s.loss for s in steps[:10])


def test_bounded_ascent_stops_where_every_sample_is_saturated() -> None:
    # The bound is below every error from the start: the loss is -bound and nothing moves.
    network = Toy()
    start = copied(network)
    config = replace(SMALL, optimizer="sgd")
    objective = GradientAscent(bound=1e-4)
    steps = list(trainer_of(network, config, objective, data=toy_data(retain=0)).steps())
    assert [s.loss for s in steps] == pytest.approx([-1e-4] * 4)
    assert_same_bits(copied(network), start)


def test_ascent_makes_the_forget_loss_worse_up_to_its_bound() -> None:
    config = TrainConfig(steps=80, batch_size=4, learning_rate=5e-2)
    histories = {
        bound: list(
            trainer_of(Toy(), config, GradientAscent(bound=bound), data=toy_data(retain=0)).steps()
        )
        for bound in (3.0, 0.0)
    }
    assert histories[3.0][0].loss > -3
    assert histories[3.0][-1].loss == pytest.approx(-3)
    assert histories[0.0][-1].loss < -10


def test_a_velocity_model_is_trained_towards_velocities() -> None:
    record = Recording()
    data, schedule = toy_data(), toy_schedule("v_prediction")
    list(trainer_of(Toy(), TrainConfig(steps=1), record, data=data, schedule=schedule).steps())
    one = record.batches[0].retain
    assert one is not None
    x_t, t, noise, *_ = sample(data, "retain", 0, 0)
    torch.testing.assert_close(one.x_t[0], x_t)
    level = schedule.alphas_cumprod[t]
    x_0 = (x_t - (1 - level).sqrt() * noise) / level.sqrt()
    expected = level.sqrt() * noise - (1 - level).sqrt() * x_0
    torch.testing.assert_close(one.target[0], expected, rtol=1e-4, atol=1e-4)  # x_0 is recovered
    weights = [trained(schedule=toy_schedule(kind)) for kind in ("epsilon", "v_prediction")]
    assert not torch.allclose(weights[0]["mix.weight"], weights[1]["mix.weight"])


@dataclass
class Poisoned:
    """Plain until its third call, then not finite: the loss, its gradient, or both."""

    where: str
    calls: int = 0
    needs_frozen: bool = False

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        self.calls += 1
        predicted = student(batch.forget.x_t, batch.forget.t, batch.forget.condition)
        loss = predicted.square().mean()
        if self.calls == 3:
            # The slope of sqrt at 0 is infinite, the value is 0.
            poisoned = {
                "loss": loss * float("nan"),
                "value": loss + float("inf"),  # whose slope is that of the loss
                "gradient": (loss - loss.detach()).sqrt(),
            }
            loss = poisoned[self.where]
        return Loss(loss, loss.new_zeros(()))


@pytest.mark.parametrize("where", ["loss", "value", "gradient"])
def test_what_is_not_finite_stops_the_run_and_leaves_the_weights(where: str) -> None:
    network = Toy()
    trainer = trainer_of(network, objective=Poisoned(where))
    steps = trainer.steps()
    next(steps), next(steps)
    before, moments = copied(network), str(trainer.optimizer.state_dict())
    with pytest.raises(
        TrainingError, match=r"step 3: .*the step was not taken; lower learning_rate"
    ):
        next(steps)
    assert_same_bits(copied(network), before)
    assert str(trainer.optimizer.state_dict()) == moments
    assert trainer.done == 2


def moves(config: TrainConfig) -> list[float]:
    """Euclidean length of each step."""
    network = Toy()
    trainer = trainer_of(network, config)
    lengths, last = [], torch.cat([v.detach().clone() for v in trainer.selected.vectors.values()])
    for _ in trainer.steps():
        now = torch.cat([v.detach().clone() for v in trainer.selected.vectors.values()])
        lengths.append(float((now - last).norm()))
        last = now
    return lengths


def test_the_learning_rate_warms_up_in_even_steps() -> None:
    config = TrainConfig(steps=1, batch_size=4, optimizer="sgd", momentum=0.0, learning_rate=1e-3)
    (full,) = moves(config)
    (first,) = moves(replace(config, warmup=3))
    assert first == pytest.approx(full / 4, rel=1e-3)
    trainer = trainer_of(Toy(), replace(config, steps=5, warmup=3))
    rates = [trainer.optimizer.param_groups[0]["lr"] for _ in trainer.steps()]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_a_large_gradient_is_cut_to_the_norm_and_a_small_one_left() -> None:
    config = TrainConfig(steps=1, batch_size=4, optimizer="sgd", momentum=0.0, learning_rate=1e-2)
    (full,) = moves(config)
    (cut,) = moves(replace(config, clip_norm=full / 1e-2 / 10))
    (left,) = moves(replace(config, clip_norm=full / 1e-2 * 10))
    assert cut == pytest.approx(full / 10, rel=1e-3)
    assert left == full


@pytest.mark.parametrize("target", ["moving", "frozen"])
def test_bf16_passes_train_almost_as_fp32_and_keep_unselected_bits(target: str) -> None:
    network = Toy()
    mask, start = some_mask(network), copied(network)
    config = TrainConfig(steps=2, batch_size=4, learning_rate=0.1, optimizer="sgd")
    exact = trained(config, mask=mask, objective=SalUn(target=target))
    rough = replace(config, precision="bf16")
    list(trainer_of(network, rough, SalUn(target=target), mask=mask).steps())
    assert_same_bits(copied(network), start, outside(mask))
    for name, value in copied(network).items():
        assert value.dtype == torch.float32
        if mask[name].any():
            # bf16 has 8 bits: a few percent of each tensor's move.
            error, move = (value - exact[name]).norm(), (exact[name] - start[name]).norm()
            assert error < 0.1 * move, name
            assert error > 0, name


def test_bf16_keeps_no_cast_weights_from_the_pass_without_gradient() -> None:
    # Before torch 2.10 a weight cast in a pass without gradient was found again in the next pass,
    # which then had no gradient either (pytorch issues 65766 and 112583).
    record = Recording()
    list(trainer_of(Toy(), replace(SMALL, precision="bf16"), record).steps())
    assert record.cached == [False] * 4


def test_a_mask_of_another_network_is_refused() -> None:
    with pytest.raises(MaskError, match="make the mask from this model"):
        trainer_of(Toy(), mask={"nothing": torch.ones(1, dtype=torch.bool)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0; give 1 or more"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; give more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"micro_batch": 9}, "micro_batch is 9; give 1 to 8, the batch_size"),
        ({"micro_batch": 0}, "micro_batch is 0"),
        ({"optimizer": "lion"}, r"optimizer is 'lion'; give one of \('adam', 'adamw', 'sgd'\)"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"warmup": -1}, "warmup is -1; give 0 or more"),
        ({"weight_decay": -0.1}, r"weight_decay is -0\.1"),
        ({"momentum": -0.1}, r"momentum is -0\.1"),
        ({"clip_norm": 0.0}, r"clip_norm is 0\.0; give more than 0, or none"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def test_the_clock_of_the_cosine_starts_after_the_warm_up_and_the_last_step_is_zero() -> None:
    config = TrainConfig(steps=110, learning_rate=1.0, warmup=9, decay="cosine")
    assert [config.rate(n) for n in range(9)] == pytest.approx([n / 10 for n in range(1, 10)])
    # Steps 9 to 109 are a hundred steps of the clock: half way is a half, a quarter cos(pi / 4).
    assert config.rate(9) == 1.0
    assert config.rate(34) == pytest.approx(0.5 + 0.5 * 0.5**0.5)
    assert config.rate(59) == pytest.approx(0.5)
    assert config.rate(109) == pytest.approx(0.0, abs=1e-15)
    constant = replace(config, decay="constant")
    assert [constant.rate(index) for index in (0, 9, 109)] == pytest.approx([0.1, 1.0, 1.0])


@pytest.mark.parametrize(
    ("steps", "warmup", "rates"),
    [
        (1, 0, [1.0]),  # a run of one step moves
        (2, 0, [1.0, 0.0]),
        (3, 0, [1.0, 0.5, 0.0]),
        (4, 1, [0.5, 1.0, 0.5, 0.0]),
        (4, 3, [0.25, 0.5, 0.75, 1.0]),  # one step after the warm-up: nowhere to fall
        (4, 4, [0.2, 0.4, 0.6, 0.8]),  # none after it
        (2, 9, [0.1, 0.2]),
    ],
)
def test_short_runs_have_a_rate_too(steps: int, warmup: int, rates: list[float]) -> None:
    config = TrainConfig(steps=steps, learning_rate=1.0, warmup=warmup, decay="cosine")
    assert [config.rate(n) for n in range(steps)] == pytest.approx(rates, abs=1e-15)
