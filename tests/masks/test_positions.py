"""Positions of selected weights, as indices and as bits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import erasure.masks.positions
from erasure.masks.positions import FEW, Positions, positions_of_bits
from erasure.training.weights.selected import SelectedWeights

CPU = torch.device("cpu")


def drawn(size: int, density: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < density


@given(size=st.integers(1, 300), density=st.floats(0.0, 1.0), few=st.sampled_from([0, FEW]))
def test_positions_are_those_of_the_mask(size: int, density: float, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasure.masks.positions, "FEW", few)
        chosen = drawn(size, density)
        indices = Positions.of(chosen, CPU).indices()
    assert indices.tolist() == chosen.nonzero().flatten().tolist()


def test_other_devices_read_the_bits_as_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure.masks.positions, "FEW", 0)
    positions = Positions.of(drawn(1003, 0.5), CPU)
    assert torch.equal(positions_of_bits(positions.places, 1003), positions.indices())


def test_weights_selected_by_bits_move_as_those_selected_by_indices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained() -> torch.Tensor:
        network = torch.nn.Linear(40, 30, bias=False)
        torch.nn.init.constant_(network.weight, 0.5)
        selected = SelectedWeights(network, {"weight": drawn(1200, 0.5).view(30, 40)})
        for step in range(3):
            network(torch.arange(40.0) + step).square().sum().backward()
            torch.optim.SGD(selected.vectors.values(), lr=1e-4).step()
            selected.write_back()
        return network.weight.detach()

    by_indices = trained()
    monkeypatch.setattr(erasure.masks.positions, "FEW", 0)
    assert torch.equal(trained(), by_indices)
    assert not torch.equal(by_indices, torch.full((30, 40), 0.5))


def test_many_positions_take_a_bit_a_weight_and_few_four_bytes_each() -> None:
    size = 4 * FEW
    dense, sparse = drawn(size, 0.5), drawn(size, 0.01)
    assert Positions.of(dense, CPU).places.nbytes == size // 8
    assert Positions.of(sparse, CPU).places.nbytes == 4 * int(sparse.sum())
