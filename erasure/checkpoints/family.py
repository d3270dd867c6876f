"""Which checkpoints are understood: a family is the list of its parts and how each is renamed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from erasure.checkpoints.layout import clip, openclip, unet, vae
from erasure.checkpoints.layout.renaming import Convert

TITLES: Final = {
    "unet": "UNet",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
}
"""Component -> what a sentence calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component of the pipeline and its place in an original single file."""

    component: str
    """Folder of the component in the diffusers layout."""
    prefix: str
    """What its names begin with in the single file, with the last dot."""
    to_original: Convert
    to_diffusers: Convert
    tidy_diffusers: Convert = dict
    """Older or newer spellings of the diffusers names -> the ones used here."""
    tidy_original: Convert = dict
    """The same for the original names."""

    @property
    def is_text(self) -> bool:
        """Whether it reads prompts."""
        return self.component.startswith("text_encoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One generation of Stable Diffusion."""

    key: str
    title: str
    pipeline: str
    """Class in `model_index.json`."""
    main: str
    """The component that denoises: it is measured, edited and hashed. It is one of `parts`."""
    parts: tuple[Part, ...]
    architectures: Mapping[str, str]
    """`prediction_type` -> `modelspec.architecture`."""

    def part(self, component: str) -> Part:
        """The part of that component; every family has `unet`, `vae` and `text_encoder`."""
        return next(part for part in self.parts if part.component == component)

    def to_original(self, components: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """All components, diffusers names -> one flat mapping with original names."""
        return {
            f"{part.prefix}{name}": weight
            for part in self.parts
            for name, weight in part.to_original(components[part.component]).items()
        }

    def part_of(self, weights: Mapping[str, Tensor], component: str) -> dict[str, Tensor]:
        """The weights of one part out of a single file, prefix removed, still original names."""
        prefix = self.part(component).prefix
        return {
            name.removeprefix(prefix): weight
            for name, weight in weights.items()
            if name.startswith(prefix)
        }


_UNET: Final = Part(
    component="unet",
    prefix="model.diffusion_model.",
    to_original=unet.to_original,
    to_diffusers=unet.to_diffusers,
)
_VAE: Final = Part(
    component="vae",
    prefix="first_stage_model.",
    to_original=vae.to_original,
    to_diffusers=vae.to_diffusers,
    tidy_diffusers=vae.modern_names,
)
_CLIP: Final = Part(
    component="text_encoder",
    prefix="cond_stage_model.transformer.",
    to_original=clip.to_original,
    to_diffusers=clip.to_diffusers,
    tidy_diffusers=clip.with_prefix,
    tidy_original=clip.with_prefix,
)
_OPENCLIP: Final = Part(
    component="text_encoder",
    prefix="cond_stage_model.model.",
    to_original=openclip.to_original,
    to_diffusers=openclip.to_diffusers,
    tidy_diffusers=clip.with_prefix,
    tidy_original=openclip.usual_names,
)

SD1: Final = Family(
    key="sd1",
    title="Stable Diffusion 1.x",
    pipeline="StableDiffusionPipeline",
    main="unet",
    parts=(_UNET, _VAE, _CLIP),
    architectures={"epsilon": "stable-diffusion-v1", "v_prediction": "stable-diffusion-v1"},
)
SD2: Final = Family(
    key="sd2",
    title="Stable Diffusion 2.x",
    pipeline="StableDiffusionPipeline",
    main="unet",
    parts=(_UNET, _VAE, _OPENCLIP),
    architectures={
        "epsilon": "stable-diffusion-v2-512",
        "v_prediction": "stable-diffusion-v2-768-v",
    },
)
SDXL: Final = Family(
    key="sdxl",
    title="Stable Diffusion XL",
    pipeline="StableDiffusionXLPipeline",
    main="unet",
    parts=(
        _UNET,
        _VAE,
        replace(_CLIP, prefix="conditioner.embedders.0.transformer."),
        replace(_OPENCLIP, component="text_encoder_2", prefix="conditioner.embedders.1.model."),
    ),
    architectures=dict.fromkeys(("epsilon", "v_prediction"), "stable-diffusion-xl-v1-base"),
)
FAMILIES: dict[str, Family] = {family.key: family for family in (SD1, SD2, SDXL)}
