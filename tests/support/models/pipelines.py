"""The pipeline of diffusers of a model, which ours is held against."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffusers import DiffusionPipeline

from erasure import write_folder
from erasure.checkpoints.checkpoint import Checkpoint


def diffusers_pipeline(checkpoint: Checkpoint) -> Any:  # noqa: ANN401
    """What diffusers reads of the folder that is written of a model; without a progress bar.

    A part that may be missing, and is, is none there too.
    """
    parts = {part.component for part in checkpoint.architecture.parts}
    missing = parts - set(checkpoint.components)
    none = [name for one in missing for name in (one, one.replace("text_encoder", "tokenizer"))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        write_folder(checkpoint, path)
        pipeline = DiffusionPipeline.from_pretrained(
            path, local_files_only=True, **dict.fromkeys(none)
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
