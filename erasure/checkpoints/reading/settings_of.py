"""Settings of a component's config that nobody here understands."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any

from erasure.errors import CheckpointError


@lru_cache
def default_settings(kind: str) -> Mapping[str, Any]:
    """Setting of a class of diffusers -> its default in the installed version."""
    import diffusers

    made = signature(getattr(diffusers, kind).__init__).parameters
    return {name: one.default for name, one in made.items() if name != "self"}


def refuse_unknown_settings(
    kind: str, component: str, config: Mapping[str, Any], understood: Collection[str], where: str
) -> None:
    """Raise CheckpointError where a setting may change what the model computes, unknown to us.

    Passed over are what begins with an underscore, null, and the default that diffusers has.
    """
    defaults = default_settings(kind)
    for name, value in config.items():
        if name in understood or name.startswith("_") or value is None:
            continue
        if name in defaults and defaults[name] == value:
            continue
        known = f"{defaults[name]!r}" if name in defaults else "no such setting"
        raise CheckpointError(
            f"{where} has {name} = {str(value)[:80]!r} in its config, where plain {component}s of "
            f"Stable Diffusion have {known}; what it changes is not known here, so the model is "
            "not edited: give its base model, or take the setting out if it means nothing"
        )
