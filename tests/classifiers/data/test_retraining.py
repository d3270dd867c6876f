"""Training by a recipe, fresh models, and retraining as their sum."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.tiny_classifiers import CASES, RECIPE, Mlp, same_bytes
from torch import Tensor, nn

from erasure.classifiers import Batches, TrainingRecipe, make_method, train_classifier, unlearn
from erasure.classifiers.data.fresh import fresh_model
from erasure.errors import ConfigError


class Positioned(nn.Module):
    """It has a parameter of its own, as the class token of a vision transformer is."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(features))
        self.head = nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.place)


def test_training_is_that_of_torch() -> None:
    case = CASES["mlp"]
    recipe = TrainingRecipe(epochs=3, lr=0.1, batch_size=5, label_smoothing=0.1)
    model, plain = case.model(), case.model()
    data = replace(Batches.of(case.retain), batch_size=5)
    steps = list(train_classifier(model, data, recipe, 7))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * epoch / 3)) / 2
        for batch in data.shuffled(7, "train", epoch):
            loss = F.cross_entropy(plain(batch.inputs), batch.labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert same_bytes(model, plain)
    assert [step.loss for step in steps] == losses
    assert [(step.index, step.epoch) for step in steps] == [
        (n + 1, n // 4 + 1)
        for n in range(12)  # 17 samples by 5
    ]


def test_training_follows_its_own_batch_size_and_the_seed() -> None:
    case = CASES["cnn"]
    one, other, third = case.model(), case.model(), case.model()
    list(train_classifier(one, Batches.of(case.retain), RECIPE, 1))
    list(train_classifier(other, replace(Batches.of(case.retain), batch_size=2), RECIPE, 1))
    list(train_classifier(third, Batches.of(case.retain), RECIPE, 2))
    assert same_bytes(one, other)
    assert not same_bytes(one, third)


@pytest.mark.parametrize("name", CASES)
def test_a_fresh_model_depends_on_the_seed_alone(name: str) -> None:
    case = CASES[name]
    model = case.model(3)
    for parameter in model.parameters():
        parameter.data += 1
    fresh = fresh_model(model, 5)
    assert same_bytes(fresh, fresh_model(case.model(4), 5))
    assert not same_bytes(fresh, fresh_model(model, 6))
    assert not same_bytes(fresh, model)
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_running_statistics_start_fresh() -> None:
    model = CASES["cnn"].model()
    model(torch.rand(5, 1, 6, 6))
    fresh = fresh_model(model, 0)
    assert int(fresh.norm.num_batches_tracked) == 0
    assert torch.equal(fresh.norm.running_mean, torch.zeros(4))


def test_what_was_frozen_was_there_before_the_training() -> None:
    model = CASES["mlp"].model()
    model.hidden.requires_grad_(False)
    fresh = fresh_model(model, 5)
    assert torch.equal(fresh.hidden.weight, model.hidden.weight)
    assert not torch.equal(fresh.head.weight, model.head.weight)


def test_a_layer_that_cannot_be_reset_asks_for_the_function_that_makes_it() -> None:
    model = Positioned()
    with pytest.raises(ConfigError, match="Positioned '' holds parameters and has no reset_par"):
        fresh_model(model, 0)
    fresh = fresh_model(model, 0, Positioned)
    assert same_bytes(fresh, fresh_model(model, 0, Positioned))
    assert not torch.equal(fresh.place, model.place)
    with pytest.raises(ConfigError, match="makes a model with other tensors than the one given"):
        fresh_model(model, 0, lambda: Positioned(7))


@pytest.mark.parametrize("name", CASES)
def test_retraining_is_training_a_fresh_model_on_the_retain_data(name: str) -> None:
    case = CASES[name]
    result = unlearn(
        case.model(), case.forget, case.retain, make_method("retrain"), seed=3, training=RECIPE
    )
    fresh = fresh_model(case.model(), 3)
    steps = tuple(train_classifier(fresh, Batches.of(case.retain), RECIPE, 3))
    assert same_bytes(result.model, fresh)
    assert result.steps == steps


def test_retraining_never_looks_at_the_forget_data_nor_at_the_original() -> None:
    case, method = CASES["mlp"], make_method("retrain")
    one = unlearn(case.model(0), case.forget, case.retain, method, training=RECIPE)
    other = unlearn(case.model(1), CASES["mlp"].forget, case.retain, method, training=RECIPE)
    assert same_bytes(one.model, other.model)


def test_retraining_builds_what_it_cannot_reset() -> None:
    case, method = CASES["mlp"], make_method("retrain")
    result = unlearn(
        Positioned(), case.forget, case.retain, method, training=RECIPE, build=Positioned
    )
    assert isinstance(result.model, Positioned)


def test_retrained_statistics_follow_the_batches_even_where_others_are_frozen() -> None:
    case, method = CASES["cnn"], make_method("retrain")
    common = {"training": RECIPE, "seed": 1}
    one = unlearn(case.model(), case.forget, case.retain, method, batchnorm="frozen", **common)
    other = unlearn(case.model(), case.forget, case.retain, method, **common)
    assert same_bytes(one.model, other.model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is 0; give 1 or more"),
        ({"lr": 0.0}, r"lr is 0\.0; give more than 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"momentum": -1.0}, r"momentum is -1\.0; give 0 or more"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
        ({"optimizer": "lion"}, "optimizer is 'lion'; give one of"),
        ({"schedule": "linear"}, "schedule is 'linear'; give one of"),
        ({"batch_size": 0}, "batch_size is 0; give 1 or more"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1\.0; give 0 to below 1"),
    ],
)
def test_a_recipe_is_checked_when_it_is_made(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainingRecipe(**settings)


def test_the_rates_of_a_recipe() -> None:
    def rates(schedule: str, epochs: int = 8) -> list[float]:
        recipe = TrainingRecipe(epochs=epochs, lr=1.0, schedule=schedule)
        return [recipe.rate(epoch) for epoch in range(epochs)]

    assert rates("constant") == [1.0] * 8
    assert rates("step") == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2)
    assert rates("cosine", 4) == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])
    # The release's milestones, 91 and 136 of 182 epochs, to half an epoch.
    falls = [n for n in range(1, 182) if rates("step", 182)[n] < rates("step", 182)[n - 1]]
    assert falls == [91, 137]


def test_a_model_that_is_all_frozen_is_not_trained() -> None:
    model = Mlp().requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter of the model is trainable"):
        list(train_classifier(model, Batches.of(CASES["mlp"].retain), RECIPE, 0))
