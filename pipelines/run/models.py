"""From what a user calls a model to a checkpoint: the demo, a folder, a file, a hub id."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.writing.folder import folder_size
from erasure.diffusion.schedule import Prediction
from erasure.errors import CheckpointError, ConfigError
from erasure.storage.json_text import parsed
from pipelines.early import DDPM_DEMO, DEMO, DEMO_FLOW, EMBEDDED, require_model_name
from pipelines.process.heap import give_back_large_blocks
from prompts.hub import announce_hub

log = logging.getLogger(__name__)

_ASSETS: Final = Path(__file__).parents[1] / "assets"
DEMO_FOLDER: Final = _ASSETS / DEMO
DDPM_FOLDER: Final = _ASSETS / DDPM_DEMO
FLOW_FOLDER: Final = _ASSETS / DEMO_FLOW
CANVAS_NAME: Final = "diffusion-erasure-canvas"
"""`_name_or_path` in the model index of the embedded checkpoint and of all made from it."""
CLOTHES_NAME: Final = "diffusion-erasure-clothes"
"""The same of the embedded class-conditional checkpoint."""
_OWN_JUDGES: Final = {CANVAS_NAME: "canvas", CLOTHES_NAME: "clothes"}
PREDICTIONS: Final[Mapping[str, Prediction]] = {"epsilon": "epsilon", "v": "v_prediction"}
"""What a user calls what a model predicts -> what diffusers calls it."""
_LARGE_MODEL: Final = 10**9
"""Bytes of weights from which on the C library gives free memory back at once: that holds peaks
down, and costs a small model a third of its drawing's speed (measured on the demo)."""
_HUB_FILES: Final = ["model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"]
_HUB_TWINS: Final = ["*.fp16.*", "*.fp16-*", "*non_ema*", "vae_*/*"]
"""The same weights again, in a smaller type or before averaging, and SD XL's other autoencoders:
gigabytes nobody asked for."""


def open_model(
    model: str,
    *,
    config: str | None = None,
    vae: str | None = None,
    text_encoders: Sequence[str] | None = None,
    allow_pickle: bool = False,
    prediction: str | None = None,
) -> Checkpoint:
    """Read the checkpoint that a user means.

    A name that exists on this machine is a path; else `owner/name` is looked up on the hub, in
    its cache first. What it does not hold and was taken from elsewhere is logged as a warning.

    Args:
        prediction: a key of `PREDICTIONS`, where the model itself does not say.

    Raises:
        CheckpointError: there is no such model, it cannot be read, or it says otherwise.
        ConfigError: `config` is given for a folder, or `prediction` is none.
    """
    if prediction is not None and prediction not in PREDICTIONS:
        raise ConfigError(f"prediction is {prediction!r}; give {' or '.join(PREDICTIONS)}")
    path = find_model(model)
    if config and path.is_dir():
        raise ConfigError(
            f"--config is {config!r} and would not be read, as {model} is a folder with configs of "
            "its own; leave --config out, or give a single file"
        )
    checkpoint = read_checkpoint(
        path,
        config=Path(os.path.expanduser(config)) if config else None,
        vae=Path(os.path.expanduser(vae)) if vae else None,
        text_encoders=text_encoders or (),
        allow_pickle=allow_pickle,
        prediction=None if prediction is None else PREDICTIONS[prediction],
    )
    for note in checkpoint.notes:
        log.warning("%s", note)
    if folder_size(checkpoint) >= _LARGE_MODEL:
        give_back_large_blocks()
    return checkpoint


class Reading(Protocol):
    """How a recipe says that models are read."""

    @property
    def config(self) -> str | None:
        """A folder of configs, for single files."""

    @property
    def vae(self) -> str | None:
        """A file or folder with a VAE in the place of the model's."""

    @property
    def text_encoders(self) -> Sequence[str] | None:
        """Files of text encoders, for single files without them."""

    @property
    def allow_pickle(self) -> bool:
        """Whether pickles are read."""

    @property
    def prediction(self) -> str | None:
        """What the model predicts, where it does not say itself."""


