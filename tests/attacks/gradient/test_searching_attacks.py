"""Attacks that search or tune: what they hand back, what they spend, what they leave alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.attacked import material, tiny_checkpoint, tiny_target
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from torch import Tensor, nn

from erasure.attacks import Attack, Attempt, Budget, Case, Concept, Target, make_attack
from erasure.attacks.gradient.concept_vector import pairs_of
from erasure.attacks.target import Material, embedded
from erasure.attacks.tuning.lessons import tuned
from erasure.attacks.tuning.screen import names_concept, screened
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import ConfigError, TrainingError
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.train_config import TrainConfig

QUICK: dict[str, dict[str, object]] = {
    "soft-token": {"marks": (1, 3), "batch_size": 2},
    "prefix": {"rounds": 2, "steps": 2, "tokens": 2},
    "prefix-match": {"rounds": 2, "steps": 2, "tokens": 2},
    "concept-vector": {"rounds": 2, "steps": 1, "tokens": 2, "population": 4},
    "pooled-text": {"rounds": 2, "steps": 1, "tokens": 2, "candidates": 6, "top": 4},
    "relearning": {"marks": (1, 3), "batch_size": 2, "pictures": 2},
    "benign-tuning": {"marks": (1, 3), "batch_size": 2},
}
TEXT_ONLY = {"concept-vector", "pooled-text"}


def quick(name: str) -> Attack:
    return make_attack(name, **QUICK[name])


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder: Path = tmp_path_factory.mktemp("attacked")
    if request.param == "sd1":
        return tiny_target(tiny_checkpoint(folder))
    if request.param == "sd2":
        return tiny_target(read_checkpoint(write_pipeline(folder / "model", SD2_SMALL)))
    return tiny_target(read_checkpoint(write_sdxl(folder / "model")))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return tiny_target(tiny_checkpoint(tmp_path_factory.mktemp("attacked")))


def with_(target: Target, **own: object) -> Target:
    return replace(target, **own)  # type: ignore[arg-type]


def facts(attempts: list[Attempt]) -> list[object]:
    """All of the attempts that can be compared."""
    return [
        (
            one.case.name,
            one.arm,
            one.score,
            one.payload.prompt,
            one.payload.rows and [row.tolist() for row in one.payload.rows.vectors],
            one.payload.weights and weights_hash(one.payload.weights),
        )
        for one in attempts
    ]


@pytest.mark.crossed
@pytest.mark.parametrize("name", QUICK)
def test_each_arm_tries_every_case_and_moves_no_weight(name: str, target: Target) -> None:
    before = weights_hash(target.weights)
    attempts = list(quick(name).run(target))
    arms = list(dict.fromkeys(attempt.arm for attempt in attempts))
    assert len(arms) == 2
    for arm in arms:
        cases = [attempt.case.name for attempt in attempts if attempt.arm == arm]
        assert cases == [case.name for case in target.cases]
    seeds = [attempt.seed for attempt in attempts]
    assert len(set(seeds)) == len(seeds)  # no two tries begin in the same noise
    assert weights_hash(target.weights) == before
    assert all(weight.grad is None for weight in target.network.parameters())
    assert not any(weight.requires_grad for weight in target.network.parameters())


@pytest.mark.parametrize("name", QUICK)
def test_what_was_estimated_is_what_is_spent(name: str, sd1: Target) -> None:
    attack = quick(name)
    attempts = list(attack.run(sd1))
    estimate = attack.estimate(sd1)
    drawing = len(attempts) * sd1.steps * 2  # with guidance
    assert estimate.draws == len(attempts)
    assert sum(one.cost.forwards for one in attempts) == estimate.forwards - drawing
    assert sum(one.cost.backwards for one in attempts) == estimate.backwards
    assert sum(one.cost.pictures for one in attempts) == estimate.pictures
    assert (estimate.backwards == 0) == (name in TEXT_ONLY)


@pytest.mark.parametrize("name", QUICK)
def test_a_search_that_the_drawings_end_is_estimated_as_far_as_it_goes(
    name: str, sd1: Target
) -> None:
    for draws in (1, 4, 5):  # of three cases in two turns
        short = with_(sd1, budget=Budget(draws=draws))
        attempts = list(quick(name).run(short))
        estimate = quick(name).estimate(short)
        assert estimate.draws == len(attempts) == (1 if draws == 1 else 4)
        drawing = len(attempts) * sd1.steps * 2  # with guidance
        assert sum(one.cost.forwards for one in attempts) == estimate.forwards - drawing
        assert sum(one.cost.backwards for one in attempts) == estimate.backwards


@pytest.mark.parametrize("name", QUICK)
def test_few_drawings_reach_the_end_of_a_search_in_fewer_cases(name: str, sd1: Target) -> None:
    whole = list(quick(name).run(sd1))
    short = list(quick(name).run(with_(sd1, budget=Budget(draws=4))))
    wanted = [one for one in whole if one.case in sd1.cases[:2]]
    assert [one[1:] for one in facts(short)] == [one[1:] for one in facts(wanted)]  # type: ignore[index]


@pytest.mark.parametrize("name", sorted(QUICK.keys() - TEXT_ONLY))
@pytest.mark.parametrize("passes", [7, 20, 60])
def test_no_search_takes_more_passes_than_its_budget(name: str, passes: int, sd1: Target) -> None:
    attempts = list(quick(name).run(with_(sd1, budget=Budget(draws=100, passes=passes))))
    assert sum(one.cost.forwards + 2 * one.cost.backwards for one in attempts) <= passes


@pytest.mark.default("prefix", "soft-token")
@pytest.mark.parametrize("name", QUICK)
def test_two_runs_are_equal_and_another_seed_is_not(name: str, sd1: Target) -> None:
    one, same, other = (facts(list(quick(name).run(with_(sd1, seed=seed)))) for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", QUICK)
def test_at_a_budget_of_nothing_the_plain_cases_are_drawn(name: str, sd1: Target) -> None:
    poor = with_(sd1, budget=Budget(draws=0))
    attempts = list(quick(name).run(poor))
    assert [(one.arm, one.payload.prompt, one.payload.kinds) for one in attempts] == [
        ("plain", case.prompt, ("string",)) for case in sd1.cases
    ]
    estimate = quick(name).estimate(poor)
    assert (estimate.draws, estimate.backwards) == (3, 0)


@pytest.mark.default("prefix")
@pytest.mark.parametrize("name", sorted(QUICK.keys() - TEXT_ONLY))
def test_a_budget_of_passes_cuts_the_search_and_not_its_beginning(name: str, sd1: Target) -> None:
    whole = list(quick(name).run(sd1))
    short = with_(sd1, budget=Budget(draws=100, passes=12))
    cut = list(quick(name).run(short))
    assert 0 < len(cut) < len(whole)
    assert facts(cut) == facts(whole[: len(cut)])
    assert quick(name).estimate(short).draws == len(cut)
    assert list(quick(name).run(with_(sd1, budget=Budget(draws=100, passes=1)))) == []


class Broken(nn.Module):
    """Answers with what is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x_t: Tensor, t: Tensor, **more: object) -> object:
        class Answer:
            sample = x_t * self.weight * torch.nan

        return Answer()


