"""Rounding, pruning and going back to the base: exact on the weights they change."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.attacked import same, tiny_checkpoint, tiny_target, weights_of
from support.models.tiny_flow import write_sd3
from support.tiny import seeded
from torch import Tensor

from erasure.attacks import Budget, Target, make_attack
from erasure.attacks.forward.add_back import towards
from erasure.attacks.forward.pruning import pruned
from erasure.attacks.forward.rounding import fallen_back, rounded, scale_of
from erasure.checkpoints import read_checkpoint
from erasure.errors import ConfigError


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return tiny_target(tiny_checkpoint(tmp_path_factory.mktemp("attacked")))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


@given(bits=st.integers(2, 8), seed=st.integers(0, 20))
def test_rounding_errs_by_half_a_bin_and_leaves_what_is_representable(bits: int, seed: int) -> None:
    weight = normal(3, 4, 2, seed=seed)
    scale = scale_of(weight, bits)
    coarse = rounded(weight, bits)
    assert ((coarse - weight).abs() <= scale / 2 * (1 + 1e-5)).all()
    assert len(coarse[0].unique()) <= 2**bits - 1
    assert torch.equal(rounded(coarse, bits, scale), coarse)


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_rounded_convolution_is_that_of_a_slow_loop(bits: int) -> None:
    weight = normal(3, 2, 2, 2, seed=bits)
    weight[1] *= 100  # each output channel has bins of its own
    most = 2 ** (bits - 1) - 1
    coarse = rounded(weight, bits)
    for channel, made in zip(weight, coarse, strict=True):
        width = max(abs(v) for v in channel.flatten().tolist()) / most
        bins = [round(v / width) for v in channel.flatten().tolist()]
        assert (min(bins), max(bins)) in [(min(bins), most), (-most, max(bins))]  # never -most - 1
        wanted = torch.tensor([n * width for n in bins]).view_as(channel)
        torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-7)


def test_weights_of_two_models_in_one_bin_become_equal_if_the_scale_is_shared() -> None:
    base = torch.tensor([[8.0, 2.1, 1.0]])
    audited = torch.tensor([[7.0, 1.9, 1.0]])  # bins of 8/7 hold 2.1 and 1.9, bins of 1 do too
    scale = scale_of(base, 4)
    assert rounded(base, 4, scale)[0, 1] == rounded(audited, 4, scale)[0, 1]
    assert rounded(base, 4, scale)[0, 1] != rounded(audited, 4)[0, 1]
    assert rounded(base, 4, scale_of(audited, 4))[0, 1] == rounded(audited, 4)[0, 1]
    # Of the two moved weights one falls back with shared bins: 7.0 is nearer to 6.86 than to 8.
    assert fallen_back({"w": audited}, {"w": base}, 4, shared=True) == 0.5
    # With its own bins 1.9 becomes 2 and the base's 2.1 becomes 2.29, within half a bin.
    assert fallen_back({"w": audited}, {"w": base}, 4, shared=False) == 0.5
    assert fallen_back({"w": base}, {"w": base}, 4, shared=True) is None


def test_a_channel_of_zeros_stays_zero() -> None:
    assert torch.equal(rounded(torch.zeros(2, 3), 4), torch.zeros(2, 3))


def test_what_moved_in_a_channel_of_zeros_falls_back_where_it_is_rounded_to_zero() -> None:
    base, audited = torch.zeros(1, 2), torch.tensor([[0.01, 1.0]])  # bins of 1/7
    assert fallen_back({"w": audited}, {"w": base}, 4, shared=False) == 0.5
    assert fallen_back({"w": audited}, {"w": base}, 4, shared=True) == 1.0  # bins of no width


@given(share=st.floats(0, 1), seed=st.integers(0, 9))
def test_pruning_takes_exactly_the_smallest_even_among_ties(share: float, seed: int) -> None:
    weight = torch.randint(1, 4, (5, 7), generator=seeded(seed)).float()
    sparse = pruned(weight, share)
    gone = sparse == 0
    assert int(gone.sum()) == int(share * 35)
    if gone.any() and not gone.all():
        assert weight[gone].max() <= weight[~gone].min()
    assert torch.equal(sparse[~gone], weight[~gone])


def test_each_matrix_is_rounded_and_pruned_by_itself_and_no_vector(target: Target) -> None:
    own = {name: value for name, value in target.learned.items() if value.dim() >= 2}
    sparse = next(iter(make_attack("pruning", shares=(0.3,)).run(target))).payload.weights
    coarse = next(iter(make_attack("rounding", bits=(4,)).run(target))).payload.weights
    assert sparse is not None
    assert coarse is not None
    assert sparse.keys() == coarse.keys() == own.keys() < target.learned.keys()
    for name, value in own.items():
        smallest = value.abs().flatten().sort().values[: int(0.3 * value.numel())]
        gone = value.abs()[sparse[name] == 0].sort().values  # of each layer its own share
        assert torch.equal(gone, smallest), name
        assert max(len(row.unique()) for row in coarse[name].flatten(1)) <= 15


def test_adding_back_nothing_is_the_model_and_all_of_it_the_base_to_the_bit() -> None:
    weight, base = normal(50, 3), normal(50, 3, seed=1) * 1e3
    assert torch.equal(towards(weight, base, 0), weight)
    assert torch.equal(towards(weight, base, 1), base)
    assert not torch.equal(weight + (base - weight), base)  # why the end is a copy
    torch.testing.assert_close(towards(weight, base, 0.5), (weight + base) / 2)


@pytest.mark.parametrize("name", ["rounding", "pruning", "add-back"])
def test_weight_attacks_change_a_payload_and_never_the_model(name: str, target: Target) -> None:
    before = weights_of(target.network)
    attempts = list(make_attack(name).run(target))
    arms = [attempt.arm for attempt in attempts]
    count = len(set(arms))
    assert arms == arms[:count] * len(target.cases)
    assert make_attack(name).estimate(target).draws == len(attempts)
    values: Mapping[str, Tensor] | None = attempts[0].payload.weights
    assert values is not None
    assert values is attempts[count].payload.weights  # shared, so that the runner swaps it once
    name = next(iter(values))
    assert values[name].shape == before[name].shape
    assert same(before, weights_of(target.network))


def test_a_table_of_positions_is_nothing_to_round_prune_or_go_back_to(tmp_path: Path) -> None:
    target = tiny_target(read_checkpoint(write_sd3(tmp_path / "model", t5=False)))
    table = "pos_embed.pos_embed"
    assert table in target.weights
    moved = set(dict(target.network.named_parameters()))
    for name in ("rounding", "pruning", "add-back"):
        values = next(iter(make_attack(name).run(target))).payload.weights
        assert values is not None
        assert moved >= set(values) > {"proj_out.weight"}
        assert table not in values


def test_going_all_the_way_back_gives_every_weight_of_the_base(target: Target) -> None:
    base = tiny_target_with_other_weights(target)
    fields = {name: getattr(target, name) for name in target.__dataclass_fields__}
    attempts = list(make_attack("add-back", shares=(1.0,)).run(Target(**{**fields, "base": base})))
    values = attempts[0].payload.weights
    assert values is not None
    assert same(dict(values), weights_of(base.network))


def tiny_target_with_other_weights(target: Target) -> Target:
    fields = {name: getattr(target, name) for name in target.__dataclass_fields__}
    other = target.copy().requires_grad_(False)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1)
    return Target(**{**fields, "network": other})


def test_a_smaller_budget_gives_the_first_of_the_same_attempts(target: Target) -> None:
    fields = {name: getattr(target, name) for name in target.__dataclass_fields__}
    few = Target(**{**fields, "budget": Budget(4)})
    whole, part = (list(make_attack("rounding").run(t)) for t in (target, few))
    assert [(a.case, a.arm) for a in part] == [(a.case, a.arm) for a in whole[:4]]


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="bits is 1; give 2 to 16"):
        make_attack("rounding", bits=(1,))
    with pytest.raises(ConfigError, match=r"shares is 1.5; give a share from 0 to 1"):
        make_attack("pruning", shares=(1.5,))
    with pytest.raises(ConfigError, match="shares names no value"):
        make_attack("add-back", shares=())
