"""The class-conditional DDPM of SalUn's release, by the names of its own checkpoints."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.labels import unet2d
from erasure.architectures.labels.ddpm import DDPM
from erasure.architectures.labels.released_network import ReleasedConfig, ReleasedUNet
from erasure.architectures.labels.scopes import SCOPE_DEFAULTS, SCOPE_HINTS
from erasure.architectures.layer_names import OTHER, LayerNames
from erasure.architectures.loading import copied
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

CLASS: Final = "ReleasedUNet"
"""`_class_name` in the config of the network."""
PIPELINE: Final = "SalUnDDPM"
"""The same in the index; no class of diffusers has this name."""
_BLOCK: Final = re.compile(r"(down|up)\.(\d+)\.")
_SIMPLE: Final = {
    "conv_in": "in",
    "temb": "time",
    "cemb": "time",
    "classes_emb": "time",
    "null_classes_emb": "time",
    "mid": "mid",
    "norm_out": "out",
    "conv_out": "out",
}
_SECTIONS: Final = ("in", "time", "down", "mid", "up", "out", OTHER)
_KINDS: Final = ("attn", "resnet", "norm", "time", "resample", "in", "out", OTHER)


def _block_of(name: str) -> str:
    if match := _BLOCK.match(name):
        return f"{match[1]}.{match[2]}"
    return _SIMPLE.get(name.partition(".")[0], OTHER)


def _block_order(block: str) -> tuple[int, int]:
    section, _, number = block.partition(".")
    return _SECTIONS.index(section), int(number or 0)


def _kind_of(name: str) -> str:
    parts = name.split(".")
    if any(part.startswith("norm") for part in parts):
        return "norm"
    if any(part.startswith("attn") for part in parts):
        return "attn"
    block = _block_of(name)
    if block == "time" or "temb_cemb_proj" in parts:
        return "time"
    if any(part.endswith("sample") for part in parts):
        return "resample"
    return block if block in ("in", "out", OTHER) else "resnet"


def _tells_class(name: str) -> bool:
    return name.startswith(("classes_emb.", "null_classes_emb", "cemb."))


def released_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the network that a config describes."""
    known = {field.name for field in fields(ReleasedConfig)}
    return ReleasedUNet(ReleasedConfig(**{k: v for k, v in config.items() if k in known}))


def _check(description: "Description", where: str) -> tuple[str, ...]:
    """Refuse a config that is none of this network.

    Raises:
        CheckpointError: as it says.
    """
    config = description.components["unet"]
    known = {field.name for field in fields(ReleasedConfig)}
    unknown = [name for name in config if name not in known and not name.startswith("_")]
    if config.get("_class_name") != CLASS or unknown:
        raise CheckpointError(
            f"{where} has a network of class {shown(config.get('_class_name'))} with the settings "
            f"{shown(unknown)} that {CLASS} has not; write the folder again with python -m "
            "pipelines.class_checkpoint.released"
        )
    for name in ("sample_size", "in_channels", "num_class_embeds", "width", "blocks"):
        whole_number(config, name, "the network", getattr(ReleasedConfig(), name))
    unet2d.classes(description, where)
    return ()


RELEASED: Final[Architecture] = replace(
    DDPM,
    key="salun-ddpm",
    title="the class-conditional DDPM of SalUn's release",
    pipeline=PIPELINE,
    parts=(
        Part(
            component="unet",
            title="UNet",
            prefix="salun_ddpm.",
            build=released_of,
        ),
    ),
    first_weight="null_classes_emb",
    class_table=lambda name: name == "classes_emb.weight",
    check_configs=_check,
    build_network=partial(copied, build=released_of, component="unet"),
    scopes={
        "full": lambda name: True,
        "attn": lambda name: _kind_of(name) == "attn",
        "labels": lambda name: _tells_class(name) or ".temb_cemb_proj." in name,
        "nolabels": lambda name: not _tells_class(name),
    },
    scope_hints=SCOPE_HINTS,
    scope_defaults=SCOPE_DEFAULTS,
    layers=LayerNames(_block_of, _block_order, _kind_of, _KINDS),
)
