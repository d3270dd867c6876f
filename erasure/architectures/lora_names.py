"""How files of thin factors name the layers of a family."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraNames:
    """The names of kohya-ss/sd-scripts, which ComfyUI, A1111 and diffusers read."""

    original: bool
    """Whether the main component's layers have their original names there, and not those of
    diffusers."""
    text: Mapping[str, tuple[str, ...]]
    """Text encoder -> what its names may begin with; the first is what is written."""
    version: Mapping[str, str]
    """`prediction_type` -> `ss_base_model_version`."""
