"""RECE: its derived features, and its rounds as edits of UCE."""

import pytest
import torch
from support.tiny import assert_same_bits, outside, seeded
from torch import Tensor

from erasure.architectures.unet.scopes import xattn_kv
from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.methods import Uce
from erasure.methods.closed_form import rece
from erasure.methods.closed_form.rece import Rece, answered_alike
from erasure.solving.quadratic import Quadratic
from erasure.solving.vectors import EditVectors, edit_vectors

KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def weights(seed: int) -> dict[str, torch.Tensor]:
    draw = seeded(seed)
    return {n: torch.randn(9, 5, generator=draw, dtype=torch.float64) for n in ("k", "v")}


def test_unedited_weights_are_answered_alike_by_the_features_themselves() -> None:
    concept = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    features = answered_alike(weights(0), weights(0), concept, 0.0)
    torch.testing.assert_close(features, concept, rtol=1e-10, atol=1e-10)


def test_what_is_found_minimises_its_quadratic() -> None:
    now, base = weights(0), weights(7)
    concept = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    features = answered_alike(now, base, concept, 0.3).requires_grad_(True)
    cost = 0.3 * features.square().sum()
    for name, weight in now.items():
        cost = cost + (weight @ features - base[name] @ concept).square().sum()
    (slope,) = torch.autograd.grad(cost, features)
    assert float(slope.norm()) < 1e-10 * float(cost.detach())


def test_no_round_is_uce(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    uce = Uce(tokens="all", preserve_weight=0.1, ridge=0.1)
    one = erase(tiny_checkpoint, prompts, values, Rece(rounds=0))
    assert_same_bits(one.network, erase(tiny_checkpoint, prompts, values, uce).network)


def test_rounds_are_counted_and_move_the_weights_further(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    method = Rece(rounds=2, closeness=1e-3)
    result = erase(tiny_checkpoint, prompts, values, method)
    assert len(result.history) == method.length(values) == 3 * len(values.entries)
    assert [step.index for step in result.history] == list(range(1, len(result.history) + 1))
    plain = erase(tiny_checkpoint, prompts, values, Rece(rounds=0))
    assert not torch.equal(result.network[KEY], plain.network[KEY])


def test_a_round_on_the_concept_s_own_features_is_uce_from_where_the_last_one_left(
    tiny_checkpoint: Checkpoint,
    prompts: ConceptData,
    values: SaliencyMask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rece, "answered_alike", lambda now, base, concept, closeness: concept)
    result = erase(tiny_checkpoint, prompts, values, Rece(rounds=1))
    uce = Uce(tokens="all", preserve_weight=0.1, ridge=0.1)
    once = erase(tiny_checkpoint, prompts, values, uce)
    again = tiny_checkpoint.having("unet", once.network)
    mask = find_mask(again, prompts, "all", scope="xattn-kv")
    twice = erase(again, prompts, mask, uce).network
    for name in values.entries:
        # The first solve was rounded to float32 in between.
        torch.testing.assert_close(result.network[name], twice[name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(twice[name], once.network[name])


@pytest.mark.parametrize(("gathered", "sizes"), [(True, [1, 2, 3]), (False, [1, 1, 1])])
def test_every_gathered_round_edits_what_all_before_it_derived(
    tiny_checkpoint: Checkpoint,
    prompts: ConceptData,
    values: SaliencyMask,
    gathered: bool,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edited: list[int] = []
    problem = Uce.problem

    def noting(self: Uce, vectors: EditVectors) -> Quadratic:
        edited.append(vectors.concept.shape[1])
        return problem(self, vectors)

    monkeypatch.setattr(Uce, "problem", noting)
    erase(tiny_checkpoint, prompts, values, Rece(rounds=2, tokens="last", gathered=gathered))
    assert edited == [2 * size for size in sizes]  # one vector for each of two prompts


def test_gathered_rounds_go_on_erasing_what_was_erased(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    vectors = edit_vectors(prompts, "all")
    base = tiny_checkpoint.network[KEY].double()
    wanted = base @ vectors.instead
    off = [
        float(
            (
                erase(tiny_checkpoint, prompts, values, m).network[KEY].double() @ vectors.concept
                - wanted
            ).norm()
        )
        for m in (Rece(rounds=3, closeness=1e-3, gathered=g) for g in (True, False))
    ]
    assert off[0] < off[1]


def test_the_factors_hold_all_rounds(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    result = erase(tiny_checkpoint, prompts, values, Rece(rounds=2))
    assert result.factors.keys() == values.entries.keys()
    for name, one in result.factors.items():
        rebuilt = (tiny_checkpoint.network[name].double() + one.change()).float()
        # The rounds are added up in another order, which may move the last bit of float32.
        torch.testing.assert_close(rebuilt, result.network[name], rtol=2e-7, atol=1e-9)


def test_under_a_mask_nothing_else_moves(tiny_checkpoint: Checkpoint, prompts: ConceptData) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    result = erase(tiny_checkpoint, prompts, half, Rece(rounds=1))
    unselected = outside(half.entries, result.network)
    assert_same_bits(result.network, dict(tiny_checkpoint.network), unselected)
    assert result.provenance.last.moved > 0
    assert result.factors == {}


def test_under_a_mask_the_last_round_is_the_best_of_the_selected_weights(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    one, two = (erase(tiny_checkpoint, prompts, half, Rece(rounds=n)).network for n in (0, 1))
    now = {name: one[name].double() for name in one if xattn_kv(name)}
    vectors, free = edit_vectors(prompts, "all"), half.entries[KEY]
    alike = answered_alike(now, tiny_checkpoint.network, vectors.concept, 0.1)

    def slope(weight: Tensor) -> Tensor:
        """The slope of what the round minimises, written out, in the weights that are free."""
        w = weight.double().requires_grad_(True)
        change = w - now[KEY]
        cost = (w @ alike - now[KEY] @ vectors.instead).square().sum()
        cost = cost + 0.1 * (change @ vectors.others).square().sum() + 0.1 * change.square().sum()
        return torch.autograd.grad(cost, w)[0][free]

    # Both networks were rounded to float32, 1e-7 of a weight, before the slope is taken.
    assert float(slope(two[KEY]).norm()) < 1e-3 * float(slope(one[KEY]).norm())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rounds": -1}, "rounds is -1"),
        ({"closeness": 0.0}, "closeness is 0"),
        ({"ridge": float("nan")}, "ridge is nan"),
        ({"tokens": "first"}, "tokens is 'first'"),
        ({"preserve_weight": -1.0}, "preserve_weight is -1"),
    ],
)
def test_settings_of_rece_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Rece(**settings)  # type: ignore[arg-type]
