"""DP-SGD: its accounting is opacus', its step the formula, its promise what the words say."""

import copy
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_classifiers import blobs, network, points_of, table_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.dp_sgd.privacy_guarantee import Guarantee
from erasure.classifiers.exact.dp_sgd.private import PrivateModel, PrivateTraining
from erasure.classifiers.exact.dp_sgd.private_accounting import (
    Accountant,
    Sampling,
    epsilon_of,
    noise_for,
    quiet_opacus,
)
from erasure.classifiers.exact.dp_sgd.private_training import train_privately, trainable_privately
from erasure.classifiers.exact.exact import compared
from erasure.classifiers.exact.points import Points
from erasure.classifiers.progress import Progress, kept_seconds
from erasure.errors import CheckpointError, ConfigError, TrainingError
from pipelines.classifiers.data.data import DataFacts
from pipelines.classifiers.networks.architectures import ModelConfig, make_model

pytest.importorskip("opacus")

RECIPE = TrainingRecipe(
    epochs=2, lr=0.5, batch_size=10, weight_decay=0.0, momentum=0.5, schedule="constant"
)
PRIVATE = PrivateTraining(noise=1.0, recipe=RECIPE, accountant="rdp", seed=0)


def engine_epsilon(points: Points, noise: float, delta: float, mechanism: str) -> float:
    """What opacus' own engine has counted after training with its own loader and loop."""
    from opacus import PrivacyEngine

    inputs, labels = table_of(points)
    model = nn.Sequential(nn.Linear(5, 3))
    with quiet_opacus():
        engine = PrivacyEngine(accountant=mechanism)
        wrapped, optimizer, loader = engine.make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            data_loader=DataLoader(TensorDataset(inputs, labels), batch_size=RECIPE.batch_size),
            noise_multiplier=noise,
            max_grad_norm=1.0,
        )
        for _ in range(RECIPE.epochs):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(wrapped(x), y).backward()
                optimizer.step()
        return float(engine.get_epsilon(delta))


@pytest.mark.parametrize("mechanism", ["rdp", "prv"])
def test_the_accounting_equals_that_of_opacus_engine(mechanism: Accountant) -> None:
    points = blobs(95)
    wanted = engine_epsilon(points, 1.3, 1e-4, mechanism)
    chosen = dataclasses.replace(PRIVATE, noise=1.3, delta=1e-4, accountant=mechanism)
    model = chosen.fit(points, start=network())
    assert model.guarantee == Guarantee(pytest.approx(wanted, rel=1e-9), 1e-4)
    assert model.steps == 20


def test_without_sampling_epsilon_is_that_of_the_gaussian_mechanism() -> None:
    # Renyi divergence of T Gaussian releases of order a: T a / (2 sigma^2), arXiv:1702.07476;
    # converted by arXiv:2004.00010, proposition 12.
    sigma, steps, delta = 3.0, 7, 1e-5
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    epsilon = min(
        steps * a / (2 * sigma**2)
        - (math.log(delta) + math.log(a)) / (a - 1)
        + math.log((a - 1) / a)
        for a in orders
    )
    assert epsilon_of(sigma, 1.0, steps, delta, "rdp") == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.slow
def test_the_noise_keeps_to_the_budget() -> None:
    sampling = Sampling(points=200, batch_size=20, epochs=3)
    noise = noise_for(2.0, sampling.rate, sampling.steps, 1e-4, "rdp")
    spent = epsilon_of(noise, sampling.rate, sampling.steps, 1e-4, "rdp")
    assert 1.98 < spent <= 2.0
    chosen = dataclasses.replace(PRIVATE, noise=None, epsilon=2.0, delta=1e-4)
    model = chosen.fit(blobs(200), start=network())
    assert 1.9 < model.guarantee.epsilon <= 2.0


def test_a_budget_that_no_noise_reaches_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="no noise reaches epsilon 1e-09"):
        noise_for(1e-9, 1.0, 10, 1e-9, "rdp")


def test_sampling_is_that_of_opacus_engine() -> None:
    sampling = Sampling(points=95, batch_size=10, epochs=3)
    assert (sampling.steps_per_epoch, sampling.steps) == (10, 30)
    assert sampling.rate == 1 / 10
    assert sampling.expected == 9  # int(95 / 10), as the engine divides by


