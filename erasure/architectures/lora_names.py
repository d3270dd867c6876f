"""How files of thin factors name the layers of a family."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from erasure.checkpoints.layout.fused import FusedLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraNames:
    """The names of kohya-ss/sd-scripts, which ComfyUI, A1111 and diffusers read."""

    original: bool
    """Whether the main component's layers have their original names there, and not those of
    diffusers."""
    layout: Callable[[Iterable[str]], FusedLayout] | None = None
    """Makes the layout of a main component whose original layers are fused of several, by the names
    of its weights; None where each layer has one of its own."""
    text: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Text encoder -> what its names may begin with; the first is what is written."""
    version: Mapping[str, str] = field(default_factory=dict)
    """`prediction_type` -> `ss_base_model_version`."""
    module: str = "networks.lora"
    """`ss_network_module`."""
