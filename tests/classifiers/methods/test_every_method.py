"""What every method must do on every model: forget on a copy, within its mask, from a seed."""

from typing import Any

import pytest
import torch
from support.tiny import copied, seeded
from support.tiny_classifiers import CASES, CLASSES, RECIPE, Case, buffers, same_bytes
from torch.utils.data import DataLoader, TensorDataset

from erasure.classifiers import METHODS, Unlearned, classifier_saliency, make_method, unlearn
from erasure.classifiers.descent import Descent
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask, all_mask, inverse_mask, random_mask, salient_mask

SETTINGS: dict[str, dict[str, Any]] = {
    "retrain": {},
    "ft": {},
    "rl": {},
    "ga": {"lr": 0.01},
    "iu": {},
    "fisher": {},
    "be": {"lr": 0.01},
    "bs": {"lr": 0.01, "image": False},
    "l1-sparse": {},
    "salun": {},
    "salun-soft": {},
    "scrub": {"ascents": 1},
    "ssd": {"alpha": 1.0},
    "bad-teacher": {"lr": 0.01},
}
MASKED = [name for name in SETTINGS if name != "retrain"]
DESCENTS = [name for name in SETTINGS if issubclass(METHODS[name], Descent)]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def forgotten(case: Case, name: str, **more: Any) -> Unlearned:  # noqa: ANN401
    """A run of two epochs, where there are epochs."""
    settings = SETTINGS[name] | ({"epochs": 2} if name in DESCENTS else {})
    settings |= more.pop("settings", {})
    if name == "bs" and case is CASES["text"]:
        pytest.skip("boundary shrink needs inputs that have gradients")
    return unlearn(
        more.pop("model", None) or case.model(),
        case.forget,
        case.retain,
        make_method(name, **settings),
        training=RECIPE,
        **more,
    )


def half(data: DataLoader[Any]) -> DataLoader[Any]:
    x, y = data.dataset.tensors
    return DataLoader(TensorDataset(x.bfloat16(), y), batch_size=data.batch_size)


def masks(case: Case) -> dict[str, SaliencyMask]:
    scores = classifier_saliency(case.model(), case.forget)
    return {
        "salient": salient_mask(scores, 0.3),
        "inverse": inverse_mask(scores, 0.3),
        "random": random_mask(scores, 0.3, seeded()),
    }


@pytest.mark.crossed
@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_changes_a_copy_and_keeps_what_the_model_is(case: Case, name: str) -> None:
    model = case.model()
    before = copied(model)
    indices: list[int] = []
    result = forgotten(case, name, model=model, on_step=lambda step: indices.append(step.index))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    changed = result.model.state_dict()
    assert {k: v.shape for k, v in changed.items()} == {k: v.shape for k, v in before.items()}
    assert all(value.isfinite().all() for value in changed.values())
    assert all(p.requires_grad and p.grad is None for p in result.model.parameters())
    assert not result.model.training
    assert result.moved > 0
    assert result.seconds > 0
    assert indices == [step.index for step in result.steps] == list(range(1, len(indices) + 1))
    assert type(result.model) is type(model)


@pytest.mark.crossed
@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("kind", ["salient", "inverse", "random"])
def test_what_a_mask_leaves_out_keeps_its_bits(case: Case, name: str, kind: str) -> None:
    mask, model = masks(case)[kind], case.model()
    result = forgotten(case, name, model=model, mask=mask)
    assert result.unselected_identical is True
    assert result.mask is mask
    after, moved = dict(result.model.named_parameters()), 0
    for key, old in model.named_parameters():
        differs = old.view(torch.int32) != after[key].view(torch.int32)
        assert not (differs & ~mask.entries[key]).any()
        moved += int(differs.sum())
    assert 0 < moved == result.moved <= mask.selected


@pytest.mark.parametrize("name", ["ft", "ga", "l1-sparse", "rl"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_no_optimiser_and_no_decay_reaches_a_weight_outside(name: str, optimizer: str) -> None:
    case = CASES["cnn"]
    mask, settings = masks(case)["salient"], {"optimizer": optimizer, "weight_decay": 0.1}
    result = forgotten(case, name, mask=mask, settings=settings)
    after = dict(result.model.named_parameters())
    for key, old in case.model().named_parameters():
        assert torch.equal(old[~mask.entries[key]], after[key][~mask.entries[key]])
    assert result.moved > mask.selected / 2


@pytest.mark.crossed
@pytest.mark.parametrize("name", DESCENTS)
def test_a_mask_of_all_weights_is_no_mask(case: Case, name: str) -> None:
    if name == "salun":
        pytest.skip("without a mask it makes one")
    everything = all_mask(dict(case.model().named_parameters()))
    free, masked = forgotten(case, name), forgotten(case, name, mask=everything)
    for one, other in zip(free.model.parameters(), masked.model.parameters(), strict=True):
        # Sums over a vector and over a matrix may round differently in the last bit.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert free.unselected_identical is None


@pytest.mark.crossed
@pytest.mark.parametrize("name", SETTINGS)
def test_a_seed_decides_every_byte(case: Case, name: str) -> None:
    torch.manual_seed(1)
    first = forgotten(case, name, seed=5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = forgotten(case, name, seed=5)
    assert same_bytes(first.model, again.model)
    assert first.steps == again.steps
    torch.manual_seed(1)
    forgotten(case, name, seed=6)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's draws are touched


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("ssd",)])
def test_another_seed_gives_another_model(name: str) -> None:
    case = CASES["mlp"]
    settings = {"samples": 5} if name == "iu" else {}
    one, other = (forgotten(case, name, seed=s, settings=settings) for s in (5, 6))
    assert not same_bytes(one.model, other.model)


@pytest.mark.parametrize("name", MASKED)
def test_frozen_running_statistics_do_not_move(name: str) -> None:
    case = CASES["cnn"]
    start = buffers(case.model())
    end = buffers(forgotten(case, name, batchnorm="frozen").model)
    assert all(torch.equal(value, end[key]) for key, value in start.items())


@pytest.mark.parametrize("name", DESCENTS)
def test_running_statistics_follow_the_batches_otherwise(name: str) -> None:
    case = CASES["cnn"]
    moved = buffers(forgotten(case, name, mask=masks(case)["salient"]).model)
    assert int(moved["norm.num_batches_tracked"]) > 0
    assert not torch.equal(moved["norm.running_mean"], torch.zeros(4))


def test_retraining_takes_no_mask() -> None:
    case = CASES["mlp"]
    with pytest.raises(ConfigError, match="so none can be kept; no mask"):
        forgotten(case, "retrain", mask=masks(case)["salient"])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_says_where_it_comes_from_and_what_it_needs(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.source.startswith("arXiv:")
    assert method.needs <= {"recipe", "per-sample-gradients", "own-training"}
    assert hash(make_method(name)) == hash(make_method(name))
    assert make_method(name) == make_method(name)


@pytest.mark.parametrize("name", MASKED)
def test_half_precision_keeps_its_type_and_its_unselected_bits(name: str) -> None:
    model = CASES["mlp"].model().bfloat16()
    case = Case(CASES["mlp"].build, half(CASES["mlp"].forget), half(CASES["mlp"].retain))
    mask = salient_mask(classifier_saliency(model, case.forget), 0.3)
    result = forgotten(case, name, model=model, mask=mask)
    assert {value.dtype for value in result.model.parameters()} == {torch.bfloat16}
    assert result.unselected_identical is True


def test_the_number_of_logits_stays() -> None:
    case = CASES["mlp"]
    result = forgotten(case, "be")
    assert result.model(torch.zeros(2, 6)).shape == (2, CLASSES)