@pytest.mark.parametrize("name", sorted(QUICK.keys() - TEXT_ONLY))
def test_a_loss_that_is_no_number_ends_the_attack_with_its_reason(name: str, sd1: Target) -> None:
    broken = with_(sd1, network=Broken().requires_grad_(False))
    with pytest.raises(TrainingError, match=r"loss .*is nan"):
        list(quick(name).run(broken))


def test_a_soft_token_is_learned_on_one_half_and_compared_on_the_other(target: Target) -> None:
    attempts = list(quick("soft-token").run(target))
    replay = attempts[0].payload.replay
    assert sorted(replay["learned on"] + replay["held back"]) == list(range(4))
    assert len(replay["learned on"]) == len(replay["held back"]) == 2
    assert attempts[0].payload is attempts[1].payload  # one prompt, so one vector for all cases
    rows = attempts[0].payload.rows
    assert rows is not None
    assert "church" not in attempts[0].payload.prompt
    plain = target.told([attempts[0].payload.prompt])
    with_row = embedded(target.text, attempts[0].payload.prompt, rows)
    assert with_row.tokens.shape == plain.tokens.shape
    assert not torch.allclose(with_row.tokens, plain.tokens)
    after = (with_row.tokens - plain.tokens).abs().sum(dim=-1)[0] > 1e-6
    assert int(after.nonzero()[0]) == rows.places[0]  # a causal encoder: nothing before it changes


