"""Everything of a pipeline that is not weights: its configs and its tokenizer's files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.checks.config_limits import require_plausible
from erasure.checkpoints.checks.containment import inside
from erasure.errors import CheckpointError
from erasure.storage.bare_names import require_bare
from erasure.storage.json_text import parsed
from erasure.storage.regular_files import require_regular

CONFIG_FILES: Final = {
    "model_index": "model_index.json",
    "scheduler": "scheduler/scheduler_config.json",
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "text_encoder_2": "text_encoder_2/config.json",
}
"""Field of `Description` -> file in a diffusers folder."""
TOKENIZERS: Final = ("tokenizer", "tokenizer_2")
"""Fields of `Description` with a vocabulary, each a folder of that name."""

LARGEST_CONFIG: Final = 256_000
"""Bytes of one config: those of published models have 5,000."""
_LARGEST_TOKENIZER_FILE: Final = 16_000_000  # bytes; those of CLIP have 2.2 MB at most

_SHIPPED: Final = Path(__file__).with_name("configs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The small files of a diffusers folder."""

    model_index: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    text_encoder_2: Mapping[str, Any] = field(default_factory=dict)
    """Empty where the family has one text encoder."""
    tokenizer: Mapping[str, bytes] = field(default_factory=dict)
    """Name in the folder `tokenizer` -> content; empty where no vocabulary was found."""
    tokenizer_2: Mapping[str, bytes] = field(default_factory=dict)
    """That of the second text encoder."""

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
        configs = {name: getattr(self, name) for name in CONFIG_FILES}
        return {name: config for name, config in configs.items() if config}

    def tokenizers(self) -> dict[str, Mapping[str, Any]]:
        """Each of `TOKENIZERS` that the family has -> config of the text encoder it feeds."""
        encoders = {name: getattr(self, encoder_of(name)) for name in TOKENIZERS}
        return {name: config for name, config in encoders.items() if config}


def encoder_of(tokenizer: str) -> str:
    """The text encoder that a tokenizer feeds, both as fields of `Description`."""
    return tokenizer.replace("tokenizer", "text_encoder")


def read_description(
    folder: Path, own: Mapping[str, Mapping[str, Any]] | None = None
) -> Description:
    """Read the configs and the tokenizers of a diffusers folder.

    Args:
        folder: with `model_index.json`.
        own: configs, by the keys of `CONFIG_FILES`, in the place of the folder's own.

    Raises:
        CheckpointError: a config is missing, is no JSON object or describes no model that could
            be, a component has no bare name, or a file leads out of the folder.
    """
    own = own or {}
    index = own.get("model_index") or read_model_index(folder)
    pair = has_component(index, "text_encoder_2")
    files = {n: file for n, file in CONFIG_FILES.items() if pair or n != "text_encoder_2"}
    configs = {
        name: own[name] if name in own else read_config(folder / file, folder)
        for name, file in files.items()
    }
    require_plausible(configs, str(folder))
    words = {name: _read_files(folder / name, folder) for name in TOKENIZERS[: 1 + pair]}
    return Description(**configs, **words)


def read_model_index(folder: Path) -> dict[str, Any]:
    """`model_index.json` of a diffusers folder, its keys checked before anything uses them.

    Raises:
        CheckpointError: it is missing or no JSON object, or a key is not a bare name.
    """
    path = folder / CONFIG_FILES["model_index"]
    index = read_config(path, folder)
    require_component_names(index, str(path))
    return index


def require_component_names(model_index: Mapping[str, Any], where: str) -> None:
    """Raise CheckpointError unless every key is a bare name: each becomes a folder's name."""
    for name in model_index:
        require_bare(name, where)


def has_component(model_index: Mapping[str, Any], name: str) -> bool:
    """Whether a `model_index.json` names a class for that component."""
    entry = model_index.get(name)
    return isinstance(entry, list) and None not in entry


def shipped_description(key: str, *, prediction_type: str | None = None) -> Description:
    """The configs of the published checkpoints, without a vocabulary.

    Args:
        key: `sd1`, `sd2` or `sdxl`.
        prediction_type: None keeps the family's own. SD 2 with `epsilon` is the 512-pixel base.
    """
    folder = _SHIPPED / key
    shipped = replace(read_description(folder), tokenizer={}, tokenizer_2={})
    if prediction_type in (None, shipped.prediction_type):
        return shipped
    scheduler = {**shipped.scheduler, "prediction_type": prediction_type}
    base = key == "sd2" and prediction_type == "epsilon"
    unet = {**shipped.unet, "sample_size": 64} if base else shipped.unet
    return replace(shipped, scheduler=scheduler, unet=unet)


def shipped_tokenizer_settings(key: str, tokenizer: str = "tokenizer") -> dict[str, bytes]:
    """The settings of one of `TOKENIZERS` that go with CLIP's vocabulary."""
    return _read_files(_SHIPPED / key / tokenizer, _SHIPPED)


def read_config(path: Path, root: Path) -> dict[str, Any]:
    """`read_json` of a config in a model's folder `root`, which it may not lead out of."""
    return read_json(inside(path, root), limit=LARGEST_CONFIG)


def read_json(path: Path, *, limit: int = 16_000_000) -> dict[str, Any]:
    """A JSON object; CheckpointError where the file is missing, holds something else, or has more
    than `limit` bytes."""
    require_regular(path)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        values = parsed(content)
    except FileNotFoundError as err:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; a complete diffusers folder is needed"
        ) from err
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a JSON {type(values).__name__}, not an object")
    return values


def _read_files(folder: Path, root: Path) -> dict[str, bytes]:
    if not inside(folder, root).is_dir():
        return {}
    files = [inside(path, root) for path in sorted(folder.iterdir())]
    large = [f for f in files if f.is_file() and f.stat().st_size > _LARGEST_TOKENIZER_FILE]
    if large:
        raise CheckpointError(
            f"{large[0]} has more than {_LARGEST_TOKENIZER_FILE:,} bytes, and no tokenizer's file "
            "has; take it out if it does not belong there"
        )
    return {file.name: file.read_bytes() for file in files if file.is_file()}
