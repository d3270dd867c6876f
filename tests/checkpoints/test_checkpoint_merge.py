"""Unselected weights keep their bytes, whatever training did to them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from erasure.checkpoints import count_moved, merge_selected
from erasure.errors import CheckpointError


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int16 if tensor.element_size() == 2 else torch.int32)


@given(
    seed=st.integers(0, 99),
    base_type=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    trained_type=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_selected_weights_move_and_all_others_keep_their_bits(
    seed: int, base_type: torch.dtype, trained_type: torch.dtype
) -> None:
    draw = torch.Generator().manual_seed(seed)
    base = {n: torch.randn(5, 3, generator=draw).to(base_type) for n in "abc"}
    base["a"][0, 0], base["a"][0, 1] = float("nan"), -0.0
    trained = {n: torch.randn(5, 3, generator=draw).to(trained_type) for n in "abc"}
    selected = {n: torch.rand(5, 3, generator=draw) < 0.5 for n in "ab"}
    selected["a"][0] = False
    merged = merge_selected(base, trained, selected)
    for name in "ab":
        free = selected[name]
        assert merged[name].dtype == base_type
        assert torch.equal(bits(merged[name])[~free], bits(base[name])[~free])
        assert torch.equal(merged[name][free], trained[name].to(base_type)[free])
    assert merged["c"] is base["c"]
    moved = sum(int((bits(merged[n]) != bits(base[n])).sum()) for n in "abc")
    assert count_moved(base, merged) == moved


def test_counting_sees_single_bits_and_is_zero_for_equal_nan() -> None:
    base = {"w": torch.tensor([0.0, float("nan"), 1.0])}
    assert count_moved(base, {"w": base["w"].clone()}) == 0
    assert count_moved(base, {"w": torch.tensor([-0.0, float("nan"), 1.0 + 2**-23])}) == 2
    with pytest.raises(CheckpointError, match=r"differ in names: w"):
        count_moved(base, {})


def test_a_mask_that_does_not_fit_is_refused() -> None:
    base = {"w": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="not in the network: v"):
        merge_selected(base, base, {"v": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(CheckpointError, match=r"mask \[3\]; they must be equal"):
        merge_selected(base, base, {"w": torch.ones(3, dtype=torch.bool)})
