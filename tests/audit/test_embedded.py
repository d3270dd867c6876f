"""A sanity row on the embedded checkpoint: what random weights give back, and what not."""

from pathlib import Path

import pytest
import torch

from erasure.attacks.opening import random_weights
from pipelines.audit.attacking import passing_arms
from pipelines.audit.lines import Line
from pipelines.audit.run import attack_all
from pipelines.audit.settings import resolve_audit
from pipelines.audit.workshop import Workshop
from pipelines.process.progress import Reporter
from pipelines.run.models import open_model

pytestmark = pytest.mark.slow


def shop_of(folder: Path, *attacks: str, **more: object) -> Workshop:
    """The demo as its own audited model, beside itself and random weights."""
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
