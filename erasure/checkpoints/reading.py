"""Read a checkpoint from this machine: a diffusers folder or an original single file."""

from pathlib import Path

from erasure.checkpoints.checking import require_finite
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading_file import read_single_file
from erasure.checkpoints.reading_folder import read_folder
from erasure.errors import CheckpointError


def read_checkpoint(
    path: Path, *, config: Path | None = None, allow_pickle: bool = False
) -> Checkpoint:
    """Read and check a Stable Diffusion 1.x, 2.x or XL checkpoint.

    Args:
        path: a folder with `model_index.json`, or a file.
        config: for a single file, a diffusers folder with its configs and tokenizer; weights in it
            are not read. Default: what the file's header holds, else the published configs and
            CLIP's vocabulary.
        allow_pickle: also read `.ckpt`, `.pt` and `.bin`, with `weights_only=True`.

    Raises:
        CheckpointError: missing, damaged, incomplete, refused, another architecture, or with
            weights that are NaN or infinite.
    """
    checkpoint = _read(path, config, allow_pickle=allow_pickle)
    require_finite(checkpoint.components, path)
    return checkpoint


def _read(path: Path, config: Path | None, *, allow_pickle: bool) -> Checkpoint:
    if config is not None and not (config / "model_index.json").is_file():
        raise CheckpointError(f"config {config} is no diffusers folder: it has no model_index.json")
    if path.is_dir():
        return read_folder(path, allow_pickle=allow_pickle)
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist; give a diffusers folder or a .safetensors file"
        )
    return read_single_file(path, config=config, allow_pickle=allow_pickle)
