"""What a mask of single weights means to factors of whole layers."""

import pytest
import torch
from torch import Tensor

from erasure.errors import ConfigError
from erasure.lora.module_mask import module_mask
from erasure.masks.masks import SaliencyMask
from erasure.training.weights.low_rank import LowRank

WEIGHTS = {
    "a.weight": torch.empty(2, 5),
    "a.bias": torch.empty(2),
    "b.weight": torch.empty(4, 5),
    "c.weight": torch.empty(2, 1, 2, 2),
    "norm.weight": torch.empty(3),
}


def mask_of(**counts: int) -> SaliencyMask:
    entries: dict[str, Tensor] = {}
    for name, weight in WEIGHTS.items():
        flat = torch.zeros(weight.numel(), dtype=torch.bool)
        flat[: counts.get(name.replace(".", "_"), 0)] = True
        entries[name] = flat.view(weight.shape)
    return SaliencyMask(entries)


def test_layers_are_taken_by_their_share_until_they_hold_as_many_weights() -> None:
    # Shares: a 6 of 10, b 4 of 20, c 5 of 8; 15 weights are wanted, c and a hold 18.
    made = module_mask(mask_of(a_weight=6, b_weight=4, c_weight=5), WEIGHTS, LowRank())
    assert made.layers == ("a.weight", "c.weight")
    assert made.mask.counts() == {
        "a.weight": 10, "a.bias": 0, "b.weight": 0, "c.weight": 8, "norm.weight": 0
    }  # fmt: skip
    assert made.left_out == ()
    assert made.said == "factors of rank 8 move 2 of 3 layers"


def test_of_equal_shares_the_earlier_layer_comes_first() -> None:
    made = module_mask(mask_of(a_weight=5, c_weight=4), WEIGHTS, LowRank())
    assert made.layers == ("a.weight",)


def test_a_mask_of_all_weights_chooses_every_layer_and_says_what_stays() -> None:
    everything = {name: torch.ones_like(w, dtype=torch.bool) for name, w in WEIGHTS.items()}
    made = module_mask(SaliencyMask(everything), WEIGHTS, LowRank(rank=2))
    assert made.layers == ("a.weight", "b.weight", "c.weight")
    assert made.left_out == ("a.bias", "norm.weight")
    assert made.said == (
        "factors of rank 2 move 3 of 3 layers; 2 biases, norms and tables that the mask selects "
        "have no factors and stay"
    )


def test_it_is_as_it_was_when_it_is_done_again() -> None:
    once = module_mask(mask_of(a_weight=6, b_weight=4, c_weight=5), WEIGHTS, LowRank())
    twice = module_mask(once.mask, WEIGHTS, LowRank())
    assert twice.layers == once.layers
    assert all(torch.equal(twice.mask.entries[n], e) for n, e in once.mask.entries.items())


def test_a_dense_mask_stays_but_for_what_has_no_factors() -> None:
    mask = mask_of(a_weight=6, a_bias=1, c_weight=5)
    made = module_mask(mask, WEIGHTS, LowRank(masked="dense"))
    assert made.layers == ("a.weight", "c.weight")
    assert made.mask.counts()["a.weight"] == 6
    assert made.mask.counts()["a.bias"] == 0
    assert "their change cut down to the mask" in made.said


def test_a_mask_without_any_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="selects no weight of a linear or convolution layer"):
        module_mask(mask_of(a_bias=2, norm_weight=1), WEIGHTS, LowRank())
