"""The ranking: exact count, one order over all tensors, ties to the earlier weight."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from erasure.errors import ConfigError, MaskError
from erasure.masks import selection
from erasure.masks.selection import selected_count, top_counts, top_fraction, top_fractions


def reference(scores: dict[str, Tensor], density: float) -> dict[str, Tensor]:
    """The released code's way, with a stable sort: rank of each weight by descending score."""
    flat = torch.cat([value.float().reshape(-1) for value in scores.values()])
    order = torch.argsort(-flat, stable=True)
    ranks = torch.argsort(order)
    chosen = ranks < max(1, int(len(flat) * density))
    parts = chosen.split([value.numel() for value in scores.values()])
    return {n: p.reshape(scores[n].shape) for n, p in zip(scores, parts, strict=True)}


def assert_same(masks: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(masks) == list(wanted)
    for name, entry in wanted.items():
        assert masks[name].dtype == torch.bool
        assert torch.equal(masks[name], entry)


def count(mask: dict[str, Tensor]) -> int:
    return sum(int(entry.sum()) for entry in mask.values())


SCORES = st.lists(
    st.lists(
        st.one_of(
            st.floats(0, width=32, allow_infinity=False, allow_nan=False),
            st.sampled_from([0.0, -0.0, 1.0, 1.0000001, 2.0**-149]),
        ),
        max_size=20,
    ),
    min_size=1,
    max_size=4,
).filter(any)


@given(values=SCORES, density=st.floats(0, 1, exclude_min=True))
def test_the_choice_equals_a_stable_argsort(values: list[list[float]], density: float) -> None:
    scores = {f"w{i}": torch.tensor(row) for i, row in enumerate(values)}
    assert_same(top_fraction(scores, density), reference(scores, density))


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(sum),
    density=st.floats(0.01, 1.0),
    levels=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_count_is_exact_and_ties_go_to_the_earlier_weight(
    sizes: list[int], density: float, levels: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = {
        f"w{i}": torch.randint(0, levels, (n,), generator=draw).float() for i, n in enumerate(sizes)
    }
    mask = top_fraction(scores, density)
    assert count(mask) == max(1, int(sum(sizes) * density))
    assert_same(mask, reference(scores, density))


@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_the_choice_does_not_depend_on_the_chunk(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = torch.Generator().manual_seed(0)
    scores = {n: torch.randint(0, 9, (5, 7), generator=draw).float() for n in "abc"}
    wanted = top_fraction(scores, 0.37)
    monkeypatch.setattr(selection, "CHUNK", chunk)
    assert_same(top_fraction(scores, 0.37), wanted)


def test_several_densities_equal_each_alone_and_contain_each_other() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = {n: torch.rand(40, generator=draw) for n in "ab"}
    densities = [0.5, 0.1, 1.0, 0.11]
    masks = top_fractions(scores, densities)
    for density, mask in zip(densities, masks, strict=True):
        assert_same(mask, top_fraction(scores, density))
    assert all((masks[0][n] | ~masks[1][n]).all() for n in "ab")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_types_are_ranked_as_float32(dtype: torch.dtype) -> None:
    scores = {"w": torch.rand(200, generator=torch.Generator().manual_seed(0)).to(dtype)}
    assert_same(top_fraction(scores, 0.3), reference(scores, 0.3))


def test_the_ranking_is_global_not_per_layer() -> None:
    # A layer whose scores are scaled by 1e6 is selected whole.
    draw = torch.Generator().manual_seed(0)
    scores = {n: torch.rand(10, generator=draw) + 0.01 for n in "abcd"}
    assert not top_fraction(scores, 0.25)["c"].all()
    mask = top_fraction({**scores, "c": scores["c"] * 1e6}, 0.25)
    assert {n: int(entry.sum()) for n, entry in mask.items()} == {"a": 0, "b": 0, "c": 10, "d": 0}


def test_the_sign_of_the_loss_does_not_matter() -> None:
    # The score is the absolute value of the signed sum, so opposite gradients cancel in it.
    first, second = torch.tensor([1.0, -3.0, 2.0, 0.5]), torch.tensor([1.0, 3.0, -5.0, 0.0])
    total = first + second
    assert (first + -first).abs().eq(0).all()
    wanted = {"w": torch.tensor([True, False, True, False])}
    assert_same(top_fraction({"w": total.abs()}, 0.5), wanted)
    assert_same(top_fraction({"w": (-total).abs()}, 0.5), wanted)


def test_shapes_order_and_places_of_the_tensors_are_kept() -> None:
    scores = {
        "z": torch.tensor(5.0),
        "empty": torch.zeros(0, 3),
        "a": torch.arange(6.0).reshape(2, 3).t(),
    }
    mask = top_fraction(scores, 0.3)  # int(7 * 0.3) = 2 of 7; the tie at 5 goes to z
    assert list(mask) == ["z", "empty", "a"]
    assert mask["z"].shape == ()
    assert mask["z"].item()
    assert mask["empty"].shape == (0, 3)
    assert mask["a"].tolist() == [[False, False], [False, False], [False, True]]


@pytest.mark.parametrize(
    ("total", "density", "wanted"),
    [
        (10, 0.3, 3),
        (100, 0.29, 28),
        (1, 0.5, 1),
        (3, 1e-9, 1),
        (7, 1.0, 7),
        (859520964, 0.5, 429760482),
    ],
)
def test_the_count_is_that_of_the_released_code(total: int, density: float, wanted: int) -> None:
    # 100 * 0.29 is 28.999... in double precision, and is cut.
    assert selected_count(total, density) == wanted


def test_density_one_selects_all_and_one_weight_is_selected_at_any_density() -> None:
    assert top_fraction({"w": torch.zeros(5)}, 1.0)["w"].all()
    assert top_fraction({"w": torch.zeros(1)}, 0.001)["w"].all()


def test_counts_go_from_none_to_all() -> None:
    none, one, both = top_counts({"w": torch.tensor([0.0, 0.0])}, [0, 1, 2])
    assert none["w"].tolist() == [False, False]
    assert one["w"].tolist() == [True, False]
    assert both["w"].tolist() == [True, True]
    with pytest.raises(ConfigError, match="3 weights are asked of 2"):
        top_counts({"w": torch.zeros(2)}, [3])


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_density_outside_its_range_is_refused(density: float) -> None:
    with pytest.raises(ConfigError, match="density is"):
        top_fraction({"w": torch.ones(3)}, density)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (float("nan"), "NaN or infinite"),
        (float("inf"), "NaN or infinite"),
        (-float("nan"), "NaN or infinite"),
        (-1e-30, "negative"),
    ],
)
def test_a_score_that_cannot_be_ranked_is_named(bad: float, words: str) -> None:
    with pytest.raises(MaskError, match=f"scores of b hold values that are {words}"):
        top_fraction({"a": torch.ones(3), "b": torch.tensor([1.0, bad])}, 0.5)


def test_a_score_too_large_for_float32_is_refused() -> None:
    with pytest.raises(MaskError, match="too large"):
        top_fraction({"w": torch.tensor([1e300], dtype=torch.float64)}, 0.5)


def test_no_weights_at_all_are_refused() -> None:
    with pytest.raises(MaskError, match="no weights"):
        top_fraction({"w": torch.zeros(0)}, 0.5)


def test_a_negative_zero_is_a_zero_and_the_earlier_one_is_taken() -> None:
    (chosen,) = top_counts({"w": torch.tensor([-0.0, 2.0, -0.0])}, [2])
    assert chosen["w"].tolist() == [True, True, False]


def test_the_scores_are_left_as_they_were() -> None:
    scores = torch.tensor([0.5, -0.0, 3.0], requires_grad=True)
    before = scores.detach().clone()
    top_fraction({"w": scores}, 0.5)
    assert torch.equal(scores.view(torch.int32), before.view(torch.int32))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_chooses_what_the_cpu_chooses() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = {n: torch.randint(0, 1000, (999,), generator=draw).float() for n in "ab"}
    wanted = top_fractions(scores, [0.1, 0.5])
    chosen = top_fractions({n: value.cuda() for n, value in scores.items()}, [0.1, 0.5])
    for one, other in zip(chosen, wanted, strict=True):
        assert all(entry.is_cuda for entry in one.values())
        assert_same({n: entry.cpu() for n, entry in one.items()}, other)
