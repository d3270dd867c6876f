"""What can be refused at once is refused before torch, which takes seconds, is imported."""

import json
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from support.console import command, erasure

import erasure as package
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.weights.low_rank import LowRank
from pipelines.configs.settings import EraseRecipe
from pipelines.early import CHOICES

LINES = [
    ["erase", "nosuch", "--concept", "x"],
    ["erase", "demo", "--concept", "x", "--saliency-loss", "guidance"],
    ["erase", "demo", "--concept", "x", "--device", "tpu"],
    ["erase", "demo", "--concept", "x", "--recipe", "nudty"],
    ["erase", "demo", "--concept", "x", "--concept", "x"],
    ["mask", "nosuch", "--concept", "x", "--out", "x.safetensors"],
    ["compare", "demo", "nosuch", "--prompt", "x", "--out", "x.png"],
    ["export", "nosuch", "--out", "x"],
    ["evaluate", "nosuch", "--suite", "canvas", "--out", "x"],
    ["evaluate", "demo", "--suite", "canvas"],
]
PROGRAM = f"""
import json, sys
from unittest.mock import patch
from pipelines.cli import main

found = []
for line in {LINES!r}:
    with patch.object(sys, "argv", ["erasure", *line]):
        try:
            main()
        except SystemExit as left:
            found.append([left.code, "torch" in sys.modules])
print(json.dumps(found))
"""


def test_refusals_come_before_torch_is_imported() -> None:
    said = command("-c", PROGRAM)
    assert json.loads(said.out) == [[2, False]] * len(LINES), said.err
    assert said.err.count("erasure: ") == len(LINES)


@pytest.mark.parametrize("key", CHOICES)
def test_the_early_choices_are_those_of_the_settings(key: str) -> None:
    table, _, name = key.rpartition(".")
    kinds = {"": EraseRecipe, "saliency": SaliencyConfig, "method": SalUn, "low_rank": LowRank}
    assert issubclass(SalUn, TrainConfig)
    hint = get_type_hints(kinds[table])[name]
    literal = next(part for part in (hint, *get_args(hint)) if get_origin(part) is Literal)
    assert get_args(literal) == CHOICES[key]


def test_the_package_gives_its_public_names_when_they_are_asked_for() -> None:
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nosuch"):
        package.nosuch  # noqa: B018


def test_an_early_refusal_names_the_nearest() -> None:
    said = erasure("erase", "demo", "--concept", "x", "--optimizer", "adamx")
    assert "--optimizer is 'adamx'; give one of adam, adamw, sgd; the nearest is" in said.err