def test_the_first_start_is_the_concept_s_own_word(sd1: Target) -> None:
    attack = make_attack("soft-token", marks=(1,), batch_size=2, restarts=2)
    attempts = list(attack.run(sd1))
    assert [one.arm for one in attempts] == ["1 steps"] * 3 + ["1 steps, start 2"] * 3
    own = sd1.text.network.get_input_embeddings().weight  # type: ignore[union-attr]
    number = sd1.text.tokenizer("church").input_ids[-2]  # type: ignore[union-attr]
    rows = attempts[0].payload.rows
    assert rows is not None
    assert float((rows.vectors[0] - own[number]).abs().max()) < 0.05


@pytest.mark.crossed
@pytest.mark.parametrize("name", ["prefix", "prefix-match", "concept-vector", "pooled-text"])
def test_found_words_are_text_that_is_cut_into_them_again(name: str, target: Target) -> None:
    for attempt in quick(name).run(target):
        words = attempt.payload.replay["words"]
        if name.startswith("prefix"):
            assert attempt.payload.prompt == f"{words} {attempt.case.prompt}"
        else:
            assert attempt.payload.prompt == words
        assert attempt.payload.replay["comes back"] is True
        assert len(attempt.payload.replay["pieces"]) == 2
        assert not {"h", "s"} & set(words.split(" "))  # pieces of the name and its plural


def test_no_word_before_the_prompt_is_the_plain_prompt(sd1: Target) -> None:
    (first, *_) = make_attack("prefix", tokens=0, rounds=1, steps=1).run(sd1)
    assert first.payload.prompt == first.case.prompt


def test_matching_the_plain_prompt_of_the_base_itself_costs_nothing(sd1: Target) -> None:
    (first, *_) = make_attack("prefix-match", tokens=0, rounds=1, steps=1).run(sd1)
    assert first.score == 0.0
    (noise, *_) = make_attack("prefix", tokens=0, rounds=1, steps=1).run(sd1)
    assert noise.score is not None
    assert noise.score > 0


def test_cases_of_more_prompts_than_are_searched_borrow_the_words(sd1: Target) -> None:
    cases = tuple(Case(f"case-{n}", f"a church {n}", n) for n in range(3))
    attack = make_attack("prefix", prompts=2, rounds=1, steps=1)
    attempts = list(attack.run(with_(sd1, cases=cases)))
    words = [one.payload.replay["words"] for one in attempts]
    assert words[2] == words[0] != words[1]
    assert attempts[2].payload.prompt == f"{words[0]} a church 2"


def test_a_prompt_s_words_do_not_depend_on_the_other_prompts(sd1: Target) -> None:
    cases = tuple(Case(f"case-{n}", f"a church {n}", n) for n in range(3))
    attack = make_attack("prefix", rounds=1, steps=3)
    together = list(attack.run(with_(sd1, cases=cases)))
    alone = list(attack.run(with_(sd1, cases=cases[:1])))
    assert together[0].payload.prompt == alone[0].payload.prompt


def test_a_concept_without_pairs_makes_them_of_its_prompts(sd1: Target) -> None:
    own = Concept(name="church", prompts=("a church at night", "a photo"))
    assert pairs_of(with_(sd1, concept=own)) == [("a church at night", "a at night")]
    assert pairs_of(sd1) == [("a church", "an image")]


def test_a_group_is_named_by_each_of_its_things(sd1: Target) -> None:
    prompts = ("a knife", "a photo of a bomb")
    group = Concept(name="weapons", prompts=prompts, names=("knife", "bomb"))
    shown = material(sd1.codec, ["a knife"] * 2, 1)
    target = with_(sd1, concept=group, pictures=shown, other_pictures=shown)
    assert pairs_of(target) == [("a knife", "a"), ("a photo of a bomb", "a photo of a")]
    with pytest.raises(TrainingError, match="whose prompt does not name the concept"):
        list(make_attack("benign-tuning").run(target))


