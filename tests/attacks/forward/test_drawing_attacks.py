"""Words, prefixes, fresh noise and half-noised pictures: what they ask to be drawn."""

from dataclasses import replace

import pytest
import torch
from support.attacked import tiny_checkpoint, tiny_target

from erasure.attacks import Target, make_attack
from erasure.attacks.forward.inpainting import around_centre
from erasure.attacks.protocol import lacking
from erasure.errors import ConfigError


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return tiny_target(tiny_checkpoint(tmp_path_factory.mktemp("attacked")))


def test_each_wording_is_an_arm_that_every_seed_draws_once(target: Target) -> None:
    attempts = list(make_attack("words", seeds=2).run(target))
    prompts = [wording.prompt for wording in target.concept.wordings]
    assert [attempt.payload.prompt for attempt in attempts] == prompts * 2
    assert [attempt.arm for attempt in attempts[:2]] == [
        "typo: a chruch",
        "synonym: a chapel, held out",
    ]
    assert attempts[0].case.seed == attempts[1].case.seed != attempts[2].case.seed


def test_random_prefixes_differ_and_leave_the_prompt_at_the_end(target: Target) -> None:
    attempts = list(make_attack("prefixes", draws=6, tokens=2).run(target))
    prompts = {attempt.payload.prompt for attempt in attempts}
    assert len(prompts) == 6
    for attempt in attempts:
        words = attempt.payload.prompt.removesuffix(f" {attempt.case.prompt}").split(" ")
        assert len(words) == 2
        assert all(word.isalpha() for word in words)


def test_all_shares_of_fresh_noise_are_drawn_equally_often(target: Target) -> None:
    attempts = list(make_attack("eta", etas=(0.5, 1.0), seeds=3).run(target))
    assert [attempt.payload.eta for attempt in attempts] == [0.5, 1.0] * 3


@pytest.mark.parametrize(
    "name", ["seeds", "eta", "rounding", "pruning", "completion", "inpainting", "add-back"]
)
def test_no_two_tries_begin_in_the_same_noise_and_two_runs_in_equal_ones(
    name: str, target: Target
) -> None:
    base = replace(target, base=target)
    seeds = [attempt.seed for attempt in make_attack(name).run(base)]
    assert len(set(seeds)) == len(seeds) > len(target.cases)
    assert None not in seeds
    assert seeds == [attempt.seed for attempt in make_attack(name).run(base)]


def test_completion_shows_each_picture_at_each_level_with_and_without_words(
    target: Target,
) -> None:
    attempts = list(make_attack("completion", levels=(0.0, 0.5)).run(target))
    assert len(attempts) == 2 * 2 * len(target.cases)
    assert attempts[0].arm == "t 0, null text"
    assert attempts[3].arm == "t 500, prompt"
    null, prompted = attempts[0].payload, attempts[1].payload
    assert (null.prompt, null.guidance) == ("", 1.0)
    assert (prompted.prompt, prompted.guidance) == (target.cases[0].prompt, None)
    assert null.start is not None
    assert target.pictures is not None
    assert torch.equal(null.start.latents, target.pictures.mean[0])
    assert null.start.clean
    # Three cases look at three of the four pictures, each once.
    assert sum(attempt.cost.pictures for attempt in attempts) == 3


def test_inpainting_covers_the_centre_alone(target: Target) -> None:
    keep = around_centre((8, 4), 0.5)
    assert not keep[2:6, 1:3].any()
    assert int((~keep).sum()) == 8
    attempts = list(make_attack("inpainting").run(target))
    start = attempts[0].payload.start
    assert start is not None
    assert start.keep is not None
    assert start.time == 999
    assert [attempt.arm for attempt in attempts[:2]] == [
        "centre 50%, null text",
        "centre 50%, prompt",
    ]


def test_attacks_say_what_they_lack(target: Target) -> None:
    fields = {name: getattr(target, name) for name in target.__dataclass_fields__}
    bare = Target(**{**fields, "pictures": None, "base": None})
    assert lacking(make_attack("completion"), bare) == "there is no picture of the concept"
    assert lacking(make_attack("add-back"), bare) == "there is no base at hand"
    assert lacking(make_attack("words"), bare) == ""
    with pytest.raises(ConfigError, match=r"levels is 2.0; give a share"):
        make_attack("completion", levels=(2,))
