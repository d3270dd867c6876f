"""Everything of a pipeline that is not weights: its configs and its tokenizer's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from erasure.errors import CheckpointError

CONFIG_FILES: Final = {
    "model_index": "model_index.json",
    "scheduler": "scheduler/scheduler_config.json",
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
}
"""Field of `Description` -> file in a diffusers folder."""

_SHIPPED: Final = Path(__file__).with_name("configs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The small files of a diffusers folder."""

    model_index: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    tokenizer: Mapping[str, bytes] = field(default_factory=dict)
    """Name in the folder `tokenizer` -> content; empty where no vocabulary was found."""

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: `epsilon` or `v_prediction`."""
        return str(self.scheduler.get("prediction_type", "epsilon"))

    @property
    def resolution(self) -> int:
        """Side of the pictures it draws by default, in pixels."""
        levels: int = len(self.vae["block_out_channels"])
        return int(self.unet["sample_size"]) << (levels - 1)

    def configs(self) -> dict[str, Mapping[str, Any]]:
        """The parts that are JSON, by the keys of `CONFIG_FILES`."""
        return {name: getattr(self, name) for name in CONFIG_FILES}


def read_description(folder: Path) -> Description:
    """Read the configs and the tokenizer of a diffusers folder.

    Raises:
        CheckpointError: a config is missing or is no JSON object.
    """
    configs = {name: read_json(folder / file) for name, file in CONFIG_FILES.items()}
    return Description(**configs, tokenizer=_read_files(folder / "tokenizer"))


def shipped_description(key: str, *, prediction_type: str | None = None) -> Description:
    """The configs of the published checkpoints, without a vocabulary.

    Args:
        key: `sd1` or `sd2`.
        prediction_type: None keeps the family's own. SD 2 with `epsilon` is the 512-pixel base.
    """
    folder = _SHIPPED / key
    found = replace(read_description(folder), tokenizer={})
    if prediction_type in (None, found.prediction_type):
        return found
    scheduler = {**found.scheduler, "prediction_type": prediction_type}
    base = key == "sd2" and prediction_type == "epsilon"
    unet = {**found.unet, "sample_size": 64} if base else found.unet
    return replace(found, scheduler=scheduler, unet=unet)


def shipped_tokenizer_settings(key: str) -> dict[str, bytes]:
    """The tokenizer's settings that go with CLIP's vocabulary."""
    return _read_files(_SHIPPED / key / "tokenizer")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; CheckpointError where the file is missing or holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; a complete diffusers folder is needed"
        ) from err
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a JSON {type(found).__name__}, not an object")
    return found


def _read_files(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
