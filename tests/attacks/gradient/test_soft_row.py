"""One learned row: what it may become, what it learns from, and what stays as it was."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from support.attacked import SIDE, tiny_checkpoint, tiny_target
from support.models.tiny_prompts import KINDS, networks_of, tiny_text
from support.tiny import CPU, random_pictures, seeded, toy_latents, toy_schedule
from torch import Tensor

from erasure.attacks.gradient.copying import near_copies
from erasure.attacks.search.slots import Slots, slots_of
from erasure.attacks.search.soft_row import (
    RowSearch,
    RowStep,
    capped,
    copies,
    halves,
    learn_row,
    row_loss,
    row_of,
)
from erasure.attacks.search.vocabulary import vocabulary_of
from erasure.diffusion.data.latents import LatentSet
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.errors import ConfigError, TrainingError
from erasure.storage.tensors.hashing import weights_hash

PICTURES = toy_latents(4, [0], 0)
SHORT = RowSearch(steps=5, batch_size=3, learning_rate=0.1)


@pytest.fixture(scope="module", params=KINDS)
def slots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Slots:
    text = tiny_text(request.param, tmp_path_factory.mktemp("words"))
    return slots_of(text, ["a photo of {}", "{} at night"], 1, vocabulary_of(text), size=(16, 16))


def listening(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
    flat = torch.cat([v.float().flatten(1) for v in condition.tensors.values()], dim=1)
    signal = flat @ torch.linspace(-1, 1, flat.shape[1]) / flat.shape[1] ** 0.5
    return x_t * signal.view(-1, 1, 1, 1)


def learned(
    slots: Slots, settings: RowSearch = SHORT, seed: int = 0, denoise: Denoiser = listening
) -> Iterator[RowStep]:
    return learn_row(
        denoise,
        toy_schedule(),
        slots,
        PICTURES.mean,
        PICTURES.std,
        row_of(slots, 5),
        settings,
        seed=seed,
        device=CPU,
    )


@pytest.mark.default("sd1")
def test_the_row_learns_and_nothing_else_moves(slots: Slots) -> None:
    before = [weights_hash(network.state_dict()) for network in networks_of(slots.text)]
    start = row_of(slots, 5)
    settings = RowSearch(steps=60, batch_size=4, learning_rate=0.05)
    *_, last = learned(slots, settings)

    def held_out(vectors: tuple[Tensor, ...]) -> float:
        mean, std = PICTURES.mean, PICTURES.std
        schedule = toy_schedule()
        return row_loss(listening, schedule, slots, mean, std, vectors, seed=1, device=CPU)

    assert held_out(last.vectors) < held_out(start)
    assert [weights_hash(network.state_dict()) for network in networks_of(slots.text)] == before
    assert all(w.grad is None for network in networks_of(slots.text) for w in network.parameters())
    assert [row.shape for row in last.vectors] == [row.shape for row in start]
    assert not any(torch.equal(a, b) for a, b in zip(last.vectors, start, strict=True))


def test_no_row_grows_beyond_the_longest_of_the_table(slots: Slots) -> None:
    limits = slots.limits
    for step in learned(slots, replace(SHORT, learning_rate=50.0)):
        for row, limit in zip(step.vectors, limits, strict=True):
            assert float(row.norm()) <= limit * (1 + 1e-6)


def test_a_short_row_is_left_to_the_bit_and_a_long_one_keeps_its_direction() -> None:
    rows = torch.randn(6, 5, generator=seeded())
    limit = float(rows.norm(dim=1).median())
    held = capped(rows, limit)
    short = rows.norm(dim=1) <= limit
    assert torch.equal(held[short], rows[short])
    torch.testing.assert_close(held[~short].norm(dim=1), torch.full((int((~short).sum()),), limit))
    torch.testing.assert_close(torch.cosine_similarity(held, rows), torch.ones(6))


def test_a_search_is_seeded(slots: Slots) -> None:
    one, same, other = (list(learned(slots, seed=seed)) for seed in (3, 3, 4))
    assert [s.loss for s in one] == [s.loss for s in same]
    for a, b in zip(one[-1].vectors, same[-1].vectors, strict=True):
        assert torch.equal(a, b)
    assert [s.loss for s in one] != [s.loss for s in other]


def test_no_step_leaves_the_word_it_started_from(slots: Slots) -> None:
    assert list(learned(slots, replace(SHORT, steps=0))) == []
    stand_in = int(slots.tokens[0].ids[0, slots.places[0, 0]])
    condition = slots.told([row[None] for row in row_of(slots, stand_in)], torch.tensor([0]))
    word = slots.text.encode(slots.text.tokenize([slots.prompts[0]]))
    for name, value in word.tensors.items():
        assert torch.equal(condition.tensors[name], value), name


def test_a_loss_that_is_no_number_ends_the_search_with_its_reason(slots: Slots) -> None:
    def broken(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return listening(x_t, t, condition) * torch.nan

    with pytest.raises(TrainingError, match=r"loss of the soft token is nan in step 1, so it"):
        next(learned(slots, denoise=broken))


def test_the_held_out_loss_is_the_same_whenever_it_is_asked_for(slots: Slots) -> None:
    def loss(rows: list[int]) -> float:
        mean, std = PICTURES.mean[rows], PICTURES.std[rows]
        schedule = toy_schedule()
        vectors = row_of(slots, 5)
        return row_loss(listening, schedule, slots, mean, std, vectors, seed=1, device=CPU)

    assert loss([0, 1]) == loss([0, 1])
    assert loss([0]) + loss([1]) != loss([0, 1])  # pictures count by their place


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps is -1 and batch_size 8; give 0 or more steps"),
        ({"batch_size": 0}, "batch_size 0; give 0 or more steps and a batch of 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give more than 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RowSearch(**settings)  # type: ignore[arg-type]


def test_no_picture_is_named_as_missing(slots: Slots) -> None:
    none = LatentSet(PICTURES.mean[:0], PICTURES.std[:0], PICTURES.prompt[:0])
    start = row_of(slots, 5)
    with pytest.raises(ConfigError, match="no picture of the concept; give at least one"):
        next(
            learn_row(
                listening,
                toy_schedule(),
                slots,
                none.mean,
                none.std,
                start,
                SHORT,
                seed=0,
                device=CPU,
            )
        )


def test_halves_share_no_picture_and_lose_none() -> None:
    for count in range(1, 12):
        one, other = halves(count, 7)
        assert sorted(one + other) == list(range(count))
        assert len(one) >= 1
        assert abs(len(one) - len(other)) <= 1
    assert halves(9, 7) == halves(9, 7)
    assert halves(9, 7) != halves(9, 8)


def test_a_picture_near_one_that_was_learned_on_is_a_copy() -> None:
    learned_on = torch.randn(3, 2, 4, 4, generator=seeded(1))
    held = torch.randn(3, 2, 4, 4, generator=seeded(2))
    noise = torch.randn(3, 2, 4, 4, generator=seeded(3))
    assert copies(learned_on + 0.1 * noise, learned_on, held).tolist() == [True] * 3
    assert copies(held + 0.1 * noise, learned_on, held).tolist() == [False] * 3
    assert copies(noise, learned_on, held).tolist() == [False] * 3


def test_what_was_learned_on_is_a_copy_when_it_is_drawn_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    target = tiny_target(tiny_checkpoint(tmp_path_factory.mktemp("copied")))
    pixels = random_pictures(["a church"] * 4, 1, SIDE).pixels  # those that the target was shown
    replay = {"learned on": [0, 2], "held back": [1, 3]}
    assert near_copies(target, replay, pixels) == [True, False, True, False]
    others = random_pictures(["a church"] * 2, 7, SIDE).pixels
    assert near_copies(target, replay, others) == [False, False]
    assert near_copies(target, {}, pixels) == [False] * 4
    assert near_copies(target, {"learned on": [0], "held back": []}, pixels) == [False] * 4