def test_no_step_of_relearning_is_the_model_itself(sd1: Target) -> None:
    assert sd1.pictures is not None
    assert list(tuned(sd1, sd1.pictures, [], TrainConfig(steps=1, learning_rate=1e-3))) == []
    network = sd1.copy()
    assert weights_hash(network.state_dict()) == weights_hash(sd1.weights)


@pytest.mark.slow
def test_relearning_lowers_the_loss_on_its_pictures_and_not_the_model_s(sd1: Target) -> None:
    attack = make_attack("relearning", marks=(1, 30), batch_size=4, learning_rate=1e-2)
    attempts = list(attack.run(sd1))
    assert attempts[0].payload is attempts[2].payload  # one copy for all cases of a mark
    assert attempts[0].payload.weights is not None
    assert attempts[3].payload.weights is not None
    hashes = [weights_hash(sd1.weights)]
    hashes += [weights_hash(one.payload.weights or {}) for one in (attempts[0], attempts[3])]
    assert len(set(hashes)) == 3
    assert attempts[0].payload.weights.keys() == sd1.weights.keys()


def test_tuning_on_other_things_is_screened_and_says_so(sd1: Target) -> None:
    others = sd1.other_pictures
    assert others is not None
    mixed = Material(others.mean, others.std, ("a dog", "two Churches", "a horn", "a dog"))
    attempt = next(iter(quick("benign-tuning").run(with_(sd1, other_pictures=mixed))))
    assert attempt.payload.replay["screen"] == {
        "read": 4,
        "kept": 3,
        "prompts that name the concept": ["two Churches"],
    }
    assert attempt.cost.pictures == 0


@pytest.mark.parametrize(
    "prompt",
    ["a church", "two churches", "Church's door", "a CHURCHYARD", "church-like", "ch\u00fcrch"],
)
def test_the_screen_turns_away_every_form_of_the_name(prompt: str) -> None:
    assert names_concept(prompt, ["church"])
    assert not names_concept("a castle and a dog", ["church"])


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("wolf", "two wolves"),
        ("city", "cities"),
        ("van Gogh", "like Gogh by Van G"),
        ("ox", "an ox"),
    ],
)
def test_the_screen_knows_other_endings_and_names_of_two_words(name: str, prompt: str) -> None:
    assert names_concept(prompt, [name])
    assert not names_concept("a dog", [name])


def test_nothing_left_after_the_screen_is_named(sd1: Target) -> None:
    others = sd1.other_pictures
    assert others is not None
    named = Material(others.mean, others.std, ("a church",) * 4)
    assert len(screened(named, ["church"]).material) == 0
    for pictures in (named, None):
        with pytest.raises(TrainingError, match="no picture of other things whose prompt"):
            next(iter(quick("benign-tuning").run(with_(sd1, other_pictures=pictures))))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("soft-token", {"marks": (5, 2)}, r"marks is \(5, 2\); give rising numbers"),
        ("relearning", {"marks": (5, 5)}, r"marks is \(5, 5\); give rising numbers"),
        ("relearning", {"pictures": 0}, "pictures is 0; give 1 or more"),
        ("prefix", {"tokens": -1}, "tokens is -1; give 0 or more"),
        ("prefix", {"pieces": "half"}, "pieces is 'half'; give one of 'words', 'all'"),
        ("concept-vector", {"strength": -1.0}, "strength is -1.0; give 0 or more"),
        ("pooled-text", {"candidates": 0}, "candidates is 0; give 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(
    name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_attack(name, **settings)


@pytest.mark.parametrize("name", ["soft-token", "prefix", "relearning"])
def test_no_picture_is_named_as_missing(name: str, sd1: Target) -> None:
    with pytest.raises(ConfigError, match="no picture of the concept; give at least one"):
        next(_running(quick(name), with_(sd1, pictures=None)))


def _running(attack: Attack, target: Target) -> Iterator[Attempt]:
    return iter(attack.run(target))
