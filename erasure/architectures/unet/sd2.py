"""Stable Diffusion 2.x: as 1.x, with OpenCLIP as its text encoder."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from erasure.architectures.lora_names import LoraNames
from erasure.architectures.unet import stable_diffusion as sd
from erasure.architectures.unet.beta_files import BetaFiles
from erasure.architectures.unet.sd1 import SD1

_TITLE: Final = "Stable Diffusion 2.x"


def _suits(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the text encoder is OpenCLIP; 1.x has the other."""
    return not SD1.suits(configs)


SD2: Final = replace(
    SD1,
    key="sd2",
    title=_TITLE,
    parts=(sd.UNET, sd.VAE, sd.OPENCLIP),
    modelspec={
        "epsilon": "stable-diffusion-v2-512",
        "v_prediction": "stable-diffusion-v2-768-v",
    },
    files=BetaFiles(comfyui="bias", smaller=64),
    suits=_suits,
    check_configs=partial(sd.check_configs, title=_TITLE),
    lora=LoraNames(
        original=False,
        text={"text_encoder": ("lora_te", "lora_te1")},
        version={"epsilon": "sd_v2", "v_prediction": "sd_v2_v"},
    ),
)
