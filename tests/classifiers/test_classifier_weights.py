"""What the classifiers added to the shared parts: wider vectors, other layouts, seeded streams."""

import pytest
import torch
from support.tiny import some_mask
from support.tiny_classifiers import CASES, linear
from torch import nn

from erasure.classifiers import make_method, unlearn
from erasure.classifiers.weights import MovingWeights, assign, evaluating, training_mode
from erasure.masks.masks import SaliencyMask
from erasure.seeds import seeded_torch
from erasure.training.update import gradient_norm
from erasure.training.weights.selected import SelectedWeights, differing

CPU = torch.device("cpu")


def test_float64_weights_lose_nothing_by_being_selected() -> None:
    model = linear()
    before = model.weight.detach().clone()
    mask = {"weight": torch.ones(3, 4, dtype=torch.bool)}
    selected = SelectedWeights(model, mask)
    assert selected.vectors["weight"].dtype == torch.float64
    selected.write_back()
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_of_a_model_does_not_matter(layout: torch.memory_format) -> None:
    model = nn.Conv2d(3, 4, 2).to(memory_format=layout)
    before = model.weight.detach().clone()
    mask = some_mask(model)
    selected = SelectedWeights(model, mask)
    with torch.no_grad():
        selected.vectors["weight"].add_(1.0)
    selected.write_back()
    assert model.weight.is_contiguous(memory_format=layout)
    assert torch.equal(model.weight, torch.where(mask["weight"], before + 1, before))


def test_images_in_the_other_layout_are_unlearned_within_their_mask() -> None:
    case = CASES["cnn"]
    model = case.model().to(memory_format=torch.channels_last)
    mask = SaliencyMask(some_mask(model))
    result = unlearn(model, case.forget, case.retain, make_method("ft", epochs=1), mask=mask)
    assert result.unselected_identical


def test_differing_sees_bits() -> None:
    old, new = torch.tensor([0.0, 1.0, float("nan")]), torch.tensor([-0.0, 1.0, float("nan")])
    assert differing(old, new).tolist() == [True, False, False]


def test_modes_come_back_and_statistics_freeze() -> None:
    model = CASES["cnn"].model()
    model.head.eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert model.training
    assert not model.head.training
    training_mode(model, "frozen")
    assert [model.training, model.conv.training, model.norm.training] == [True, True, False]
    training_mode(model, "update")
    assert model.norm.training


def test_a_part_beside_the_model_moves_whole_whatever_the_mask() -> None:
    model, beside = linear(), nn.Linear(2, 1)
    chosen = torch.zeros((3, 4), dtype=torch.bool)
    chosen[0, :2] = True
    weights = MovingWeights(model, SaliencyMask({"weight": chosen}), beside)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.vectors.items()}
    assert shapes == {"weight": (2,), "extra.weight": (1, 2), "extra.bias": (1,)}
    assert float(gradient_norm(weights.vectors.values())) == 0


def test_assigning_writes_selected_entries_alone() -> None:
    model = linear()
    with torch.no_grad():
        model.weight[0, 0] = -0.0
    before = model.weight.detach().clone()
    chosen = torch.zeros((3, 4), dtype=torch.bool)
    chosen[1] = True
    new = {"weight": torch.full((3, 4), 7.0), "bias": torch.full((3,), 7.0)}
    assign(model, new, SaliencyMask({"weight": chosen}))
    assert (model.weight[1] == 7).all()
    assert not differing(before, model.weight)[~chosen].any()
    assert not (model.bias == 7).any()
    assign(model, new, None)
    assert (model.bias == 7).all()


def test_torchs_stream_is_seeded_within_a_block_and_untouched_after_it() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded_torch(CPU, 3, "dropout"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded_torch(CPU, 3, "dropout"):
        assert torch.equal(torch.rand(2), first)
    with seeded_torch(CPU, 3, "other"):
        assert not torch.equal(torch.rand(2), first)
