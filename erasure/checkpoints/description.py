"""Everything of a pipeline that is not weights: its configs and its tokenizer's files."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.checks.config_limits import require_plausible
from erasure.checkpoints.checks.containment import entries_of, inside
from erasure.errors import CONFIG, CheckpointError
from erasure.storage.bare_names import require_bare, shown
from erasure.storage.cache import content_key
from erasure.storage.json_text import parsed
from erasure.storage.regular_files import require_regular

_FILES: Final = {
    "model_index": "model_index.json",
    "scheduler": "scheduler/scheduler_config.json",
}
TOKENIZER: Final = "tokenizer"
"""How the folders of vocabularies begin; what follows is what follows `text_encoder`."""
_TEXT_ENCODER: Final = "text_encoder"
_FLOW: Final = "FlowMatch"

LARGEST_CONFIG: Final = 256_000
"""Bytes of one config: those of published models have 5,000."""
_LARGEST_TOKENIZER_FILE: Final = 16_000_000  # bytes; those of CLIP have 2.2 MB at most

_COMPONENT: Final = re.compile(
    r"(unet|vae|transformer|scheduler|safety_checker|feature_extractor|image_encoder)"
    r"|(text_encoder|tokenizer)(_\d)?"
)
"""Keys of a `model_index.json` that are components in every pipeline."""
_SHIPPED: Final = Path(__file__).with_name("configs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The small files of a diffusers folder."""

    model_index: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    components: Mapping[str, Mapping[str, Any]]
    """Name of each part that has weights -> its config."""
    vocabularies: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Folder of a tokenizer -> name in it -> content; what has none was read without."""

    @property
    def prediction_type(self) -> str:
        """What the model predicts: `epsilon`, `v_prediction`, or `flow`, a velocity of a rectified
        flow."""
        if str(self.scheduler.get("_class_name")).startswith(_FLOW):
            return "flow"
        return str(self.scheduler.get("prediction_type", "epsilon"))

    def having(self, **components: Mapping[str, Any]) -> "Description":
        """Give the same with these configs of components, in the place of those it has."""
        return replace(self, components={**self.components, **components})

    def predicting(self, prediction: str) -> "Description":
        """Give the same with a scheduler of that `prediction_type`."""
        return replace(self, scheduler={**self.scheduler, "prediction_type": prediction})

    def lacking(self, component: str) -> "Description":
        """Give the same without the config and the vocabulary of a component."""
        tokenizer = component.replace(_TEXT_ENCODER, TOKENIZER)
        return replace(
            self,
            components={k: v for k, v in self.components.items() if k != component},
            vocabularies={k: v for k, v in self.vocabularies.items() if k != tokenizer},
        )

    def speaking(self, **vocabularies: Mapping[str, bytes]) -> "Description":
        """Give the same with these vocabularies, in the place of those it has."""
        return replace(self, vocabularies={**self.vocabularies, **vocabularies})

    def vocabulary(self, tokenizer: str) -> Mapping[str, bytes]:
        """Name in the folder of a tokenizer -> content; empty where no vocabulary was found."""
        return self.vocabularies.get(tokenizer, {})

    def digest(self) -> str:
        """Hash all of it, but for notes on versions and places: with the weights, that is all that
        decides what the model draws."""
        words = {
            tokenizer: {
                name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            }
            for tokenizer, files in self.vocabularies.items()
        }
        plain = {
            name: {key: value for key, value in config.items() if not key.startswith("_")}
            for name, config in self.configs().items()
        }
        return content_key(configs=plain, words=words)

    def configs(self) -> dict[str, Mapping[str, Any]]:
        """Everything that is JSON, by name; `config_file` has the file of each."""
        own = {"model_index": self.model_index, "scheduler": self.scheduler}
        return {**own, **self.components}

    def tokenizers(self) -> dict[str, Mapping[str, Any]]:
        """Folder of each tokenizer -> config of the text encoder it feeds."""
        return {
            name.replace(_TEXT_ENCODER, TOKENIZER): config
            for name, config in self.components.items()
            if name.startswith(_TEXT_ENCODER)
        }


def config_file(name: str) -> str:
    """Give the file in a diffusers folder of one of `Description.configs`."""
    return _FILES.get(name, f"{name}/config.json")


def encoder_of(tokenizer: str) -> str:
    """Give the text encoder that a tokenizer feeds, both by their folders."""
    return tokenizer.replace(TOKENIZER, _TEXT_ENCODER)


def read_description(
    folder: Path,
    components: Collection[str],
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Description:
    """Read the configs and the tokenizers of a diffusers folder.

    Args:
        folder: with `model_index.json`.
        components: those of its family.
        own: configs by name in the place of the folder's own.

    Raises:
        CheckpointError: a config is missing, is no JSON object or describes no model that could
            be, a component has no bare name, or a file leads out of the folder.
    """
    own = own or {}

    def read(name: str) -> Mapping[str, Any]:
        return own[name] if name in own else read_config(folder / config_file(name), folder)

    index = own.get("model_index") or read_model_index(folder)
    description = Description(
        model_index=index,
        scheduler=read("scheduler"),
        components={name: read(name) for name in components},
    )
    require_plausible(description.configs(), str(folder))
    words = {name: _read_files(folder / name, folder) for name in description.tokenizers()}
    return description.speaking(**words)


def read_model_index(folder: Path) -> dict[str, Any]:
    """`model_index.json` of a diffusers folder, its keys checked before anything uses them.

    Raises:
        CheckpointError: it is missing or no JSON object, or a key is not a bare name.
    """
    path = folder / config_file("model_index")
    index = read_config(path, folder)
    require_component_names(index, str(path))
    return index


def require_component_names(model_index: Mapping[str, Any], where: str) -> None:
    """Raise CheckpointError unless every key is a bare name, as each becomes a folder's name, and
    every component has library and class, or null for both where the pipeline is without it."""
    for name, entry in model_index.items():
        require_bare(name, where)
        if _COMPONENT.fullmatch(name) and not _is_class(entry):
            raise CheckpointError(
                f"{where} has {name} = {shown(entry)}, and the names of its library and its class "
                'must stand there, such as ["diffusers", "AutoencoderKL"]; correct the index or '
                "fetch it again"
            )


def _is_class(entry: object) -> bool:
    """Whether it is a pair of names, or of nulls."""
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        return False
    names = all(isinstance(part, str) and part.isprintable() and part for part in entry)
    return names or list(entry) == [None, None]


def has_component(model_index: Mapping[str, Any], name: str) -> bool:
    """Whether a `model_index.json` names a class for that component."""
    entry = model_index.get(name)
    return isinstance(entry, list) and None not in entry


def is_shipped(key: str) -> bool:
    """Whether configs of that family come with this package."""
    return (_SHIPPED / key).is_dir()


def shipped_description(key: str) -> Description:
    """The configs of the published checkpoints, without a vocabulary.

    Args:
        key: of a family, such as `sd1`.

    Raises:
        CheckpointError: there are none of that family.
    """
    if not is_shipped(key):
        raise CheckpointError(
            f"no configs of {key} come with this package; give ",
            CONFIG,
            ", a diffusers folder of the same model",
        )
    folder = _SHIPPED / key
    names = [name for name in read_model_index(folder) if (folder / config_file(name)).is_file()]
    components = [name for name in names if name not in _FILES]
    return replace(read_description(folder, components), vocabularies={})


def shipped_tokenizer_settings(key: str, tokenizer: str = "tokenizer") -> dict[str, bytes]:
    """The settings of one tokenizer that go with CLIP's vocabulary; none of a family whose configs
    do not come with this package."""
    return {} if not is_shipped(key) else _read_files(_SHIPPED / key / tokenizer, _SHIPPED)


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
        raise CheckpointError(f"{path} cannot be read as JSON: {err}; restore or fetch it") from err
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path} holds a JSON {type(values).__name__}, not an object; restore or fetch it"
        )
    return values


def _read_files(folder: Path, root: Path) -> dict[str, bytes]:
    if not inside(folder, root).is_dir():
        return {}
    files = list(entries_of(folder.iterdir, root))
    large = [f for f in files if f.is_file() and f.stat().st_size > _LARGEST_TOKENIZER_FILE]
    if large:
        raise CheckpointError(
            f"{large[0]} has more than {_LARGEST_TOKENIZER_FILE:,} bytes, and no tokenizer's file "
            "has; take it out if it does not belong there"
        )
    return {file.name: file.read_bytes() for file in files if file.is_file()}
