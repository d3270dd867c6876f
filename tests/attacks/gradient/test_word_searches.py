"""Searches for words: on problems whose answer is known, and on tiny models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from support.models.tiny_prompts import KINDS, tiny_text
from support.tiny import CPU, seeded, toy_latents, toy_schedule
from torch import Tensor

from erasure.architectures.text.text_encoders import TextEncoder, TextEncoderPair, with_size
from erasure.attacks.search.discrete import CoordinateSearch, GeneticSearch
from erasure.attacks.search.goals import (
    FeatureGoal,
    MatchGoal,
    NoiseGoal,
    Pictures,
    PooledGoal,
    concept_vector,
    repeated,
)
from erasure.attacks.search.noisy import squared_error
from erasure.attacks.search.problem import PromptProblem, Search, looked_up
from erasure.attacks.search.relaxed import NearestSearch, SimplexSearch, nearest
from erasure.attacks.search.slots import Slots, slots_of
from erasure.attacks.search.vocabulary import Vocabulary, vocabulary_of
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError, TrainingError

WORDS, WIDTHS = 12, (5, 3)
SEARCHES: dict[str, Search] = {
    "simplex": SimplexSearch(learning_rate=0.1),
    "nearest": NearestSearch(),
    "genetic": GeneticSearch(population=20),
    "coordinate": CoordinateSearch(top=WORDS, candidates=100),
}


@dataclass(frozen=True)
class Linear:
    """Losses that are linear in the rows, for two text encoders."""

    tables: Sequence[Tensor] = field(
        default_factory=lambda: [
            torch.randn(WORDS, width, generator=seeded(n)) for n, width in enumerate(WIDTHS)
        ]
    )
    weights: Sequence[Tensor] = field(
        default_factory=lambda: [
            torch.randn(3, width, generator=seeded(9 + n)) for n, width in enumerate(WIDTHS)
        ]
    )

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        parts = [(r * w).flatten(1).sum(dim=1) for r, w in zip(rows, self.weights, strict=True)]
        return parts[0] + parts[1]

    def best(self) -> list[int]:
        each = [table @ w.T for table, w in zip(self.tables, self.weights, strict=True)]
        return (each[0] + each[1]).argmin(dim=0).tolist()


@pytest.mark.parametrize("name", ["genetic", "coordinate"])
def test_a_linear_problem_is_solved(name: str) -> None:
    problem = Linear()
    *_, last = SEARCHES[name].run(problem, 2, 3, 60, 0)
    best = problem.best()
    assert last.words.tolist() == [best, best]


@dataclass(frozen=True)
class Secret(Linear):
    """The loss is lowest where the rows are those of certain words."""

    words: tuple[int, ...] = (7, 2, 9)
    tables: Sequence[Tensor] = (torch.eye(WORDS), torch.eye(WORDS))

    def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
        wanted = looked_up(self, torch.tensor([self.words]))
        parts = [(r - w).square().flatten(1).sum(dim=1) for r, w in zip(rows, wanted, strict=True)]
        return parts[0] + parts[1]


@pytest.mark.parametrize("name", SEARCHES)
def test_words_that_alone_are_right_are_found(name: str) -> None:
    *_, last = SEARCHES[name].run(Secret(), 2, 3, 150, 0)
    assert last.words.tolist() == [[7, 2, 9], [7, 2, 9]]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_seeded_and_a_prompt_knows_nothing_of_the_others(name: str) -> None:
    problem = Linear()
    two = list(SEARCHES[name].run(problem, 2, 3, 4, 5))
    one = list(SEARCHES[name].run(problem, 1, 3, 4, 5))
    for both, alone in zip(two, one, strict=True):
        assert both.words[:1].tolist() == alone.words.tolist()
        assert both.losses[0] == pytest.approx(alone.losses[0], rel=1e-5)
    other = list(SEARCHES[name].run(problem, 2, 3, 4, 6))
    assert [f.losses for f in two] != [f.losses for f in other]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_loss_that_is_no_number_ends_the_search_with_its_reason(name: str) -> None:
    class Broken(Linear):
        def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
            return super().losses(rows, which, step) * (torch.nan if step == 2 else 1)

    steps = SEARCHES[name].run(Broken(), 1, 3, 5, 0)
    assert [next(steps).step, next(steps).step] == [1, 2]
    with pytest.raises(TrainingError, match=r"is nan in step 3, so it cannot go on; lower"):
        next(steps)


@pytest.mark.parametrize("name", SEARCHES)
def test_no_place_leaves_nothing_to_search(name: str) -> None:
    @dataclass(frozen=True)
    class Empty(Linear):
        def losses(self, rows: Sequence[Tensor], which: Tensor, step: int, /) -> Tensor:
            return sum((row.flatten(1).sum(dim=1) for row in rows), torch.zeros(len(which)))

    for trial in SEARCHES[name].run(Empty(), 2, 0, 2, 0):
        assert trial.words.shape == (2, 0)


def test_the_best_of_a_population_never_gets_worse() -> None:
    losses = [
        f.losses[0] for f in GeneticSearch(population=8, mutation=1).run(Linear(), 1, 3, 40, 1)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_children_leave_their_parents_as_they_are() -> None:
    parents = torch.randint(WORDS, (6, 3), generator=seeded())
    before = parents.clone()
    children = GeneticSearch(population=12, mutation=1)._children(parents, WORDS, seeded(1))
    assert torch.equal(parents, before)
    assert children.shape == parents.shape
    assert not torch.equal(children, parents)


def test_candidates_differ_in_exactly_one_place_and_are_all_unlike() -> None:
    held, slope = torch.tensor([1, 2, 3]), torch.randn(3, WORDS, generator=seeded())
    tried = CoordinateSearch(top=5, candidates=9).exchanged(held, slope, seeded(1))
    assert tried.shape == (9, 3)
    assert (tried != held).sum(dim=1).tolist() == [1] * 9
    assert len({tuple(row) for row in tried.tolist()}) == 9


def test_the_first_candidate_of_a_linear_problem_is_the_best_exchange() -> None:
    problem, held = Linear(), torch.tensor([[1, 2, 3]])
    (one,) = CoordinateSearch(top=1, candidates=1000).run(problem, 1, 3, 1, 0)
    start = next(iter(CoordinateSearch(top=WORDS, candidates=1000).run(problem, 1, 3, 1, 0)))
    assert one.losses == pytest.approx(start.losses)  # of all exchanges, the gradient's first
    assert held.shape == one.words.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneticSearch(population=5), "population is 5; give an even number, 4 or more"),
        (lambda: GeneticSearch(mutation=2), "mutation is 2; give 0 to 1"),
        (lambda: CoordinateSearch(top=0), "top is 0; give 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_the_nearest_word_of_a_row_of_the_table_is_that_word() -> None:
    problem, words = Linear(), torch.arange(WORDS)[:, None]
    assert torch.equal(nearest(problem, looked_up(problem, words)), words)


# The three goals, on the text side of tiny models.

Text = TextEncoder | TextEncoderPair


@dataclass(frozen=True)
class Setting:
    text: Text
    words: Vocabulary
    slots: Slots

    def problem(self, goal: object) -> PromptProblem:
        return PromptProblem(self.slots, self.words, goal, CPU)  # type: ignore[arg-type]

    def condition(self, words: str) -> Condition:
        rows = torch.tensor([[self.words.words.index(word) for word in words]])
        return self.slots.filled(self.words, rows, torch.tensor([0]))


@pytest.fixture(scope="module", params=KINDS)
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    text = tiny_text(request.param, tmp_path_factory.mktemp("words"))
    words = vocabulary_of(text)
    slots = slots_of(text, ["{} a church", "{} a dog"], 2, words, size=(16, 16))
    return Setting(text, words, slots)


def pictures(**settings: object) -> Pictures:
    made = toy_latents(4, [0], 0)
    fields: dict[str, object] = {"times": (100, 500), "steps_each": 2, "batch_size": 2, **settings}
    return Pictures(made.mean, made.std, toy_schedule(), 3, CPU, **fields)  # type: ignore[arg-type]


def listening(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
    """A model that adds what it is told to what it sees."""
    flat = torch.cat([v.float().flatten(1) for v in condition.tensors.values()], dim=1)
    pattern = torch.linspace(-1, 1, flat.shape[1])
    signal = (flat @ pattern).view(-1, 1, 1, 1) / flat.shape[1]
    return x_t * 0.5 + signal


def test_matching_is_exactly_nothing_where_the_model_is_the_base(setting: Setting) -> None:
    plain = setting.text.encode(setting.text.tokenize(["b q a church", "b q a dog"]))
    wanted = with_size(plain, 16, 16)
    goal = MatchGoal(listening, listening, wanted, pictures())
    assert goal(wanted[torch.tensor([0])], torch.tensor([0]), 0).tolist() == [0.0]
    assert float(goal(setting.condition("xq"), torch.tensor([0]), 0)) > 0


def test_a_goal_gives_each_row_its_own_loss(setting: Setting) -> None:
    goal = NoiseGoal(listening, pictures())
    rows = torch.tensor([[1, 2], [3, 4], [5, 6]])
    which = torch.tensor([0, 1, 0])
    together = goal(setting.slots.filled(setting.words, rows, which), which, 1)
    for n in range(3):
        condition = setting.slots.filled(setting.words, rows[n : n + 1], which[n : n + 1])
        alone = goal(condition, which[n : n + 1], 1)
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-6)


def test_a_model_that_is_right_only_under_one_word_gives_that_word_away(setting: Setting) -> None:
    slots = slots_of(setting.text, ["{} a church"], 1, setting.words)
    row, zero = setting.words.words.index("z"), torch.tensor([0])
    secret = slots.filled(setting.words, torch.tensor([[row]]), zero)

    @dataclass(frozen=True)
    class OnlyThen(NoiseGoal):
        """The model of this goal is wrong by as much as the text is another one."""

        def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
            shown = self.pictures.at(which, step)
            each = len(shown) // len(which)
            off = (condition.tokens - secret.tokens).square().flatten(1).mean(dim=1)
            wrong = off.repeat_interleave(each).view(-1, 1, 1, 1)
            repeats = repeated(condition, each)
            losses = squared_error(lambda x_t, t, c: shown.target + wrong, shown, repeats)
            return losses.view(len(which), each).mean(dim=1)

    goal = OnlyThen(listening, pictures())
    problem = PromptProblem(slots, setting.words, goal, CPU)
    *_, last = CoordinateSearch(top=1000, candidates=1000).run(problem, 1, 1, 2, 0)
    assert setting.words.text(last.words[0].tolist()) == "z"
    assert last.losses[0] < 1e-9


def test_equal_pairs_have_no_concept_and_a_target_of_words_costs_nothing(setting: Setting) -> None:
    def encode(prompts: Sequence[str]) -> Condition:
        return setting.text.encode(setting.text.tokenize(prompts))

    assert not concept_vector(encode, [("a dog", "a dog"), ("x", "x")]).any()
    vector = concept_vector(encode, [("a dog", "a cat"), ("the dog", "the cat")])
    assert vector.shape == encode(["a dog"]).tokens.shape[1:]
    assert bool(vector.any())
    goal = FeatureGoal(encode(["b q a church"]).tokens + 0.0 * vector)
    assert goal(setting.condition("bq"), torch.tensor([0]), 0).tolist() == [0.0]
    assert float(goal(setting.condition("qb"), torch.tensor([0]), 0)) > 0
    with pytest.raises(ConfigError, match="no pair of prompts"):
        concept_vector(encode, [])


def test_the_pooled_goal_is_nothing_at_its_own_text(setting: Setting) -> None:
    wanted = setting.slots.pooled(setting.condition("bq"), torch.tensor([0]))
    goal = PooledGoal(setting.slots, wanted)
    assert float(goal(setting.condition("bq"), torch.tensor([0]), 0)) == pytest.approx(0, abs=1e-6)
    assert float(goal(setting.condition("xq"), torch.tensor([0]), 0)) > 1e-5


@pytest.mark.crossed
@pytest.mark.parametrize(
    "search", [GeneticSearch(population=20), CoordinateSearch(top=300, candidates=60)]
)
def test_the_text_only_loss_never_rises_and_falls(search: Search, setting: Setting) -> None:
    goal = FeatureGoal(setting.condition("bq").tokens)
    losses = [f.losses[0] for f in search.run(setting.problem(goal), 1, 2, 12, 0)]
    assert all(b <= a + 1e-6 for a, b in pairwise(losses))  # other batches round otherwise
    assert losses[-1] < losses[0]


def test_pictures_meet_each_level_in_turn_and_the_comparison_meets_all() -> None:
    held = pictures()
    zero = torch.tensor([0])
    assert [held.at(zero, step).t.tolist() for step in range(4)] == [[100, 100]] * 2 + [
        [500, 500]
    ] * 2
    assert held.at(zero, -1).t.tolist() == [100, 500]
    assert torch.equal(held.at(zero, 1).x_t, held.at(torch.tensor([1, 0]), 1).x_t[2:])
    with pytest.raises(ConfigError, match="no picture of the concept"):
        Pictures(torch.zeros(0, 2, 4, 4), torch.zeros(0, 2, 4, 4), toy_schedule(), 0, CPU, (1,), 1)
