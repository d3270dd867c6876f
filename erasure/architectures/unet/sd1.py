"""Stable Diffusion 1.x."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from erasure.architectures.architecture import Architecture
from erasure.architectures.autoencoder import build_autoencoder, latent_shape
from erasure.architectures.lora_names import LoraNames
from erasure.architectures.text.clip_towers import build_tokenizers
from erasure.architectures.unet import stable_diffusion as sd
from erasure.architectures.unet.beta_files import BetaFiles
from erasure.architectures.unet.names import UNET_LAYERS
from erasure.architectures.unet.network import UNetDenoiser, build_unet, sample
from erasure.architectures.unet.scopes import UNET_SCOPES
from erasure.checkpoints.checks.plain_unet import FIRST_CONVOLUTION
from erasure.checkpoints.facts.scheduler import describe_betas, noise_schedule_of
from erasure.checkpoints.facts.training_kind import settle

_TITLE: Final = "Stable Diffusion 1.x"


def _suits(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the text encoder is CLIP-L, whose activation is `quick_gelu`, which is also the
    default of transformers; the OpenCLIP of 2.x has `gelu`. The other's would draw wrong pictures.
    """
    text_encoder = configs.get("text_encoder", {})
    return bool(text_encoder.get("hidden_act", "quick_gelu") == "quick_gelu")


SD1: Final = Architecture(
    key="sd1",
    title=_TITLE,
    pipeline="StableDiffusionPipeline",
    main="unet",
    parts=(sd.UNET, sd.VAE, sd.CLIP),
    modelspec={"epsilon": "stable-diffusion-v1", "v_prediction": "stable-diffusion-v1"},
    files=BetaFiles(comfyui="nothing"),
    first_weight=FIRST_CONVOLUTION,
    suits=_suits,
    check_configs=partial(sd.check_configs, title=_TITLE),
    check_weights=sd.check_weights,
    build_network=build_unet,
    build_codec=build_autoencoder,
    build_text_encoder=sd.build_text_encoder,
    build_tokenizers=build_tokenizers,
    denoiser=UNetDenoiser,
    sample=sample,
    schedule=noise_schedule_of,
    settle=settle,
    describe_noise=describe_betas,
    guidance_kind="true",
    latent_shape=latent_shape,
    own_size=sd.own_size,
    scopes=UNET_SCOPES,
    layers=UNET_LAYERS,
    lora=LoraNames(
        original=False,
        text={"text_encoder": ("lora_te", "lora_te1")},
        version={"epsilon": "sd_v1", "v_prediction": "sd_v1"},
    ),
)