def open_by(
    reading: Reading, model: str, *, others: Sequence[str | None] | None = None
) -> Checkpoint:
    """One of several models of a recipe, by what the recipe says of reading any; see `open_model`.

    Its configs and text encoders are for those that are single files.

    Args:
        others: of the first that is opened, the others; where none of all is a single file, it says
            that it has no use for these.
    """
    config, texts = reading.config, reading.text_encoders
    if others is None:
        own = _files_of(model, config, texts)
    else:
        own = files_for([model, *filter(None, others)], config, texts)[0]
    return open_model(
        model,
        **own,
        vae=reading.vae,
        allow_pickle=reading.allow_pickle,
        prediction=reading.prediction,
    )


def files_for(
    models: Sequence[str], config: str | None, texts: Sequence[str] | None
) -> tuple[dict[str, Any], ...]:
    """Which of the files that stand for missing parts `open_model` is given, for each of several
    models; those for which no model has a use go to the first, which then says so."""
    each = tuple(_files_of(model, config, texts) for model in models)
    for name, value in (("config", config), ("text_encoders", texts)):
        if not any(one[name] for one in each):
            each[0][name] = value
    return each


def _files_of(model: str, config: str | None, texts: Sequence[str] | None) -> dict[str, Any]:
    """The same for one of several, without a word on what it has no use for."""
    return {"config": config_for(model, config), "text_encoders": texts_for(model, texts)}


def config_for(model: str, config: str | None) -> str | None:
    """The config folder where the model is a single file; None for a folder, which has its own."""
    return config if config and is_single_file(model) else None


def texts_for(model: str, texts: Sequence[str] | None) -> Sequence[str] | None:
    """The text encoders where the model is a single file; none for a folder, which has its own."""
    return texts if is_single_file(model) else None


def is_single_file(model: str) -> bool:
    """Whether what a user calls a model is a file here, which may lack what a folder has."""
    return os.path.isfile(os.path.expanduser(model))


def find_model(model: str) -> Path:
    """The folder or file of a model, downloaded if need be."""
    if model in EMBEDDED:
        return _ASSETS / model
    path = Path(os.path.expanduser(model))
    if os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        inner = path / "model"  # in the folder of a run
        return inner if inner.is_dir() and not (path / "model_index.json").exists() else path
    require_model_name(model)
    announce_hub(model)
    try:
        folder = Path(
            snapshot_download(model, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_TWINS)
        )
        if not _has_weights(folder):  # twins alone
            folder = Path(snapshot_download(model, allow_patterns=_HUB_FILES))
        return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as err:
        reason = str(err).splitlines()[0][:160] if str(err) else type(err).__name__
        raise CheckpointError(
            f"{model!r} is neither a path here nor could it be had from the hub ({reason}); "
            "check the name and the network, or give a local folder"
        ) from err


def _has_weights(folder: Path) -> bool:
    """Whether each part of some architecture has a file of weights there."""
    return any(
        all(
            any((folder / part.component).glob("*.safetensors"))
            for part in architecture.parts
            if not part.optional
        )
        for architecture in ARCHITECTURES.values()
    )


def is_canvas(checkpoint: Checkpoint) -> bool:
    """Whether it understands the prompts of the canvas: the embedded checkpoint and its edits."""
    return checkpoint.description.model_index.get("_name_or_path") == CANVAS_NAME


def own_judge(checkpoint: Checkpoint) -> str | None:
    """The judge that comes with the package and knows all that an embedded model draws; None for a
    model that is neither embedded nor an edit of one."""
    return _OWN_JUDGES.get(str(checkpoint.description.model_index.get("_name_or_path")))


def is_canvas_folder(path: Path) -> bool:
    """The same of a model that is not read yet; False for a file, which does not say."""
    index = path / "model_index.json"
    try:
        named = parsed(index.read_bytes()) if index.is_file() else None
    except (OSError, ValueError):  # whoever reads the model says what is wrong with it
        return False
    return isinstance(named, dict) and named.get("_name_or_path") == CANVAS_NAME


def pick_device(name: str) -> torch.device:
    """The device asked for; `auto` takes an accelerator where there is one.

    Raises:
        ConfigError: it is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there.get(name, False):
        raise ConfigError(
            f"device {name!r} was asked for and is not there; leave --device out, or use "
            f"{' or '.join(d for d, available in there.items() if available)}"
        )
    return torch.device(name)
