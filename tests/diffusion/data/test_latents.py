"""Random streams, and the samples that are drawn from encoded pictures."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import CHANNELS, SIDE, seeded, toy_condition, toy_data, toy_latents, toy_schedule

from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import Draw, LatentSet, noised
from erasure.diffusion.data.shuffling import shuffled
from erasure.diffusion.denoiser import Condition, join
from erasure.diffusion.schedule import NoiseSchedule
from erasure.errors import ConfigError
from erasure.seeds import derived_seed, generator_for, initial_noise


def test_a_derived_seed_is_the_same_for_ever() -> None:
    # Another value here means that no published seed gives its result any more.
    assert derived_seed(0, "saliency", 3, 1) == 436502543906463454


def test_derived_seeds_differ_by_every_part_of_the_key() -> None:
    keys = [(0,), ("0",), (0, 0), (0, "a"), (0, "b"), ("a", 0), (1, "a"), (0, "a", 0), (-1,)]
    assert len({derived_seed(*key) for key in keys}) == len(keys)
    assert all(0 <= derived_seed(*key) < 2**63 for key in keys)


def test_equal_keys_give_equal_streams_and_leave_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    one, other = (torch.randn(4, generator=generator_for(1, "x")) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=5))
def test_initial_noise_of_a_seed_is_the_same_in_any_batch(seeds: list[int]) -> None:
    together = initial_noise(seeds, (2, 3))
    alone = torch.cat([initial_noise([seed], (2, 3)) for seed in seeds])
    assert torch.equal(together, alone)


@given(n=st.integers(1, 9), passes=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_shuffled_row_covers_each_pass_exactly_once(n: int, passes: int, seed: int) -> None:
    row = shuffled(n, 0, n * passes, seed, "x")
    for start in range(0, n * passes, n):
        assert sorted(row[start : start + n]) == list(range(n))


@given(n=st.integers(1, 9), start=st.integers(0, 40), count=st.integers(0, 20))
def test_any_piece_of_the_shuffled_row_is_that_piece_of_the_whole(
    n: int, start: int, count: int
) -> None:
    assert shuffled(n, start, count, 7) == shuffled(n, 0, start + count, 7)[start:]


def test_passes_are_shuffled_anew_and_by_their_key() -> None:
    row = shuffled(50, 0, 100, 0)
    assert row[:50] != row[50:]
    assert row[:50] != shuffled(50, 0, 50, 1)
    assert row[:50] != sorted(row[:50])


def draws(rows: list[int]) -> list[Draw]:
    return [Draw(row, (0, "test", n)) for n, row in enumerate(rows)]


def test_a_draw_is_a_time_step_then_a_posterior_sample_then_noise_of_its_own_stream() -> None:
    latents, prompts, schedule = toy_latents(3, [1, 2], 0), toy_condition(), toy_schedule()
    batch = noised(latents, prompts, schedule, [Draw(2, (5, "x")), Draw(0, (5, "y"))])
    for n, (picture, key) in enumerate([(2, (5, "x")), (0, (5, "y"))]):
        stream = generator_for(*key)
        t = int(torch.randint(1000, (1,), generator=stream))
        sample = torch.randn(CHANNELS, SIDE, SIDE, generator=stream)
        noise = torch.randn(CHANNELS, SIDE, SIDE, generator=stream)
        x_0 = latents.mean[picture] + latents.std[picture] * sample
        level = schedule.alphas_cumprod[t]
        assert int(batch.t[n]) == t
        assert torch.equal(batch.target[n], noise)
        expected = level.sqrt() * x_0 + (1 - level).sqrt() * noise
        torch.testing.assert_close(batch.x_t[n], expected)
        tokens = prompts.tokens[latents.prompt[picture]]
        assert torch.equal(batch.condition.tokens[n], tokens)


@given(rows=st.lists(st.integers(0, 3), min_size=1, max_size=8), cut=st.integers(0, 8))
def test_a_draw_is_the_same_in_any_batch(rows: list[int], cut: int) -> None:
    latents, prompts = toy_latents(4, [1, 2], 0), toy_condition()
    schedule = toy_schedule("v_prediction")
    whole = noised(latents, prompts, schedule, draws(rows))
    parts = [p for p in (draws(rows)[:cut], draws(rows)[cut:]) if p]
    pieces = [noised(latents, prompts, schedule, part) for part in parts]
    for field in ("x_t", "t", "target"):
        assert torch.equal(getattr(whole, field), torch.cat([getattr(p, field) for p in pieces]))
    assert torch.equal(whole.condition.tokens, join([p.condition for p in pieces]).tokens)


def test_time_steps_cover_the_schedule() -> None:
    batch = noised(toy_latents(1, [1], 0), toy_condition(), toy_schedule(steps=4), draws([0] * 80))
    assert set(Counter(batch.t.tolist())) == {0, 1, 2, 3}


def test_half_precision_latents_are_sampled_in_float32() -> None:
    full = toy_latents(2, [1], 0)
    half = LatentSet(full.mean.half(), full.std.half(), full.prompt)
    batch = noised(half, toy_condition(), NoiseSchedule(torch.tensor([0.5])), draws([0, 1]))
    assert batch.x_t.dtype == batch.target.dtype == torch.float32


def test_conditions_are_indexed_joined_and_moved_tensor_by_tensor() -> None:
    tokens = torch.randn(3, 2, 2, generator=seeded())
    size = torch.arange(3.0)[:, None]
    condition = Condition({"tokens": tokens, "size": size})
    picked = condition[torch.tensor([2, 0])]
    assert len(picked) == 2
    assert torch.equal(picked.tensors["size"], size[[2, 0]])
    both = join([condition, picked])
    assert torch.equal(both.tokens, tokens[[0, 1, 2, 2, 0]])
    assert torch.equal(both.tensors["size"], size[[0, 1, 2, 2, 0]])
    assert both.added.keys() == {"size"}
    cast = both.to(torch.device("cpu"), torch.float64)
    assert cast.tokens.dtype == cast.tensors["size"].dtype == torch.float64


def test_a_model_of_labels_needs_no_tokens_and_labels_are_never_cast() -> None:
    # bf16 has no 257, so a label that is cast names another class.
    labels = Condition({"labels": torch.tensor([257, 3, 5]), "drop": torch.tensor([True] * 3)})
    for dtype in (torch.bfloat16, torch.float64):
        moved = join([labels[torch.tensor([0, 2])], labels]).to(torch.device("cpu"), dtype)
        assert moved.tensors["labels"].tolist() == [257, 5, 257, 3, 5]
        assert moved.tensors["labels"].dtype == torch.int64
        assert moved.tensors["drop"].dtype == torch.bool
    with pytest.raises(ConfigError, match="has labels, drop and no tokens"):
        _ = labels.tokens


def test_samples_of_a_model_of_labels_are_drawn_as_any_other() -> None:
    labels = Condition({"labels": torch.arange(6)})
    batch = noised(toy_latents(2, [4, 5], 0), labels, toy_schedule(), draws([0, 1]))
    moved = batch.to(torch.device("cpu"), torch.bfloat16)
    assert moved.condition.tensors["labels"].tolist() == [4, 5]
    assert moved.condition.tensors["labels"].dtype == torch.int64


def test_conditions_that_do_not_fit_are_refused() -> None:
    tokens, other = torch.zeros(3, 2, 2), torch.zeros(2, 1)
    with pytest.raises(ConfigError, match="'tokens': 3, 'size': 2"):
        Condition({"tokens": tokens, "size": other})
    with pytest.raises(ConfigError, match="a condition has no tensor"):
        Condition({})
    whole = Condition({"tokens": tokens, "size": torch.zeros(3, 1)})
    for pair in ([whole, Condition({"tokens": tokens})], [Condition({"tokens": tokens}), whole]):
        with pytest.raises(ConfigError, match="cannot be joined"):
            join(pair)


def test_moving_a_batch_keeps_its_time_steps_whole_numbers() -> None:
    batch = noised(toy_latents(2, [1], 0), toy_condition(), toy_schedule(), draws([0, 1]))
    moved = batch.to(torch.device("cpu"), torch.bfloat16)
    assert len(moved) == 2
    assert moved.t.dtype == torch.int64
    kinds = {moved.x_t.dtype, moved.target.dtype, moved.condition.tokens.dtype}
    assert kinds == {torch.bfloat16}


def test_a_latent_set_has_one_of_each_a_picture() -> None:
    with pytest.raises(ConfigError, match="3 means, 3 deviations and 2 prompts"):
        LatentSet(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(2, dtype=torch.int64))


def test_data_that_would_forget_nothing_is_refused() -> None:
    data = toy_data(forget=2)
    with pytest.raises(ConfigError, match="no picture to forget"):
        ConceptData(toy_latents(0, [1], 0), torch.zeros(0, 1), data.retain, data.prompts)
    with pytest.raises(ConfigError, match=r"shape \(3, 2\).*of the 2 forget pictures"):
        ConceptData(data.forget, torch.tensor([[3, 4]] * 3), data.retain, data.prompts)
    with pytest.raises(ConfigError, match="among its own replacements"):
        ConceptData(data.forget, torch.tensor([[3, 4], [3, 2]]), data.retain, data.prompts)
