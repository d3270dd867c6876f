"""Only selected weights move: the same values as a masked dense optimizer, and bits kept."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import Toy, assert_same_bits, copied, outside, seeded, some_mask
from torch import Tensor, nn

from erasure.errors import MaskError
from erasure.training.update import gradient_norm
from erasure.training.weights.selected import SelectedWeights, moved_outside

Optimizer = Callable[..., torch.optim.Optimizer]
KINDS: dict[str, tuple[Optimizer, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"lr": 1e-2}),
    "adamw with decay": (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "sgd with momentum and decay": (
        torch.optim.SGD,
        {"lr": 1e-2, "momentum": 0.9, "weight_decay": 5e-4},
    ),
}
STEPS = 6


def losses(network: nn.Module) -> Iterator[Tensor]:
    """A loss a step, of the network as it then is."""
    draw = seeded()
    for _ in range(STEPS):
        x, tokens = torch.randn(3, 2, 4, 4, generator=draw), torch.randn(3, 3, 5, generator=draw)
        yield (network(x, torch.tensor([1, 500, 999]), tokens) - x).square().mean()


def train_selected(network: nn.Module, mask: dict[str, Tensor], kind: str) -> None:
    make, settings = KINDS[kind]
    selected = SelectedWeights(network, mask)
    optimizer = make(selected.vectors.values(), **settings)
    for loss in losses(network):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        selected.write_back()


def train_dense(
    network: nn.Module, mask: dict[str, Tensor], kind: str, *, restore: bool = True
) -> None:
    """The same with full parameters: mask the gradients, step, put the others back."""
    make, settings = KINDS[kind]
    start = copied(network)
    optimizer = make(network.parameters(), **settings)
    for loss in losses(network):
        optimizer.zero_grad()
        loss.backward()
        for name, weight in network.named_parameters():
            weight.grad.mul_(mask[name])
        optimizer.step()
        for name, weight in network.named_parameters():
            if restore:
                weight.data.copy_(torch.where(mask[name], weight.data, start[name]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_selected_weights_move_as_under_a_dense_optimizer_and_the_others_keep_their_bits(
    kind: str, share: float
) -> None:
    # The dense way masks the gradients, takes a step, and puts the other weights back.
    ours, dense = Toy(), Toy()
    mask, start = some_mask(ours, share), copied(ours)
    train_selected(ours, mask, kind)
    train_dense(dense, mask, kind)
    assert_same_bits(copied(ours), start, outside(mask))
    for name, value in copied(dense).items():
        # Fused and looped updates round differently; the moves are about 1e-2.
        torch.testing.assert_close(copied(ours)[name], value, rtol=0, atol=1e-6)
    moved = [(copied(ours)[n] - start[n])[mask[n]].abs() for n in start]
    assert float(torch.cat(moved).max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_masked_gradients_alone_do_not_hold_weights_under_weight_decay(kind: str) -> None:
    # Weight decay moves a weight whose gradient is zero, so the others have to be put back.
    dense = Toy()
    mask, start = some_mask(dense), copied(dense)
    train_dense(dense, mask, kind, restore=False)
    strays = moved_outside(start, copied(dense), mask)
    assert bool(strays) == ("decay" in kind)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), share=st.floats(0.05, 1.0), kind=st.sampled_from(sorted(KINDS)))
def test_no_mask_lets_an_unselected_bit_change(seed: int, share: float, kind: str) -> None:
    network = Toy(seed)
    mask, start = some_mask(network, share, seed), copied(network)
    mask["mix.bias"][0] = True  # at least one
    train_selected(network, mask, kind)
    assert_same_bits(copied(network), start, outside(mask))
    assert moved_outside(start, copied(network), mask) == []


def test_what_the_mask_leaves_out_has_no_gradient_at_all() -> None:
    network = Toy()
    mask = {"text.weight": torch.ones(2, 5, dtype=torch.bool), "out.bias": torch.tensor([0, 0]) > 0}
    SelectedWeights(network, mask)
    next(losses(network)).backward()
    wanting = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert wanting == ["text.weight"]
    assert all(weight.grad is None for weight in network.parameters())


def test_gradients_add_up_over_passes_and_are_the_selected_entries() -> None:
    ours, plain = Toy(), Toy()
    mask = some_mask(ours)
    selected = SelectedWeights(ours, mask)
    for loss, same in zip(losses(ours), losses(plain), strict=True):
        loss.backward()
        same.backward()
    weights = dict(plain.named_parameters())
    norm = torch.cat([weights[name].grad[mask[name]] for name in weights]).norm()
    torch.testing.assert_close(gradient_norm(selected.vectors.values()), norm)
    for name, vector in selected.vectors.items():
        torch.testing.assert_close(vector.grad, weights[name].grad[mask[name]])


def test_weights_without_any_gradient_have_a_norm_of_zero() -> None:
    fresh = SelectedWeights(Toy(), some_mask(Toy()))
    assert float(gradient_norm(fresh.vectors.values())) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_network_keeps_odd_bits_where_nothing_is_selected(
    dtype: torch.dtype,
) -> None:
    network = nn.Linear(4, 3).to(dtype)
    with torch.no_grad():
        network.weight[0] = torch.tensor([float("nan"), -0.0, float("inf"), 1.0])
    mask = {"weight": torch.zeros(3, 4, dtype=torch.bool)}
    mask["weight"][1:, 2:] = True
    start = copied(network)
    selected = SelectedWeights(network, mask)
    assert selected.vectors["weight"].dtype == torch.float32
    with torch.no_grad():
        selected.vectors["weight"].add_(0.5)
    selected.write_back()
    assert_same_bits(copied(network), start, {"weight": ~mask["weight"], "bias": start["bias"] > 9})
    assert moved_outside(start, copied(network), mask) == []
    moved = (start["weight"].float() + 0.5).to(dtype)
    assert torch.equal(network.weight[mask["weight"]], moved[mask["weight"]])


def test_writing_back_without_a_step_changes_nothing() -> None:
    network = Toy()
    start = copied(network)
    SelectedWeights(network, some_mask(network)).write_back()
    assert_same_bits(copied(network), start)


def test_weights_of_another_memory_format_are_written_too() -> None:
    # The flat view of such a weight is a copy, which is not the weight.
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    mask = {"weight": torch.rand(4, 3, 3, 3, generator=seeded()) < 0.5}
    selected, start = SelectedWeights(network, mask), network.weight.detach().clone()
    with torch.no_grad():
        selected.vectors["weight"] += 1
    selected.write_back()
    moved = network.weight.detach() - start
    torch.testing.assert_close(moved, mask["weight"].float())


def test_released_weights_get_their_gradients_again() -> None:
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    selected.release()
    next(losses(network)).backward()
    assert network.mix.weight.grad is not None
    assert all(vector.grad is None for vector in selected.vectors.values())


def test_a_mask_of_another_model_is_refused() -> None:
    with pytest.raises(MaskError, match="names 'other', which this model has not"):
        SelectedWeights(Toy(), {"other": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(MaskError, match=r"'mix.bias' has shape \(3,\), the weight has \(2,\)"):
        SelectedWeights(Toy(), {"mix.bias": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(MaskError, match="selects no weight; choose a larger density"):
        SelectedWeights(Toy(), {"mix.bias": torch.zeros(2, dtype=torch.bool)})


def test_moves_outside_the_mask_are_seen_to_the_last_bit() -> None:
    chosen = {"w": torch.tensor([True, False, False])}
    start = {"w": torch.tensor([1.0, 0.0, float("nan")]), "v": torch.ones(2)}

    def strays(w: list[float], v: list[float]) -> list[str]:
        return moved_outside(start, {"w": torch.tensor(w), "v": torch.tensor(v)}, chosen)

    nan = float("nan")
    assert strays([5.0, 0.0, nan], [1.0, 1.0]) == []
    assert strays([1.0, -0.0, nan], [1.0, 1.0]) == ["w"]
    assert strays([1.0, 0.0, nan], [1.0, 1.0 + 2**-23]) == ["v"]
    assert strays([1.0, 1e-45, nan], [1.0 - 2**-24, 1.0]) == ["w", "v"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8])
def test_another_type_or_shape_counts_as_moved(dtype: torch.dtype) -> None:
    start = {"w": torch.ones(2, 3, dtype=dtype)}
    assert moved_outside(start, {"w": torch.ones(2, 3, dtype=dtype)}, {}) == []
    assert moved_outside(start, {"w": torch.ones(2, 3)}, {}) == ["w"]
    assert moved_outside(start, {"w": torch.ones(3, 2, dtype=dtype)}, {}) == ["w"]
