"""A tiny random model of every family, and what it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from erasure.architectures.labels.released_network import ReleasedConfig, ReleasedUNet
from pipelines.class_checkpoint.released import convert
from support.models.tiny_chat import write_flux2, write_qwen_image, write_z_image
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_labels import write_ddpm, write_dit
from support.models.tiny_models import SD2_LIKE, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.tiny import TINY, global_seed


def write_released(folder: Path) -> Path:
    """Write a random model of SalUn's release, as it is taken over from its pickle."""
    sizes = ReleasedConfig(
        sample_size=16, num_class_embeds=4, width=32, multipliers=(1, 2), blocks=1, attention=(8,)
    )
    with global_seed(0):
        state = ReleasedUNet(sizes).state_dict()
    pickled = folder.with_name("ckpt.pth")
    torch.save([{f"module.{name}": value for name, value in state.items()}], pickled)
    return convert(pickled, folder, side=16)


@dataclass(frozen=True)
class Family:
    """How a tiny model of a family is written, and what it is asked for."""

    write: Callable[[Path], Path]
    concept: str = "church"
    prompts: tuple[str, str] = ("a church", "a dog")
    """To forget, and to keep."""
    instead: str = "a castle"
    options: tuple[str, ...] = ()
    """What a command is told besides, where it measures a mask."""


PLAIN = ("--saliency-loss", "plain")
CLOTHES = ("sneaker", ("sneaker", "shirt"), "T-shirt")
NUMBERS = ("1", ("1", "2"), "0")
FAMILIES = {
    "sd1": Family(partial(write_pipeline, size=TINY)),
    "sd2": Family(partial(write_pipeline, size=SD2_LIKE)),
    "sdxl": Family(write_sdxl),
    "sd3": Family(write_sd3),
    "sd35_medium": Family(partial(write_sd3, kind="sd35_medium")),
    "sd35_large": Family(partial(write_sd3, kind="sd35_large")),
    "flux_dev": Family(write_flux, options=PLAIN),
    "flux_schnell": Family(partial(write_flux, kind="flux_schnell"), options=PLAIN),
    "flux2_klein": Family(write_flux2),
    "flux2_klein_distilled": Family(partial(write_flux2, distilled=True), options=PLAIN),
    "z_image": Family(write_z_image),
    "qwen_image": Family(write_qwen_image),
    "ddpm": Family(write_ddpm, *CLOTHES),
    "salun-ddpm": Family(write_released, *NUMBERS),
    "dit": Family(write_dit, *NUMBERS),
}
