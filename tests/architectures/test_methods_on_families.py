"""Every method on every family beside the UNets of text: it erases, or says what is missing."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.models.families import FAMILIES
from support.tiny import random_pictures

from erasure import erase, find_mask, read_checkpoint
from erasure.architectures.architecture import Architecture
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import AnchorPixels, PromptLists
from erasure.errors import ConfigError
from erasure.methods import METHODS
from erasure.methods.protocol import Method

CLOSED = ("uce", "rece", "speed", "mace")
UNETS = ("sd1", "sd2", "sdxl")


def method_of(name: str) -> Method:
    """One step of one sample."""
    wanted = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3, "rollout_steps": 2}
    if name == "ant":
        wanted["keep_steps"] = 1
    known = {field.name for field in fields(METHODS[name])}  # type: ignore[arg-type]
    made: dict[str, Any] = {key: value for key, value in wanted.items() if key in known}
    return METHODS[name](**made)


def refusal_of(name: str, family: Architecture) -> str:
    """What the refusal of a method says; empty where it runs."""
    if name == "adv-unlearn":
        return "has no component 'text_encoder' that can be edited"
    if name in CLOSED and not (name == "uce" and family.text_readers):
        return f"has no cross-attention, which is what {name} rewrites; take"
    return ""


@pytest.mark.default("flux_dev", "dit")
@pytest.mark.parametrize("key", [key for key in FAMILIES if key not in UNETS])
def test_a_method_erases_or_says_what_the_family_lacks(key: str, tmp_path: Path) -> None:
    family = FAMILIES[key]
    concept, other = family.prompts
    checkpoint = read_checkpoint(family.write(tmp_path / "model"))
    data = encode_concept(
        checkpoint,
        random_pictures([concept] * 2, side=16),
        {concept: [family.instead]},
        random_pictures([other] * 2, seed=1, side=16),
        prompts=PromptLists([concept], [other]),
        anchors=AnchorPixels(random_pictures([family.instead] * 2, side=16), [concept] * 2),
    )
    mask = find_mask(checkpoint, data, "random", density=0.3)
    for name in METHODS:
        if refusal := refusal_of(name, checkpoint.architecture):
            with pytest.raises(ConfigError, match=refusal):
                erase(checkpoint, data, mask, method_of(name))
        else:
            edit = erase(checkpoint, data, mask, method_of(name))
            assert 0 < edit.provenance.last.moved <= mask.selected, name
            assert edit.unselected_identical
