"""Read a checkpoint from this machine: a diffusers folder or an original single file."""

from pathlib import Path

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
        CheckpointError: missing, damaged, incomplete, refused, or another architecture.
    """
    if config is not None and not (config / "model_index.json").is_file():
        raise CheckpointError(f"config {config} is no diffusers folder: it has no model_index.json")
    if path.is_dir():
        return read_folder(path, allow_pickle=allow_pickle)
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist; give a diffusers folder or a .safetensors file"
        )
    return read_single_file(path, config=config, allow_pickle=allow_pickle)
