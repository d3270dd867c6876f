"""SPEED: the published formula, its null space, and a mask."""

import pytest
import torch
from support.tiny import assert_same_bits, outside, seeded
from torch import Tensor

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.methods.closed_form.speed import Speed
from erasure.solving.null_space import above_average, centres, perturbed, split
from erasure.solving.vectors import EditVectors, Tokens, edit_vectors

VALUE = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"


def published(base: Tensor, data: ConceptData, method: Speed) -> Tensor:
    """The change as the paper writes it, with inverses of d x d."""
    vectors = edit_vectors(data, method.tokens)
    count, width = len(data.require_texts().forget), len(vectors.concept)
    if method.tokens == "all":
        length = data.prompts.tokens.shape[1]
        own = [n for n in range(vectors.concept.shape[1]) if n % length]
        more = [n for n in range(vectors.others.shape[1]) if n % length]
        vectors = EditVectors(
            vectors.concept[:, own], vectors.instead[:, own], vectors.others[:, more]
        )
    c = vectors.concept @ vectors.concept.T / count
    s = vectors.instead @ vectors.concept.T / count
    free = split(vectors.others, method.threshold).free
    p = free @ free.T
    tokens = data.prompts.tokens[0].double()
    k = torch.cat([tokens[:1], centres(tokens[1:], 3, method.seed)]).T
    identity = torch.eye(width, dtype=torch.float64)
    m = torch.linalg.inv(c @ p + method.ridge * identity)
    inner = k.T @ p @ m @ k + method.empty_slack * torch.eye(k.shape[1], dtype=torch.float64)
    away = identity - m @ k @ torch.linalg.inv(inner) @ k.T @ p
    return base @ (s - c) @ p @ away @ m


def change_of(checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask, m: Speed) -> Tensor:
    result = erase(checkpoint, data, mask, m)
    return result.factors[VALUE].change()


@pytest.mark.parametrize(("tokens", "threshold"), [("last", 0.3), ("all", 3.0)])
@pytest.mark.parametrize("slack", [0.0, 0.5])
def test_the_change_is_the_published_formula(
    tiny_checkpoint: Checkpoint,
    prompts: ConceptData,
    values: SaliencyMask,
    slack: float,
    tokens: Tokens,
    threshold: float,
) -> None:
    method = Speed(filtered=False, threshold=threshold, empty_slack=slack, tokens=tokens)
    change = change_of(tiny_checkpoint, prompts, values, method)
    base = tiny_checkpoint.network[VALUE].double()
    wanted = published(base, prompts, method)
    assert float(wanted.norm()) > 1e-3 * float(base.norm())
    # The published form inverts d x d twice, at a condition number below 1e6.
    torch.testing.assert_close(change, wanted, rtol=1e-7, atol=1e-9 * float(base.norm()))


