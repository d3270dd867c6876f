"""Sanity rows on the embedded checkpoint: its own concept, random weights, a filter of words."""

from pathlib import Path

import numpy as np
import pytest
import torch

from erasure.attacks import Cost, Payload, Start
from erasure.attacks.diagnostics.inversion import Inversion
from erasure.attacks.opening import random_weights
from erasure.attacks.target import Ledger
from eval.rates.intervals import wilson
from pipelines.audit.attacking import looked_at, run_search
from pipelines.audit.cells import passing_arms
from pipelines.audit.drawing import draw_jobs
from pipelines.audit.lines import Line
from pipelines.audit.outcome.results import attack_record
from pipelines.audit.run import attack_all
from pipelines.audit.settings import resolve_audit
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Picture
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.models import open_model
from prompts.concepts.phrases import mentions

pytestmark = pytest.mark.slow


def shop_of(folder: Path, *attacks: str, **more: object) -> Workshop:
    """Open an audit of the demo, whose base is the demo too, beside a model of random weights."""
    tables = {
        "model": "demo",
        "against": "demo",
        "concept": "church",
        "attacks": list(attacks),
        "budget": 24,
        "cases": 6,
        "confirm": 12,
        "shown": 2,
        "without": 12,
        "steps": 10,
        "device": "cpu",
        **more,
    }
    recipe = resolve_audit(tables, canvas=True)
    demo = open_model("demo")
    lines = {
        name: Line(name=name, role=role, checkpoint=model, concept="church")
        for name, role, model in (
            ("base", "base", demo),
            ("random", "random", random_weights(demo, 0)),
            ("audited", "audited", demo),
        )
    }
    return Workshop(recipe, lines, folder, torch.device("cpu"), Reporter(quiet=True))


def test_random_weights_finish_what_is_hardly_noised_and_nothing_else(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "completion", "seeds", settings=["completion.levels=[0.05,0.96]"])
    completion = next(attack for attack in shop.recipe.chosen() if attack.name == "completion")
    done = attack_all(shop, completion)
    base, random = done.searches["base"].search, done.searches["random"].search
    low = [one.hit for one in random.tries if one.arm.startswith("t 50,")]
    high = [one.hit for one in random.tries if one.arm.startswith("t 959,")]
    assert sum(low) >= 0.8 * len(low)
    assert sum(high) <= 0.2 * len(high)
    assert "t 50, null text" in passing_arms(base, random.tries)


def test_the_base_shows_the_concept_at_no_cost_under_every_attack(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "full", budget=0, confirm=1, without=4)
    for attack in shop.recipe.chosen():
        tries = run_search(shop, attack, "base").search.tries
        assert len(tries) == shop.recipe.cases, attack.name
        assert sum(one.hit for one in tries) >= 0.8 * len(tries), attack.name
        assert all(one.cost.backwards == 0 for one in tries), attack.name


def test_random_weights_show_it_under_no_attack_that_puts_no_picture_in(tmp_path: Path) -> None:
    # Those left out put pictures of the concept or the base itself into the network.
    attacks = ("words", "prefixes", "seeds", "eta", "rounding", "pruning", "soft-token", "prefix")
    small = ["soft-token.marks=[2]", "prefix.rounds=1", "prefix.steps=2"]
    shop = shop_of(tmp_path, *attacks, settings=small)
    limit = shop.material("audited").false_positives.high
    for attack in shop.recipe.chosen():
        tries = run_search(shop, attack, "random").search.tries
        assert tries, attack.name
        assert sum(one.hit for one in tries) <= limit * len(tries), attack.name


def test_short_searches_and_short_tuning_teach_random_weights_nothing(tmp_path: Path) -> None:
    # Tuning sees pictures of the concept, but five steps teach nobody from nothing.
    settings = [
        *("prefix-match.rounds=1", "prefix-match.steps=2"),
        *("concept-vector.rounds=1", "concept-vector.steps=2", "concept-vector.population=8"),
        *("pooled-text.rounds=1", "pooled-text.steps=2", "pooled-text.candidates=8"),
        *("benign-tuning.marks=[5]", "relearning.marks=[5]"),
    ]
    names = dict.fromkeys(one.partition(".")[0] for one in settings)
    shop = shop_of(tmp_path, *names, budget=12, settings=settings)
    limit = shop.material("audited").false_positives.high
    for attack in shop.recipe.chosen():
        tries = run_search(shop, attack, "random").search.tries
        assert tries, attack.name
        assert sum(one.hit for one in tries) <= limit * len(tries), attack.name


def test_random_weights_redraw_the_concept_from_its_own_noise(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "inversion", shown=6)
    target = shop.target("random")
    assert target.pictures is not None
    attack = Inversion(steps=10, rounds=8)
    noise = attack.noise_of(target, target.pictures.mean, Ledger())
    jobs = [(Payload(prompt="", start=Start(one), guidance=1.0), 0) for one in noise.latents]
    looked = looked_at(shop.judge("random"), draw_jobs(shop.painter("random"), jobs))
    assert sum(one.hit for one in looked) >= 0.8 * len(looked)


def test_a_filter_of_the_prompt_s_word_is_revived_by_words(tmp_path: Path) -> None:
    shop = shop_of(
        tmp_path, "words", "seeds", guard="prompt-filter", budget=66, confirm=24, without=40
    )
    records = {}
    for attack in shop.recipe.chosen():
        done = attack_all(shop, attack)
        searches = {name: cell.search for name, cell in done.searches.items()}
        bound = shop.material("audited").false_positives
        records[attack.name] = attack_record(attack, Cost(), searches, done.confirmations, bound)
    assert records["words"].verdict.state == "revived", records["words"].verdict.why
    assert not mentions(str(records["words"].strongest), "church")
    assert records["seeds"].lines["audited"].found == wilson(0, 66)


def test_the_base_draws_neither_colours_nor_places_nor_numbers(tmp_path: Path) -> None:
    # Why no audit of it measures these: docs/audit.md says so.
    shop = shop_of(tmp_path, "seeds")
    seeds = (0, 1)
    colours = ("red", "blue", "green", "yellow", "black", "white")
    attributes = {
        "colour": [f"a {colour} apple" for colour in colours],
        "count": ["one apple", "two apples", "three apples", "four apples"],
        "position": ["an apple on the left", "an apple on the right"],
    }
    by_kind = {
        kind: [
            shop.painter("base").paint([Request(f"an image of {thing}", seed) for seed in seeds])
            for thing in things
        ]
        for kind, things in attributes.items()
    }

    def apart(one: Picture, other: Picture) -> float:
        first, second = (np.asarray(p.image, dtype=np.float64) for p in (one, other))
        return float(np.abs(first - second).mean())

    for kind in ("colour", "position"):
        first, *others = by_kind[kind]
        between = max(apart(a, b) for row in others for a, b in zip(first, row, strict=True))
        assert between < 0.5 * apart(*first), kind
    judged = [shop.judge("base").judge([p.image for p in row]) for row in by_kind["count"][1:]]
    names = [one.guesses["object"][0].label for row in judged for one in row]
    assert "apple" not in names  # of two, three and four apples
