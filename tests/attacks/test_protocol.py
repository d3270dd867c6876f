"""What every attack keeps to, whatever it does."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from support.attacked import same, tiny_checkpoint, tiny_target, weights_of

from erasure.attacks import ATTACKS, Budget, Payload, Rows, Start, Target, make_attack
from erasure.attacks.payload import Cost
from erasure.attacks.protocol import ACCESS, Attack, Need
from erasure.attacks.target import Ledger, embedded
from erasure.errors import ConfigError


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder: Path = tmp_path_factory.mktemp("attacked")
    return tiny_target(tiny_checkpoint(folder))


def with_budget(target: Target, draws: int) -> Target:
    fields = {name: getattr(target, name) for name in target.__dataclass_fields__}
    return Target(**{**fields, "budget": Budget(draws)})


@pytest.mark.parametrize("name", ATTACKS)
def test_a_budget_of_zero_gives_the_plain_drawing_of_each_case(name: str, target: Target) -> None:
    attempts = list(make_attack(name).run(with_budget(target, 0)))
    assert [attempt.case for attempt in attempts] == list(target.cases)
    for attempt in attempts:
        assert attempt.payload.prompt == attempt.case.prompt
        assert attempt.payload.kinds == ("string",)
        assert attempt.payload.guidance is None
        assert attempt.payload.eta is None
        assert attempt.seed is None
        assert attempt.cost.forwards == attempt.cost.backwards == 0


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_says_what_it_is_and_needs(name: str) -> None:
    kind = ATTACKS[name]
    assert isinstance(kind(), Attack)
    assert kind.name == name
    assert kind.title
    assert kind.source
    assert kind.needs <= set(get_args(Need))
    assert kind.access in ACCESS


def test_an_unknown_attack_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        make_attack("seed")
    with pytest.raises(ConfigError, match="has no setting 'drawz'; did you mean 'draws'"):
        make_attack("seeds", drawz=3)
    with pytest.raises(ConfigError, match="draws is 0; give 1 or more"):
        make_attack("seeds", draws=0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("words", {"seeds": 2.5}, "words.seeds is 2.5; give a whole number"),
        ("words", {"seeds": "x"}, "words.seeds is 'x'; give a whole number"),
        ("words", {"seeds": True}, "words.seeds is True; give a whole number"),
        ("completion", {"levels": 0.5}, "completion.levels is 0.5; give a list, each element a nu"),
        ("completion", {"levels": ("a",)}, r"completion.levels\[0\] is 'a'; give a number"),
        ("rounding", {"bits": (8.5,)}, r"rounding.bits\[0\] is 8.5; give a whole number"),
        ("prefix", {"avoid": 3}, "prefix.avoid is 3; give true or false"),
        ("prefix", {"pieces": "word"}, "the nearest is 'words'"),
        ("prefix", {"learning_rate": -1.0}, "learning_rate is -1.0; give more than 0"),
        ("prefix-match", {"weight_decay": -5.0}, "weight_decay is -5.0; give 0 or more"),
        ("concept-vector", {"strength": float("nan")}, "strength is nan; give a finite number"),
    ],
)
def test_a_setting_of_another_type_or_out_of_range_is_refused_in_a_sentence(
    name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_attack(name, **settings)


def test_a_list_and_whole_numbers_will_do_for_shares() -> None:
    assert make_attack("completion", levels=[0, 1]) == make_attack("completion", levels=(0.0, 1.0))


def test_seeds_draw_other_seeds_up_to_the_budget_and_change_no_weight(target: Target) -> None:
    before = weights_of(target.network)
    attempts = list(make_attack("seeds", draws=9).run(with_budget(target, 5)))
    assert len(attempts) == 5
    assert len({attempt.seed for attempt in attempts}) == 5
    assert [attempt.case for attempt in attempts[:4]] == [*target.cases, target.cases[0]]
    again = list(make_attack("seeds", draws=9).run(with_budget(target, 5)))
    assert [a.seed for a in again] == [a.seed for a in attempts]
    assert same(before, weights_of(target.network))


def test_rows_that_are_the_words_own_change_no_bit_and_others_take_a_gradient(
    target: Target,
) -> None:
    words = target.text.embed(target.text.tokenize(["a church"]))
    own = Rows((2,), tuple(w[0, 2:3].clone() for w in words))
    plain = embedded(target.text, "a church", None)
    assert torch.equal(embedded(target.text, "a church", own).tokens, plain.tokens)
    soft = own.vectors[0].clone().requires_grad_(True)
    condition = embedded(target.text, "a church", Rows((2,), (soft,)))
    condition.tokens.square().sum().backward()
    assert soft.grad is not None
    assert soft.grad.abs().sum() > 0
    assert torch.equal(target.told(["a church"]).tokens, plain.tokens)


def test_payloads_that_cannot_be_drawn_are_refused(target: Target) -> None:
    with pytest.raises(ConfigError, match="give \\(2, E\\) for each text encoder"):
        Rows((1, 2), (torch.zeros(1, 8),))
    with pytest.raises(ConfigError, match="do not fit"):
        embedded(target.text, "a church", Rows((77,), (torch.zeros(1, 8),)))
    with pytest.raises(ConfigError, match="needs a clean picture"):
        Start(torch.zeros(4, 4, 4), keep=torch.ones(4, 4, dtype=torch.bool))


def test_a_payload_says_what_it_is_made_of() -> None:
    start = Start(torch.zeros(4, 4, 4), 9, clean=True)
    assert Payload(prompt="", start=start, weights={}).kinds == ("picture and time", "weights")


def test_a_ledger_counts_samples_and_gives_out_each_once(target: Target) -> None:
    ledger = Ledger()
    x = torch.zeros(3, *target.latent_shape)
    ledger.counted(target.denoise)(x, torch.ones(3).long(), target.told(["a church"] * 3))
    ledger.backwards += 3
    assert ledger.since() == Cost(forwards=3, backwards=3)
    assert ledger.since() == Cost()


def test_a_budget_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="budget of draws is -1; give 0 or more"):
        Budget(-1)