def test_the_change_is_the_best_of_those_in_the_free_directions(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    method = Speed(filtered=False, threshold=0.3, empty_slack=0.5, ridge=0.2)
    vectors, base = edit_vectors(prompts, "last"), tiny_checkpoint.network[VALUE].double()
    free = split(vectors.others, method.threshold).free
    tokens = prompts.prompts.tokens[0].double()
    empty = torch.cat([tokens[:1], centres(tokens[1:], 3, method.seed)]).T

    def slope(change: Tensor) -> Tensor:
        """The slope of what the docstring minimises, in the free directions."""
        d = change.clone().requires_grad_(True)
        cost = ((base + d) @ vectors.concept - base @ vectors.instead).square().sum(0).mean()
        cost = cost + 0.2 * d.square().sum() + (d @ empty).square().sum() / 0.5
        return torch.autograd.grad(cost, d)[0] @ free

    change = change_of(tiny_checkpoint, prompts, values, method)
    torch.testing.assert_close(change @ free @ free.T, change, rtol=1e-9, atol=1e-9)
    assert float(slope(change).norm()) < 1e-9 * float(slope(torch.zeros_like(base)).norm())


def test_what_is_kept_and_the_empty_prompt_are_answered_as_before(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    method = Speed(filtered=False, threshold=1e-6)
    change = change_of(tiny_checkpoint, prompts, values, method)
    vectors = edit_vectors(prompts, "last")
    first = prompts.prompts.tokens[0, :1].double().T
    # Directions with an eigenvalue below the threshold are free: 1e-6 leaves a part of 1e-3.
    assert float((change @ vectors.others).norm()) < 2e-3 * float((change @ vectors.concept).norm())
    assert float((change @ first).norm()) < 1e-10 * float((change @ vectors.concept).norm())


def test_keys_stay_unless_they_are_asked_for(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    key = VALUE.replace("to_v", "to_k")
    for keys in (False, True):
        method = Speed(keys=keys, filtered=False, threshold=0.3)
        result = erase(tiny_checkpoint, prompts, values, method)
        assert torch.equal(result.network[key], tiny_checkpoint.network[key]) is not keys
        assert len(result.history) == method.length(values)


def test_under_a_mask_rows_are_the_best_that_leave_what_is_held_alone(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    method = Speed(ridge=0.01, filtered=False, threshold=0.3, empty_slack=0.5)
    result = erase(tiny_checkpoint, prompts, half, method)
    unselected = outside(half.entries, result.network)
    assert_same_bits(result.network, dict(tiny_checkpoint.network), unselected)
    base = tiny_checkpoint.network[VALUE].double()
    change = result.network[VALUE].double() - base
    held = split(edit_vectors(prompts, "last").others, method.threshold).held
    assert float(change.norm()) > 1e-5 * float(base.norm())
    # A ridge 1e8 times r leaves about 1e-4 of a change in the held directions, and float32 rounds.
    assert float((change @ held).norm()) < 1e-3 * float(change.norm())


def test_where_nothing_is_free_it_says_so(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    with pytest.raises(ConfigError, match="none is left to erase in; raise threshold"):
        erase(tiny_checkpoint, prompts, values, Speed(filtered=False, threshold=1e-300))


def test_the_projector_is_symmetric_and_idempotent() -> None:
    others = torch.randn(6, 3, generator=seeded(0), dtype=torch.float64)
    parts = split(others, 1e-9)
    assert (parts.free.shape, parts.held.shape) == ((6, 3), (6, 3))
    p = parts.free @ parts.free.T
    torch.testing.assert_close(p @ p, p, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(p.T, p, rtol=1e-12, atol=1e-12)
    assert float((p @ others).norm()) < 1e-9


def test_copies_are_answered_almost_alike_and_drawn_by_the_seed() -> None:
    draw = seeded(0)
    weight = torch.randn(8, 4, generator=draw, dtype=torch.float64)
    weight[:, 2] *= 1e-6
    vectors = torch.randn(4, 3, generator=draw, dtype=torch.float64)
    made = perturbed(vectors, weight, 2, seed=5)
    assert made.shape == (4, 6)
    assert float((made - vectors.repeat(1, 2)).norm()) > 0.1
    assert float((weight @ (made - vectors.repeat(1, 2))).norm()) < 1e-4
    assert torch.equal(made, perturbed(vectors, weight, 2, seed=5))
    assert not torch.equal(made, perturbed(vectors, weight, 2, seed=6))


def test_what_an_edit_hardly_moves_is_not_kept() -> None:
    vectors = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    change = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(above_average(vectors, change), vectors[:, 2:])


def test_centres_are_means_of_groups() -> None:
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]], dtype=torch.float64)
    means = centres(points, 2, seed=0)
    assert sorted(means.tolist()) in (
        [[0.0, 0.5], [9.0, 0.5]],
        [[4.5, 0.0], [4.5, 1.0]],
    )
    assert len(centres(points[:1].repeat(5, 1), 3, seed=0)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 0.0}, "threshold is 0"),
        ({"ridge": -1.0}, "ridge is -1"),
        ({"empty_slack": float("nan")}, "empty_slack is nan"),
        ({"copies": -1}, "copies is -1"),
        ({"tokens": "none"}, "tokens is 'none'"),
    ],
)
def test_settings_of_speed_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Speed(**settings)  # type: ignore[arg-type]


def test_what_is_held_besides_has_copies_that_no_prompt_has(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    vectors, base = edit_vectors(prompts, "last"), tiny_checkpoint.network[VALUE].double()
    gap = vectors.instead - vectors.concept
    near = Speed(copies=0)._kept(base, vectors, gap, 0)
    more = Speed(copies=4)._kept(base, vectors, gap, 0)
    assert torch.equal(more[:, : near.shape[1]], near)
    copies = more[:, near.shape[1] :]
    assert copies.shape[1] > 0
    assert float(torch.cdist(copies.T, vectors.others.T).min()) > 0
