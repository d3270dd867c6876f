"""Class-conditional DDPM on pixels: diffusers' `UNet2DModel` with a table of labels."""

from typing import TYPE_CHECKING, Final

import torch

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.labels import unet2d
from erasure.architectures.labels.label_encoder import LabelEncoder
from erasure.architectures.labels.pixels import PixelCodec
from erasure.architectures.labels.scopes import LABEL_SCOPES, SCOPE_DEFAULTS, SCOPE_HINTS
from erasure.architectures.unet.names import UNET_LAYERS
from erasure.checkpoints.facts.scheduler import describe_betas, noise_schedule_of
from erasure.checkpoints.facts.training_kind import settle

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

UNET2D: Final = Part(
    component="unet",
    title="UNet",
    prefix="unet2d.",
    build=unet2d.unet2d_of,
)


def _build_codec(checkpoint: "Checkpoint", dtype: torch.dtype) -> PixelCodec:
    channels, _, _ = unet2d.latent_shape(checkpoint.description, 1, 1)
    return PixelCodec(channels)


def _build_labels(checkpoint: "Checkpoint", dtype: torch.dtype) -> LabelEncoder:
    return LabelEncoder(unet2d.classes(checkpoint.description, str(checkpoint.path)))


DDPM: Final = Architecture(
    key="ddpm",
    title="class-conditional DDPM",
    pipeline="DDPMPipeline",
    main="unet",
    parts=(UNET2D,),
    modelspec={},
    implementation="diffusers",
    first_weight="class_embedding.weight",
    check_configs=unet2d.check_configs,
    build_network=unet2d.build_unet2d,
    build_codec=_build_codec,
    build_text_encoder=_build_labels,
    build_tokenizers=lambda checkpoint: (),
    denoiser=unet2d.LabelDenoiser,
    sample=unet2d.sample,
    schedule=noise_schedule_of,
    settle=settle,
    describe_noise=describe_betas,
    guidance_kind="true",
    own_guidance=3.0,
    own_eta=1.0,
    classes=unet2d.classes,
    class_table=lambda name: name == "class_embedding.weight",
    pixels=True,
    latent_shape=unet2d.latent_shape,
    own_size=unet2d.own_size,
    one_size=True,
    scopes=LABEL_SCOPES,
    scope_defaults=SCOPE_DEFAULTS,
    scope_hints=SCOPE_HINTS,
    layers=UNET_LAYERS,
)
