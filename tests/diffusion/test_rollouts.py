"""Batches that a network draws itself: what a sample is, however the stream is cut."""

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from support.tiny import CPU, Toy, ToyDenoiser, some_mask, toy_data, toy_schedule

from erasure.diffusion.batches import Rollout, RolloutBatches
from erasure.diffusion.data.concept_data import PromptRows
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.sample import ddim, ddim_times
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights

TEXTS = PromptRows(
    torch.tensor([1, 2]), torch.tensor([[3, 4], [4, 5]]), torch.tensor([3]), torch.ones(6).long()
)
DATA = replace(toy_data(), texts=TEXTS)


def source(**settings: object) -> RolloutBatches:
    fields: dict[str, object] = {"steps": 5, "guidance": 2.0, **settings}
    return RolloutBatches(DATA, toy_schedule(), 7, CPU, **fields)  # type: ignore[arg-type]


def frozen_of(network: Toy, *, needed: bool = True) -> FrozenDenoiser:
    return FrozenDenoiser(
        ToyDenoiser(network), SelectedWeights(network, some_mask(network)), needed=needed
    )


def at(position: int, count: int, **settings: object) -> Rollout:
    network = Toy()
    return source(**settings).at(position, count, ToyDenoiser(network), frozen_of(network))


def test_samples_are_the_same_however_the_stream_is_cut() -> None:
    whole = at(3, 6)
    parts = [at(3, 1), at(4, 3), at(7, 2)]
    for name in ("x_t", "t"):
        both = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(getattr(whole, name), both)  # rounding of other batch sizes
    for name in ("concept", "replacement", "empty"):
        tokens = torch.cat([getattr(part, name).tokens for part in parts])
        assert torch.equal(getattr(whole, name).tokens, tokens)


def test_a_sample_is_the_sampler_s_own_path_at_the_time_that_is_told() -> None:
    network, batch, times = Toy(), at(0, 8), ddim_times(toy_schedule(), 5)
    for row in range(8):
        generator = generator_for(7, "rollout", row)
        torch.randint(2, (1,), generator=generator)
        end = int(torch.randint(5, (1,), generator=generator))
        noise = torch.randn(1, 2, 4, 4, generator=generator)
        assert int(batch.t[row]) == int(times[end])

        def row_of(condition: Condition, n: int = row) -> Condition:
            return condition[torch.tensor([n])]

        with torch.no_grad():
            path = list(
                ddim(
                    ToyDenoiser(network),
                    toy_schedule(),
                    times,
                    noise,
                    row_of(batch.concept),
                    away=row_of(batch.empty),
                    guidance=2.0,
                )
            )
        torch.testing.assert_close(batch.x_t[row], path[end][0], rtol=1e-4, atol=1e-5)


def test_all_steps_are_reached_and_prompts_take_turns() -> None:
    batch = at(0, 200)
    counts = Counter(batch.t.tolist())
    assert set(counts) == set(ddim_times(toy_schedule(), 5).tolist())
    assert min(counts.values()) > 20  # 40 each are expected, with a deviation below 6
    table = DATA.prompts.tokens
    first = [bool(torch.equal(row, table[1])) for row in batch.concept.tokens]
    assert sum(first) == 100
    assert torch.equal(batch.empty.tokens, table[:1].expand(200, -1, -1))


def test_every_stand_in_of_a_prompt_is_drawn_in_time() -> None:
    table = DATA.prompts.tokens
    batch = at(0, 40)
    pairs = Counter(
        (
            int((table == prompt).flatten(1).all(1).nonzero()[0]),
            int((table == stand_in).flatten(1).all(1).nonzero()[0]),
        )
        for prompt, stand_in in zip(batch.concept.tokens, batch.replacement.tokens, strict=True)
    )
    assert set(pairs) == {(1, 3), (1, 4), (2, 4), (2, 5)}


def test_no_gradient_leads_from_a_sample_into_the_network_that_drew_it() -> None:
    assert not at(0, 2).x_t.requires_grad


def test_another_seed_of_the_order_decides_the_prompts_and_nothing_else() -> None:
    one, other = at(0, 8), at(0, 8, ordered_by=1)
    again = replace(source(), seed=1)
    network = Toy()
    theirs = again.at(0, 8, ToyDenoiser(network), frozen_of(network))
    assert torch.equal(other.concept.tokens, theirs.concept.tokens)
    assert not torch.equal(other.concept.tokens, one.concept.tokens)
    assert torch.equal(other.t, one.t)
    assert not torch.equal(other.t, theirs.t)


def test_the_frozen_base_draws_what_the_network_drew_before_it_moved() -> None:
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    frozen = FrozenDenoiser(ToyDenoiser(network), selected, needed=True)
    student = ToyDenoiser(network)
    before = source(by="frozen").at(0, 4, student, frozen)
    with torch.no_grad():
        for vector in selected.vectors.values():
            vector.add_(0.5)
    selected.write_back()
    moved = {k: v.clone() for k, v in network.state_dict().items()}
    again = source(by="frozen").at(0, 4, student, frozen)
    other = source(by="student").at(0, 4, student, frozen)
    assert torch.equal(again.x_t, before.x_t)
    assert not torch.equal(other.x_t, before.x_t)
    assert all(torch.equal(v, moved[k]) for k, v in network.state_dict().items())


def test_the_base_answers_nobody_who_did_not_say_so() -> None:
    network = Toy()
    with pytest.raises(ConfigError, match="'frozen' among its needs"):
        source(by="frozen").at(0, 1, ToyDenoiser(network), frozen_of(network, needed=False))


def test_another_schedule_than_the_two_has_no_rollouts() -> None:
    with pytest.raises(ConfigError, match="of rectified flow"):
        RolloutBatches(DATA, cast(Any, object()), 0, CPU)


def test_prompts_are_needed() -> None:
    network = Toy()
    batches = RolloutBatches(toy_data(), toy_schedule(), 0, CPU)
    with pytest.raises(ConfigError, match="prompts are not encoded"):
        batches.at(0, 1, ToyDenoiser(network), frozen_of(network))
