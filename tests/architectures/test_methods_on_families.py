"""Every method on every family: it erases, or says what is missing."""

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
from erasure.diffusion.edit import component_of
from erasure.errors import ConfigError
from erasure.methods import METHODS
from erasure.methods.protocol import Method

CLOSED = ("uce", "rece", "speed", "mace")
ONE_STEP = {
    **{"steps": 1, "batch_size": 1, "learning_rate": 1e-3, "rollout_steps": 2},
    **{"pictures": 1, "drawing_steps": 2, "around_300": False},
}
OWN: dict[str, dict[str, Any]] = {
    "ant": {"keep_steps": 1},
    "adv-unlearn": {"retain_batch": 1, "attack_steps": 1, "attack_warmup": 0},
    "speed": {"filtered": False, "threshold": 0.3},  # few features, so few directions are free
}


def method_of(name: str) -> Method:
    """One step of one sample."""
    known = {field.name for field in fields(METHODS[name])}  # type: ignore[arg-type]
    made = {key: value for key, value in ONE_STEP.items() if key in known}
    return METHODS[name](**made, **OWN.get(name, {}))


def refusal_of(name: str, family: Architecture) -> str:
    """What the refusal of a method says; empty where it runs."""
    if name == "adv-unlearn" and "text_encoder" not in family.editable:
        return "has no component 'text_encoder' that can be edited"
    solved = "xattn-kv" in family.scopes or (name == "uce" and family.text_readers)
    if name in CLOSED and not solved:
        return f"has no cross-attention, which is what {name} rewrites; take"
    return ""


@pytest.mark.default("flux_dev", "dit", "sd2")
@pytest.mark.parametrize("key", FAMILIES)
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
    masks = {checkpoint.architecture.main: find_mask(checkpoint, data, "random", density=0.3)}
    for name in METHODS:
        method = method_of(name)
        if refusal := refusal_of(name, checkpoint.architecture):
            with pytest.raises(ConfigError, match=refusal):
                erase(checkpoint, data, masks[checkpoint.architecture.main], method)
            continue
        component = component_of(method, checkpoint)
        if component not in masks:
            scope = {"scope": "layers", "component": component}
            masks[component] = find_mask(checkpoint, data, "random", density=0.3, **scope)
        edit = erase(checkpoint, data, masks[component], method)
        assert 0 < edit.provenance.last.moved <= masks[component].selected, name
        assert edit.unselected_identical
