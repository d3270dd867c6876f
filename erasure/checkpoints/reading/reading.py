"""Read a checkpoint from this machine: a diffusers folder or an original single file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.finite import not_finite
from erasure.checkpoints.description import read_config
from erasure.checkpoints.facts.given_text import GivenText
from erasure.checkpoints.facts.given_vae import GivenVae
from erasure.checkpoints.reading.checking import require_finite
from erasure.checkpoints.reading.reading_file import open_file, read_single_file
from erasure.checkpoints.reading.reading_folder import read_folder, read_vae_folder
from erasure.checkpoints.wording import counted, few
from erasure.diffusion.schedule import Prediction
from erasure.errors import CONFIG, TEXT_ENCODER, CheckpointError
from erasure.local_paths import named_path, typed_path


def read_checkpoint(
    path: Path,
    *,
    config: Path | None = None,
    vae: Path | None = None,
    text_encoders: Sequence[str | Path] = (),
    allow_pickle: bool = False,
    prediction: Prediction | None = None,
) -> Checkpoint:
    """Read and check a Stable Diffusion 1.x, 2.x or XL checkpoint.

    Args:
        path: a folder with `model_index.json`, or a file.
        config: for a single file, a diffusers folder with its configs and tokenizer; of its weights
            only those of components that the file lacks are read. Default: what the file's header
            holds, else the published configs and CLIP's vocabulary.
        vae: a VAE in the place of the model's, or for a model without: a file with one, or the
            folder of one or of a pipeline.
        text_encoders: for a single file, files of the text encoders that it lacks; where names and
            sizes leave open which one a file is, `text_encoder_2=FILE`.
        allow_pickle: also read `.ckpt`, `.pt` and `.bin`, with `weights_only=True`.
        prediction: what its main component predicts, where it cannot be told from the checkpoint.

    Raises:
        CheckpointError: missing, damaged, incomplete, refused, another architecture, with weights
            that are NaN or infinite, or contradicted by itself or by `prediction`.

    Examples:
        >>> checkpoint = read_checkpoint(Path("model"))
        >>> checkpoint.architecture.title
        'Stable Diffusion 1.x'
        >>> sorted(checkpoint.components)
        ['text_encoder', 'unet', 'vae']
    """
    own_vae = None if vae is None else open_vae(vae, allow_pickle=allow_pickle)
    texts = [_open_text(text, allow_pickle=allow_pickle) for text in text_encoders]
    checkpoint = _read(
        path, config, own_vae, texts, allow_pickle=allow_pickle, prediction=prediction
    )
    require_finite(checkpoint.components, path, checkpoint.sources)
    return _with_finite_extras(checkpoint)


def _with_finite_extras(checkpoint: Checkpoint) -> Checkpoint:
    """The same without weights of no component that are not finite: nothing computes with them, and
    no file that this package writes may hold them."""
    extras = checkpoint.extras
    broken = {name for name, weight in extras.items() if not_finite({"": {name: weight}})}
    if not broken:
        return checkpoint
    note = (
        f"{checkpoint.path} has {counted(len(broken))} with NaN or infinite values that are of no "
        f"part of its model ({few(sorted(broken))}); they are left out"
    )
    left = {name: weight for name, weight in extras.items() if name not in broken}
    return replace(checkpoint, extras=left, notes=(*checkpoint.notes, note))


def open_vae(path: Path, *, allow_pickle: bool = False) -> GivenVae:
    """Find the weights of a VAE.

    Raises:
        CheckpointError: there are none, or they are damaged or refused.
    """
    if not path.exists():
        raise CheckpointError(
            f"there is no VAE {path}; give a .safetensors file, or the folder of a VAE or pipeline"
        )
    if not path.is_dir():
        return GivenVae(path, open_file(path, allow_pickle=allow_pickle), None)
    folder = path / "vae" if (path / "model_index.json").exists() else path
    config = read_config(folder / "config.json", path)
    return GivenVae(path, read_vae_folder(folder, path, allow_pickle=allow_pickle), config)


def _open_text(text: str | Path, *, allow_pickle: bool) -> GivenText:
    """The weights of a text encoder; CheckpointError where there are none, or they are refused."""
    component, place = named_path(str(text))
    if not place:
        raise CheckpointError(f"the text encoder {str(text)!r} names no file; give one")
    path = typed_path(place)
    if path.is_dir():
        raise CheckpointError(
            f"the text encoder {path} is a folder; give a .safetensors file, or a whole diffusers "
            "folder as ",
            CONFIG,
        )
    if not path.exists():
        raise CheckpointError(f"there is no text encoder {path}; give a .safetensors file")
    return GivenText(path, open_file(path, allow_pickle=allow_pickle), component)


def _read(
    path: Path,
    config: Path | None,
    vae: GivenVae | None,
    texts: Sequence[GivenText],
    *,
    allow_pickle: bool,
    prediction: Prediction | None,
) -> Checkpoint:
    if config is not None and not (config / "model_index.json").is_file():
        raise CheckpointError(f"config {config} is no diffusers folder: it has no model_index.json")
    if path.is_dir() and texts:
        raise CheckpointError(
            f"{path} is a folder with text encoders of its own, so {texts[0].path} would not be "
            "read; leave ",
            TEXT_ENCODER,
            " out, or give a single file",
        )
    if path.is_dir():
        return read_folder(path, vae=vae, allow_pickle=allow_pickle, prediction=prediction)
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist; give a diffusers folder or a .safetensors file"
        )
    return read_single_file(
        path,
        config=config,
        vae=vae,
        texts=texts,
        allow_pickle=allow_pickle,
        prediction=prediction,
    )