def train(points: Points, model: nn.Module, **chosen: float | None) -> nn.Module:
    """Train to the end by the bare loop."""
    settings: dict[str, Any] = {
        "noise": 1e-9,
        "clip": 0.7,
        "physical_batch": None,
        "seed": 0,
    } | chosen
    sampling = Sampling(len(points), RECIPE.batch_size, RECIPE.epochs)
    for _ in train_privately(model.train(), points, RECIPE, sampling, **settings):
        pass
    return model


def plain(points: Points, model: nn.Module, clip: float) -> None:
    """The same, sample by sample, without noise: arXiv:1607.00133, algorithm 1."""
    from erasure.classifiers.exact.stable_draws import key_of, uniforms

    inputs, labels = table_of(points)
    sampling = Sampling(len(points), RECIPE.batch_size, RECIPE.epochs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    for step in range(sampling.steps):
        total = [torch.zeros_like(p) for p in model.parameters()]
        drawn = uniforms(key_of(0, "dp-sgd batch", step), points.ids.numpy()) < sampling.rate
        for place in drawn.nonzero()[0].tolist():
            loss = nn.functional.cross_entropy(model(inputs[[place]]), labels[[place]])
            own = torch.autograd.grad(loss, list(model.parameters()))
            norm = torch.sqrt(sum((g**2).sum() for g in own))
            for whole, part in zip(total, own, strict=True):
                whole += part * min(1.0, clip / float(norm))
        for parameter, gradient in zip(model.parameters(), total, strict=True):
            parameter.grad = gradient / sampling.expected
        optimizer.step()


def convolutions() -> nn.Module:
    """Channels last, as those of the benchmark are."""
    layers = (
        nn.Conv2d(2, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.ReLU(),
    )
    made = nn.Sequential(nn.Unflatten(1, (2, 6, 6)), *layers, nn.Flatten(), nn.Linear(36, 3))
    return made.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(("make", "features"), [(lambda: nn.Linear(5, 3), 5), (convolutions, 72)])
def test_a_step_is_the_mean_of_clipped_gradients(
    make: Callable[[], nn.Module], features: int
) -> None:
    points = blobs(40, features=features)
    ours, wanted = make(), make()
    wanted.load_state_dict(ours.state_dict())
    train(points, ours, clip=0.7)
    plain(points, wanted, clip=0.7)
    # opacus adds 1e-6 to each norm.
    for name, weight in ours.named_parameters():
        other = dict(wanted.named_parameters())[name]
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "vit"])
def test_the_networks_of_the_benchmark_can_be_trained_privately(name: str) -> None:
    facts = DataFacts("image", (1, 28, 28), ("a", "b", "c"), (0.5,), (0.5,))
    model = make_model(ModelConfig(architecture=name, width=0.125), facts, seed=0)
    fit = trainable_privately(model, "replace")
    pictures = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    points = points_of(pictures, torch.tensor([0, 1, 2, 0, 1, 2]))
    settings: dict[str, Any] = {"noise": 1.0, "clip": 1.0, "physical_batch": None, "seed": 0}
    step = next(train_privately(fit, points, RECIPE, Sampling(6, 6, 1), **settings))
    assert step.loss > 0


def test_wrong_gradients_of_single_samples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.grad_sample import GradSampleModule

    right = GradSampleModule.GRAD_SAMPLERS[nn.Linear]

    def swapped(layer: nn.Linear, *arguments: Any) -> dict[nn.Parameter, Tensor]:  # noqa: ANN401
        return {p: -g if p is layer.weight else g for p, g in right(layer, *arguments).items()}

    monkeypatch.setitem(GradSampleModule.GRAD_SAMPLERS, nn.Linear, swapped)
    with pytest.raises(TrainingError, match="do not add up to the gradient of 'weight'"):
        train(blobs(40), nn.Linear(5, 3))


def test_the_noise_has_its_deviation() -> None:
    # Clipped gradients vanish beside the noise: after one step of rate 1 from zero the weights are
    # noise x clip x N(0, 1) / expected batch.
    points = blobs(30, features=2000)
    model = nn.Linear(2000, 3)
    nn.init.zeros_(model.weight)
    sampling, recipe = Sampling(30, 30, 1), dataclasses.replace(RECIPE, epochs=1, lr=1.0)
    settings: dict[str, Any] = {"noise": 500.0, "clip": 0.1, "physical_batch": None, "seed": 3}
    list(train_privately(model, points, recipe, sampling, **settings))
    assert float(model.weight.detach().std()) == pytest.approx(500 * 0.1 / 30, rel=0.05)


