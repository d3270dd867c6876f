"""Remove a concept from a diffusion model: saliency, objectives, masked training, checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.reading.reading import read_checkpoint
    from erasure.checkpoints.verification import verify
    from erasure.checkpoints.writing.folder import write_folder
    from erasure.checkpoints.writing.single_file import write_single_file
    from erasure.diffusion.data.encoding import encode_concept
    from erasure.diffusion.data.prompted import PromptedPixels
    from erasure.diffusion.edit import erase
    from erasure.diffusion.mask_finding import find_mask
    from erasure.diffusion.scores.saliency import SaliencyConfig
    from erasure.editing.proving import Edit
    from erasure.masks.mask_file import load_mask, save_mask
    from erasure.masks.masks import SaliencyMask
    from erasure.methods import METHODS, Esd, GradientAscent, Method, SalUn, Uce, make_method
    from erasure.patches.applying import apply_patch, remove_patch
    from erasure.patches.patch_file import load_patch
    from erasure.patches.pipeline_patch import patch_pipeline, patched_pipeline
    from erasure.training.step import Step
    from erasure.training.train_config import TrainConfig

__all__ = [
    "METHODS",
    "Checkpoint",
    "Edit",
    "Esd",
    "GradientAscent",
    "Method",
    "PromptedPixels",
    "SalUn",
    "SaliencyConfig",
    "SaliencyMask",
    "Step",
    "TrainConfig",
    "Uce",
    "apply_patch",
    "encode_concept",
    "erase",
    "find_mask",
    "load_mask",
    "load_patch",
    "make_method",
    "patch_pipeline",
    "patched_pipeline",
    "read_checkpoint",
    "remove_patch",
    "save_mask",
    "verify",
    "write_folder",
    "write_single_file",
]

_HOMES = {
    "Checkpoint": "erasure.checkpoints.checkpoint",
    "write_folder": "erasure.checkpoints.writing.folder",
    "read_checkpoint": "erasure.checkpoints.reading.reading",
    "write_single_file": "erasure.checkpoints.writing.single_file",
    "verify": "erasure.checkpoints.verification",
    "Edit": "erasure.editing.proving",
    "erase": "erasure.diffusion.edit",
    "find_mask": "erasure.diffusion.mask_finding",
    "PromptedPixels": "erasure.diffusion.data.prompted",
    "encode_concept": "erasure.diffusion.data.encoding",
    "load_mask": "erasure.masks.mask_file",
    "save_mask": "erasure.masks.mask_file",
    "SaliencyMask": "erasure.masks.masks",
    "METHODS": "erasure.methods",
    "Esd": "erasure.methods",
    "GradientAscent": "erasure.methods",
    "Method": "erasure.methods",
    "SalUn": "erasure.methods",
    "Uce": "erasure.methods",
    "make_method": "erasure.methods",
    "apply_patch": "erasure.patches.applying",
    "remove_patch": "erasure.patches.applying",
    "load_patch": "erasure.patches.patch_file",
    "patch_pipeline": "erasure.patches.pipeline_patch",
    "patched_pipeline": "erasure.patches.pipeline_patch",
    "SaliencyConfig": "erasure.diffusion.scores.saliency",
    "Step": "erasure.training.step",
    "TrainConfig": "erasure.training.train_config",
}
"""Public name -> its module, imported when the name is first asked for: torch, which they need,
takes seconds, and a command that refuses its input needs the errors alone."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
