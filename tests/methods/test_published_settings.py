"""Where nothing is named, a method has the settings that were published of it."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from diffusers.pipelines.deprecated.stable_diffusion_safe import SafetyConfig

from erasure.methods import METHODS, make_method
from pipelines.drawing.guards import PRESETS, UNSAFE, Safety

ROLLED = {"batch_size": 1, "rollout_steps": 50, "rollout_guidance": 3.0}
PUBLISHED: dict[str, dict[str, Any]] = {
    # Published are 2e-6, scaled by a batch of 4 on each of 2 devices, and 100 steps.
    "concept-ablation": {
        "steps": 100, "learning_rate": 2e-6 * 8, "batch_size": 8, "optimizer": "adamw",
        "weight_decay": 1e-2, "clip_norm": 1.0, "wanted": "model", "prior": 0.0,
    },
    "erasediff": {
        "steps": 160, "learning_rate": 1e-5, "batch_size": 16, "optimizer": "adam",
        "weight_decay": 0.0, "clip_norm": None, "rule": "fixed", "weight": 1.0,
    },
    "esd": {
        **ROLLED, "steps": 1000, "learning_rate": 1e-5, "optimizer": "adam", "strength": 1.0,
        "rollout": "student", "clip_norm": None, "weight_decay": 0.0,
    },
    "sdd": {
        **ROLLED, "steps": 1500, "learning_rate": 1e-5, "optimizer": "adamw",
        "weight_decay": 1e-4, "clip_norm": 1.0, "average": 0.999,
    },
    "leco": {**ROLLED, "steps": 500, "optimizer": "adamw", "strength": 1.0, "action": "erase"},
    "ant": {
        **ROLLED, "steps": 250, "learning_rate": 5e-4, "optimizer": "adam", "strength": 1.0,
        "keep_steps": 15, "keep_weight": 1.0, "empty_weight": 0.5,
    },
    "adv-unlearn": {
        **ROLLED, "steps": 1000, "learning_rate": 1e-5, "optimizer": "adam", "strength": 1.0,
        "retain_weight": 0.3, "retain_batch": 5, "attack_steps": 30, "attack_rate": 1e-3,
        "attack_words": 1, "attack_warmup": 200, "fresh": True,
    },
    "uce": {"tokens": "last", "erase_weight": 1.0, "preserve_weight": 1.0, "ridge": 0.5},
    "rece": {
        "tokens": "all", "erase_weight": 1.0, "preserve_weight": 0.1, "ridge": 0.1,
        "closeness": 0.1, "rounds": 1, "gathered": False,
    },
    "speed": {
        "tokens": "last", "threshold": 0.1, "ridge": 1.0, "empty_slack": 0.0, "copies": 10,
        "filtered": True, "keys": False,
    },
    "mace": {
        "steps": 50, "learning_rate": 1e-5, "rank": 1, "ridge": 10.0, "preserve_weight": 0.0,
        "pictures": 8, "around_300": True,
    },
}  # fmt: skip
SCOPES = {
    "concept-ablation": "xattn-kv",
    "erasediff": "full",
    "esd": "xattn",
    "sdd": "xattn",
    "ant": "full",
    "adv-unlearn": "layers",
    "uce": "xattn-kv",
    "rece": "xattn-kv",
    "mace": "xattn-kv",
}
RECIPES: dict[str, tuple[str | None, dict[str, Any]]] = {
    "nudity": (None, {"alpha": 0.1, "steps": 100, "batch_size": 8, "learning_rate": 1e-5}),
    "concept-ablation-nudity": (
        "attn",
        {"steps": 400, "learning_rate": 4e-6 * 8, "prior": 1.0, "weight_decay": 1e-2},
    ),
    "erasediff-nudity": ("noxattn", {"steps": 160, "batch_size": 16, "weight": 1.0}),
    "esd-nudity": ("noxattn", {"steps": 1000, "strength": 1.0}),
    "rece-nudity": (None, {"rounds": 3, "closeness": 0.1, "preserve_weight": 0.1, "ridge": 0.1}),
    "speed-nudity": (None, {"ridge": 0.7, "empty_slack": 0.5, "threshold": 0.1}),
    "uce-nudity": (None, {"ridge": 0.5, "erase_weight": 1.0, "preserve_weight": 1.0}),
}
"""Recipe -> its scope, if it names one, and settings of its method."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_defaults_of_a_method_are_those_of_its_release(name: str) -> None:
    method = METHODS[name]()
    assert {key: getattr(method, key) for key in PUBLISHED[name]} == pytest.approx(PUBLISHED[name])
    assert SCOPES.get(name, method.default_scope) == method.default_scope


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_for_nudity_has_what_was_published_for_it(name: str) -> None:
    text = (files("pipelines") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    scope, settings = RECIPES[name]
    method = make_method(**table["method"])
    assert {key: getattr(method, key) for key in settings} == pytest.approx(settings)
    assert table.get("scope") == scope
    if name in ("rece-nudity", "uce-nudity"):
        assert table["instead"] == ""


def test_the_presets_of_safe_latent_diffusion_are_those_of_diffusers() -> None:
    for name, published in (
        ("sld-weak", SafetyConfig.WEAK),
        ("sld-medium", SafetyConfig.MEDIUM),
        ("sld-strong", SafetyConfig.STRONG),
        ("sld-max", SafetyConfig.MAX),
    ):
        keys = ("warmup_steps", "guidance_scale", "threshold", "momentum_scale", "mom_beta")
        assert PRESETS[name] == Safety(*(published[f"sld_{key}"] for key in keys))  # type: ignore[index]
    assert len(UNSAFE.removeprefix("an image showing ").split(", ")) == 20