def test_batches_in_parts_give_the_same_step() -> None:
    points = blobs(40)
    models = [nn.Linear(5, 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    train(points, models[0], noise=1.0)
    train(points, models[1], noise=1.0, physical_batch=3)
    torch.testing.assert_close(models[0].weight, models[1].weight)  # Sums in another order.


def test_a_step_without_points_still_adds_noise() -> None:
    inputs, labels = table_of(blobs(2))
    points = points_of(inputs, labels, torch.tensor([0, 1]))
    model = nn.Linear(5, 3)
    sampling = Sampling(2, 1, 4)  # Each of 8 batches is empty with chance 1/4.
    settings: dict[str, Any] = {"noise": 1.0, "clip": 1.0, "physical_batch": None, "seed": 0}
    before, empty = model.weight.detach().clone(), 0
    for step in train_privately(model, points, RECIPE, sampling, **settings):
        empty += step.loss == 0
        assert not torch.equal(model.weight, before)
        before = model.weight.detach().clone()
    assert empty


def test_the_same_seed_gives_the_same_bytes_and_none_gives_others() -> None:
    points, start = blobs(40), network()
    models = [PRIVATE.fit(points, start=start) for _ in range(2)]
    assert compared(models[0].weights(), models[1].weights(), 40).passed
    unseeded = dataclasses.replace(PRIVATE, seed=None)
    others = [unseeded.fit(points, start=start) for _ in range(2)]
    assert not compared(others[0].weights(), others[1].weights(), 40).passed
    assert models[0].refit(points).audit(points).passed


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    points = blobs(40)
    recipe = dataclasses.replace(RECIPE, epochs=4)
    chosen = dataclasses.replace(PRIVATE, recipe=recipe)
    whole = chosen.fit(points, start=network())
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chosen.fit(points, start=network(), folder=tmp_path, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["dp-sgd.state"]
    assert kept_seconds(tmp_path) > 0
    resumed = chosen.fit(points, start=network(), folder=tmp_path)
    assert compared(resumed.weights(), whole.weights(), 40).passed
    other = dataclasses.replace(chosen, clip=2.0)
    with pytest.raises(TrainingError, match="belongs to a run with another model"):
        other.fit(points, start=network(), folder=tmp_path)


def test_progress_continues_a_loop_at_a_whole_epoch(tmp_path: Path) -> None:
    points, model = blobs(40), network()
    progress = Progress(tmp_path / "state", "run")
    sampling = Sampling(40, 10, 2)
    settings: dict[str, Any] = {"noise": 1.0, "clip": 1.0, "physical_batch": None, "seed": 0}
    steps = train_privately(model.train(), points, RECIPE, sampling, progress=progress, **settings)
    first = [next(steps) for _ in range(6)]
    steps.close()
    again = train_privately(
        network().train(), points, RECIPE, sampling, progress=progress, **settings
    )
    history = list(again)
    assert history[:4] == first[:4]
    assert [step.index for step in history] == list(range(1, 9))


def test_no_trace_of_opacus_stays_on_the_network() -> None:
    model = PRIVATE.fit(blobs(40), start=network()).network
    assert not model.training
    for parameter in model.parameters():
        assert not hasattr(parameter, "grad_sample")
        assert not parameter.requires_grad
    assert not any(module._backward_hooks for module in model.modules())
    start = network()
    PRIVATE.fit(blobs(40), start=start)
    assert not any(module._backward_hooks for module in start.modules())


def test_private_training_learns() -> None:
    points = blobs(300)
    recipe = dataclasses.replace(RECIPE, epochs=8, batch_size=50)
    chosen = dataclasses.replace(PRIVATE, recipe=recipe)
    inputs, labels = table_of(points)
    said = chosen.fit(points, start=network()).predict_proba(inputs)
    torch.testing.assert_close(said.sum(1), torch.ones(300, dtype=torch.float64))
    assert float((said.argmax(1) == labels).double().mean()) > 0.8


def test_the_bound_for_a_group_is_k_epsilon_and_its_delta() -> None:
    one = Guarantee(0.5, 1e-6)
    assert one.for_group(0) == Guarantee(0.0, 0.0)
    assert one.for_group(1) == Guarantee(0.5, pytest.approx(1e-6))
    three = one.for_group(3)
    assert three.epsilon == 1.5
    assert three.delta == pytest.approx(3 * math.exp(2 * 0.5) * 1e-6)
    assert one.for_group(10_000).delta == 1.0
    assert Guarantee(0.5, 0.0).for_group(4) == Guarantee(2.0, 0.0)


def test_a_group_bound_composes_from_single_ones() -> None:
    # By the definition: P <= e^eps P' + delta, applied k times.
    one, bound = Guarantee(0.3, 1e-5), Guarantee(0.0, 0.0)
    for k in range(1, 6):
        bound = Guarantee(bound.epsilon + 0.3, bound.delta + math.exp(bound.epsilon) * 1e-5)
        assert one.for_group(k).epsilon == pytest.approx(bound.epsilon)
        assert one.for_group(k).delta >= bound.delta * (1 - 1e-12)


def test_a_deletion_touches_nothing_and_says_what_that_means() -> None:
    points = blobs(40)
    model = PRIVATE.fit(points, start=network())
    one = model.forget(points, [10])
    assert one.model.network is model.network
    assert (one.cost.spent, one.cost.saved, one.forgotten) == (0, 1.0, 1)
    assert "the model was not touched" in one.statement
    assert "as from a model trained without the 1 point that left" in one.statement
    assert 10 not in one.model.ids
    three = one.model.forget(points, [13, 16])
    assert three.details["forgotten"] == 3
    assert three.details["epsilon"] == pytest.approx(3 * model.guarantee.epsilon)
    many = three.model.forget(points, points.ids[3:-1].tolist())
    assert "says nothing any more" in many.statement


def test_batchnorm_is_refused_or_replaced() -> None:
    points = blobs(40)
    with pytest.raises(ConfigError, match="so 1 cannot be trained privately; give batchnorm"):
        PRIVATE.fit(points, start=network(batchnorm=True))
    replaced = dataclasses.replace(PRIVATE, batchnorm="replace")
    model = replaced.fit(points, start=network(batchnorm=True))
    kinds = {type(module).__name__ for module in model.network.modules()}
    assert "GroupNorm" in kinds
    assert "BatchNorm1d" not in kinds


def test_frozen_layers_stay_frozen_and_no_batchnorm_hides_among_them() -> None:
    points, start = blobs(40), network(batchnorm=True)
    for layer in start[:2]:  # Its statistics would follow the data all the same.
        layer.requires_grad_(False)
    with pytest.raises(ConfigError, match="so 1 cannot be trained privately"):
        PRIVATE.fit(points, start=start)
    model = dataclasses.replace(PRIVATE, batchnorm="replace").fit(points, start=start)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in model.network.modules())
    assert torch.equal(model.network[0].weight, start[0].weight)
    assert not torch.equal(model.network[-1].weight, start[-1].weight)


class OddParameter(nn.Module):
    """One of its parameters has no part in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_networks_that_opacus_cannot_train_are_one_sentence() -> None:
    points = blobs(40)
    with pytest.raises(TrainingError, match="set requires_grad to False on parameters that"):
        PRIVATE.fit(points, start=OddParameter())
    tracking = nn.InstanceNorm1d(1, affine=True, track_running_stats=True)
    layers = [nn.Unflatten(1, (1, 5)), tracking, nn.Flatten(), nn.Linear(5, 3)]
    with pytest.raises(ConfigError, match="opacus cannot train this network privately"):
        PRIVATE.fit(points, start=nn.Sequential(*layers))


def test_an_audit_counts_again_and_fails_when_tampered_with() -> None:
    points = blobs(40)
    model = PRIVATE.fit(points, start=network())
    audit = model.audit(points)
    assert audit.passed
    assert "no weight was looked at" in audit.statement
    ruined = copy.deepcopy(model.network)
    nn.init.zeros_(next(ruined.parameters()))  # Nothing of it shows, as the statement says.
    assert dataclasses.replace(model, network=ruined).audit(points).passed
    less = dataclasses.replace(
        model, guarantee=Guarantee(model.guarantee.epsilon / 2, model.guarantee.delta)
    )
    assert less.audit(points).differing == ("epsilon",)
    assert not dataclasses.replace(model, steps=2 * model.steps).audit(points).passed


def test_a_model_says_that_its_noise_is_of_no_secure_generator_and_whether_a_seed_was_given(
    tmp_path: Path,
) -> None:
    points, path = blobs(20), tmp_path / "private.safetensors"
    seeded = PRIVATE.fit(points, start=network())
    drawn = dataclasses.replace(PRIVATE, seed=None).fit(points, start=network())
    for model, words in ((seeded, "from a seed that was given"), (drawn, "62 secret bits")):
        model.save(path)
        read = PrivateModel.load(path, network())
        assert read.noise_source == model.noise_source
        assert words in read.noise_source
        assert "not cryptographically secure" in read.noise_source
    assert "the file does not say" in dataclasses.replace(drawn, seeded=None).noise_source


@pytest.mark.parametrize("said", ["yes", [], 2])
def test_a_file_that_does_not_say_true_or_false_of_its_seed_is_refused(
    tmp_path: Path, said: object
) -> None:
    path = tmp_path / "private.safetensors"
    model = PRIVATE.fit(blobs(20), start=network())
    dataclasses.replace(model, seeded=said).save(path)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="to whether a seed was given"):
        PrivateModel.load(path, network())


def test_saving_and_loading_is_the_identity(tmp_path: Path) -> None:
    points = blobs(40)
    replaced = dataclasses.replace(PRIVATE, batchnorm="replace")
    start = network(batchnorm=True)
    model = replaced.fit(points, start=start).forget(points, [10]).model
    model.save(tmp_path / "private.safetensors")
    read = PrivateModel.load(tmp_path / "private.safetensors", start)
    assert compared(read.weights(), model.weights(), 39).passed
    for name in ("classes", "guarantee", "noise", "rate", "steps", "forgotten", "seeded"):
        assert getattr(read, name) == getattr(model, name)
    assert read.settings == dataclasses.replace(replaced, seed=None)  # The seed is not told.
    assert read.ids.tolist() == model.ids.tolist()
    assert read.audit(points).passed
    with pytest.raises(CheckpointError, match="of another network"):
        PrivateModel.load(tmp_path / "private.safetensors", network(features=4))


def test_without_opacus_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PRIVATE.fit(blobs(40), start=network()).save(tmp_path / "private.safetensors")
    for name in [name for name in sys.modules if name.split(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-erasure\[classify\]'"):
        PRIVATE.fit(blobs(40), start=network())
    with pytest.raises(ConfigError, match="dp-sgd needs opacus"):
        PrivateModel.load(tmp_path / "private.safetensors", network())
    with pytest.raises(ConfigError, match="dp-sgd needs opacus"):
        epsilon_of(1.0, 0.1, 10, 1e-5, "rdp")


def test_data_that_cannot_be_meant_is_named() -> None:
    points = blobs(40)
    inputs, labels = table_of(points)
    with pytest.raises(ConfigError, match="dp-sgd trains a network; give `start`"):
        PRIVATE.fit(points)
    with pytest.raises(ConfigError, match="there is no point"):
        PRIVATE.fit(points_of(inputs[:0], labels[:0]), start=network())
    with pytest.raises(ConfigError, match=r"delta is 0.1 and there are 40 points; give less than"):
        dataclasses.replace(PRIVATE, delta=0.1).fit(points, start=network())
    with pytest.raises(ConfigError, match="labels run from 0 to 2"):
        PRIVATE.fit(points, start=network(), classes=2)
    with pytest.raises(ConfigError, match="the network has 2 outputs"):
        PRIVATE.fit(points, start=network(classes=2))
    with pytest.raises(TrainingError, match="the loss is nan"):
        PRIVATE.fit(points_of(inputs * torch.nan, labels), start=network())
    model = PRIVATE.fit(points, start=network())
    with pytest.raises(ConfigError, match="id 11 is not among"):
        model.forget(points, [11])
    with pytest.raises(ConfigError, match="all 40 points"):
        model.forget(points, points.ids.tolist())


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"noise": 0.0}, "noise is 0.0"),
        ({"physical_batch": 0}, "physical_batch is 0"),
        ({"accountant": "gdp"}, "accountant is 'gdp'"),
        ({"batchnorm": "keep"}, "batchnorm is 'keep'"),
    ],
)
def test_settings_are_checked(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(PRIVATE, **chosen)
