"""Searches for words against slow writings of their papers' steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from support.attacked import tiny_checkpoint, tiny_target
from support.models.tiny_prompts import tiny_text
from support.tiny import CPU, seeded, toy_latents, toy_schedule
from torch import Tensor

from erasure.attacks import make_attack
from erasure.attacks.gradient.concept_vector import ConceptVector
from erasure.attacks.gradient.prefix import Prefix
from erasure.attacks.search import relaxed
from erasure.attacks.search.goals import FeatureGoal, MatchGoal, NoiseGoal, Pictures, concept_vector
from erasure.attacks.search.problem import Goal, Search
from erasure.attacks.search.relaxed import NearestSearch, SimplexSearch
from erasure.attacks.search.simplex import onto_simplex
from erasure.attacks.search.slots import Slots, slots_of
from erasure.attacks.search.vocabulary import vocabulary_of
from erasure.attacks.target import Ledger, Target
from erasure.diffusion.denoiser import TOKENS, Condition
from erasure.seeds import generator_for

WORDS, WIDTH, PLACES, STEPS = 7, 4, 2, 6


@dataclass(frozen=True)
class Pull:
    """The loss is the squared distance of the rows to wanted ones, some of them far away."""

    tables: Sequence[Tensor] = field(
        default_factory=lambda: [torch.randn(WORDS, WIDTH, generator=seeded(1)).double()]
    )
    wanted: Tensor = field(
        default_factory=lambda: torch.linspace(-3, 3, PLACES * WIDTH).view(PLACES, WIDTH).double()
    )

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        return (rows[0] - self.wanted).square().flatten(1).sum(dim=1)

    def slope(self, row: Tensor, place: int) -> Tensor:
        return 2 * (row - self.wanted[place])


@dataclass
class SlowAdam:
    """One number after the other, as arXiv:1412.6980 writes it."""

    rate: float
    first: dict[tuple[int, ...], float] = field(default_factory=dict)
    second: dict[tuple[int, ...], float] = field(default_factory=dict)

    def moved(self, at: tuple[int, ...], value: float, slope: float, step: int) -> float:
        self.first[at] = 0.9 * self.first.get(at, 0.0) + 0.1 * slope
        self.second[at] = 0.999 * self.second.get(at, 0.0) + 0.001 * slope * slope
        mean = self.first[at] / (1 - 0.9**step)
        size = math.sqrt(self.second[at] / (1 - 0.999**step))
        return value - self.rate * mean / (size + 1e-8)


def by_bisection(row: Tensor) -> Tensor:
    low, high = float(row.min()) - 1, float(row.max())
    for _ in range(100):
        middle = (low + high) / 2
        over = float((row - middle).clamp(min=0).sum()) > 1
        low, high = (middle, high) if over else (low, middle)
    return (row - high).clamp(min=0)


def test_a_step_on_the_simplex_is_that_of_unlearndiffatk(monkeypatch: pytest.MonkeyPatch) -> None:
    # One word drawn from each row; the slope at it passed to the mixture, clipped; Adam with
    # coupled decay; then the nearest point of the simplex.
    problem, seen = Pull(), []

    def spying(values: Tensor) -> Tensor:
        seen.append(onto_simplex(values))
        return seen[-1].clone()

    monkeypatch.setattr(relaxed, "onto_simplex", spying)
    search = SimplexSearch(learning_rate=0.05, weight_decay=0.1)
    answers = [one.words[0].tolist() for one in search.run(problem, 1, PLACES, STEPS, 3)]

    table, adam = problem.tables[0], SlowAdam(0.05)
    mixture = torch.full((PLACES, WORDS), 1 / WORDS).double()
    clipped = 0
    for step in range(STEPS):
        chance = generator_for(3, "simplex", 0, step)
        drawn = torch.multinomial(mixture.float(), 1, generator=chance).flatten().tolist()
        for place, word in enumerate(drawn):
            slope = problem.slope(table[word], place)
            for other in range(WORDS):
                passed = float(slope @ table[other])
                clipped += abs(passed) > 1
                held = max(-1.0, min(1.0, passed)) + 0.1 * float(mixture[place, other])
                moved = adam.moved((place, other), float(mixture[place, other]), held, step + 1)
                mixture[place, other] = moved
        mixture = torch.stack([by_bisection(row) for row in mixture])
        torch.testing.assert_close(seen[step][0].double(), mixture, rtol=0, atol=1e-5)
        assert answers[step] == mixture.argmax(dim=1).tolist()
    assert 0 < clipped < STEPS * PLACES * WORDS  # the bound is of consequence


def test_a_step_beside_the_table_is_that_of_pez(monkeypatch: pytest.MonkeyPatch) -> None:
    # The nearest word by cosine is looked at; the slope there moves the free row, with decoupled
    # decay.
    problem, seen = Pull(), []
    near = relaxed.nearest

    def spying(problem: Pull, rows: list[Tensor]) -> Tensor:
        seen.append(rows[0][0].clone())
        return near(problem, rows)

    monkeypatch.setattr(relaxed, "nearest", spying)
    search = NearestSearch(learning_rate=0.5, weight_decay=0.1)
    answers = [one.words[0].tolist() for one in search.run(problem, 1, PLACES, STEPS, 5)]

    table, adam = problem.tables[0], SlowAdam(0.5)
    first = torch.randint(WORDS, (PLACES,), generator=generator_for(5, "nearest", 0))
    free = table[first].clone()

    def nearest_of(row: Tensor) -> int:
        cosines = [float(row @ one / row.norm() / one.norm()) for one in table]
        return cosines.index(max(cosines))

    for step in range(STEPS):
        for place in range(PLACES):
            slope = problem.slope(table[nearest_of(free[place])], place)
            for n in range(WIDTH):
                left = float(free[place, n]) * (1 - 0.5 * 0.1)
                free[place, n] = adam.moved((place, n), left, float(slope[n]), step + 1)
        torch.testing.assert_close(seen[2 * step + 1], free, rtol=0, atol=1e-9)
        assert answers[step] == [nearest_of(row) for row in free]
    assert any(answer != first.tolist() for answer in answers)


# A model that is right under one word alone.

SECRET, VOCABULARY = 4, 9
ONE = toy_latents(1, [0], 0)
SCHEDULE = toy_schedule()


def right_under_the_secret(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
    """The true noise of the one picture, off by as much as the words are others."""
    a = SCHEDULE.alphas_cumprod[t].view(-1, 1, 1, 1)
    noise = (x_t - a.sqrt() * ONE.mean) / (1 - a).sqrt()
    secret = torch.eye(VOCABULARY)[SECRET]
    off = (condition.tokens - secret).square().flatten(1).sum(dim=1)
    return noise + off.view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Spoken:
    """Words that the model hears as they are, one to a prompt."""

    goal: Goal
    tables: Sequence[Tensor] = (torch.eye(VOCABULARY),)

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        return self.goal(Condition({TOKENS: rows[0]}), which, step)


def noise_goal() -> Goal:
    return NoiseGoal(right_under_the_secret, the_picture())


def match_goal() -> Goal:
    plain = Condition({TOKENS: torch.eye(VOCABULARY)[SECRET][None, None]})
    return MatchGoal(right_under_the_secret, right_under_the_secret, plain, the_picture())


def the_picture() -> Pictures:
    std = torch.zeros_like(ONE.std)
    return Pictures(ONE.mean, std, SCHEDULE, 0, CPU, (300, 600), steps_each=40)


@pytest.mark.parametrize("goal", [noise_goal, match_goal])
@pytest.mark.parametrize("search", [SimplexSearch(learning_rate=0.1), NearestSearch()])
def test_the_word_under_which_alone_a_model_is_right_is_found(
    search: Search, goal: Callable[[], Goal]
) -> None:
    *_, last = search.run(Spoken(goal()), 1, 1, 80, 0)
    assert last.words.tolist() == [[SECRET]]


# The levels of noise, and Ring-A-Bell's vector.


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return tiny_target(tiny_checkpoint(tmp_path_factory.mktemp("attacked")))


def test_fifty_rounds_meet_the_levels_of_unlearndiffatk_one_after_the_other(
    target: Target,
) -> None:
    attack = make_attack("prefix", rounds=50)
    assert isinstance(attack, Prefix)
    shown = attack.pictures(target)
    assert shown.times == pytest.approx([10 + 20 * n for n in range(50)], abs=1)
    assert shown.steps_each == 40  # so 2,000 steps in all


def test_the_vector_of_a_concept_is_the_mean_over_its_pairs_at_every_token(tmp_path: Path) -> None:
    text = tiny_text("sd1", tmp_path)
    pairs = [("a church", "a"), ("see a church at night", "see a dog at night"), ("q", "x z")]

    def encode(prompts: Sequence[str]) -> Condition:
        return text.encode(text.tokenize(prompts))

    gaps = [encode([one]).tokens[0] - encode([other]).tokens[0] for one, other in pairs]
    wanted = (gaps[0] + gaps[1] + gaps[2]) / 3
    torch.testing.assert_close(concept_vector(encode, pairs), wanted, rtol=1e-4, atol=1e-6)


def test_the_target_of_ring_a_bell_is_the_prompt_and_eta_times_the_concept(target: Target) -> None:
    words = vocabulary_of(target.text)
    slots: Slots = slots_of(target.text, ["{}", "{}"], 2, words)
    prompts = ["a church", "a photo of a church"]
    for strength in (0.0, 2.5):
        attack = make_attack("concept-vector", strength=strength)
        assert isinstance(attack, ConceptVector)
        goal = attack.goal(target, Ledger(), slots, prompts)
        assert isinstance(goal, FeatureGoal)
        (plain, church, image) = (target.told([p]).tokens for p in (prompts[1], *target_pair()))
        wanted = plain[0] + strength * (church[0] - image[0])
        torch.testing.assert_close(goal.wanted[1], wanted, rtol=1e-4, atol=1e-5)


def target_pair() -> tuple[str, str]:
    """That of the concept of `tiny_target`."""
    return "a church", "an image"
