"""Remove a concept from a diffusion model: saliency, objectives, masked training, checkpoints."""

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.folder import write_folder
from erasure.checkpoints.reading import read_checkpoint
from erasure.checkpoints.single_file import write_single_file
from erasure.checkpoints.verify import verify
from erasure.edit import Edit, erase, find_mask
from erasure.encoding import PromptedPixels, encode_concept
from erasure.mask_file import load_mask, save_mask
from erasure.masks import SaliencyMask
from erasure.methods import METHODS, Esd, GradientAscent, Method, SalUn, Uce, make_method
from erasure.saliency import SaliencyConfig
from erasure.trainer import Step, TrainConfig

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
    "encode_concept",
    "erase",
    "find_mask",
    "load_mask",
    "make_method",
    "read_checkpoint",
    "save_mask",
    "verify",
    "write_folder",
    "write_single_file",
]
