"""SalUn is random labels within the salient mask; its soft variant draws changes back."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import seeded
from support.tiny_classifiers import CASES, linear, run, same_bytes, samples, task
from torch import Tensor

from erasure.classifiers import classifier_saliency, unlearn
from erasure.classifiers.methods.gradient.random_label import RandomLabel
from erasure.classifiers.methods.gradient.salun import SalUn, SalUnSoft, soft_threshold
from erasure.masks.masks import all_mask, random_mask, salient_mask

PLAIN: dict[str, Any] = {"epochs": 3, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0}


@pytest.mark.parametrize("name", CASES)
def test_salun_is_random_labels_with_the_salient_mask(name: str) -> None:
    case = CASES[name]
    mask = salient_mask(classifier_saliency(case.model(), case.forget), 0.3)
    one = unlearn(case.model(), case.forget, case.retain, SalUn(density=0.3, **PLAIN))
    other = unlearn(case.model(), case.forget, case.retain, RandomLabel(**PLAIN), mask=mask)
    assert same_bytes(one.model, other.model)
    assert one.unselected_identical is True
    assert one.mask is not None
    assert one.mask.selected == mask.selected
    assert one.mask.info.kind == "salient"


def test_a_given_mask_takes_the_place_of_its_own() -> None:
    case = CASES["mlp"]
    mask = random_mask(dict(case.model().named_parameters()), 0.5, seeded())
    result = unlearn(case.model(), case.forget, case.retain, SalUn(**PLAIN), mask=mask)
    assert result.mask is mask


def test_soft_thresholding_by_hand() -> None:
    changes = {"a": torch.tensor([0.5, -0.2]), "b": torch.tensor([[-0.3], [0.1]])}
    shrunk = soft_threshold(changes, 2)  # the second smallest is 0.2
    torch.testing.assert_close(shrunk["a"], torch.tensor([0.3, 0.0]))
    torch.testing.assert_close(shrunk["b"], torch.tensor([[-0.1], [0.0]]))
    assert all(not value.any() for value in soft_threshold(changes, 4).values())


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_at_least_rank_changes_vanish_and_none_grows(values: list[float], share: float) -> None:
    change, rank = torch.tensor(values), max(1, int(share * len(values)))
    shrunk = soft_threshold({"w": change}, rank)["w"]
    assert int((shrunk == 0).sum()) >= rank
    assert (shrunk.abs() <= change.abs()).all()
    assert (shrunk * change >= 0).all()


def soft(model: torch.nn.Module, share: float, **more: Any) -> Tensor:  # noqa: ANN401
    run(SalUnSoft(share=share, **PLAIN), task(model, samples(5, 0), samples(6, 1), **more))
    return model.weight.detach()


def test_without_a_share_to_draw_back_it_is_random_labels() -> None:
    plain = linear()
    run(RandomLabel(**PLAIN), task(plain, samples(5, 0), samples(6, 1)))
    assert torch.equal(soft(linear(), 0.0), plain.weight)


def test_a_straight_line_writing_gives_the_same_weights() -> None:
    share, ours, model = 0.8, linear(bias=False), linear(bias=False)
    method = SalUnSoft(share=share, **PLAIN)
    given_task = task(model, samples(5, 0), samples(6, 1))
    start = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(3):
        for loss in method.losses(given_task, epoch):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                change = model.weight - start
                rank = int(share * (1 - epoch / 3) * 12)
                tau = change.abs().flatten().sort().values[rank - 1] if rank else 0.0
                model.weight.copy_(start + change.sign() * (change.abs() - tau).clamp(min=0))
    torch.testing.assert_close(soft(ours, share), model.weight.detach())


def test_changes_below_the_threshold_have_the_original_bits() -> None:
    method = SalUnSoft(share=1.0, epochs=1, lr=0.05)  # rank is all weights: everything goes back
    model = linear()
    run(method, task(model, samples(5, 0), samples(6, 1)))
    assert torch.equal(model.weight, linear().weight)


def test_the_soft_variant_shrinks_towards_the_original_within_a_mask() -> None:
    mask = all_mask(dict(linear().named_parameters()))
    torch.testing.assert_close(soft(linear(), 0.5, mask=mask), soft(linear(), 0.5))
    free, drawn = soft(linear(), 0.0) - linear().weight, soft(linear(), 0.9) - linear().weight
    assert drawn.abs().sum() < free.abs().sum()
