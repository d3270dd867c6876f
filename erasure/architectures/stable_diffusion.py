"""The adapter to diffusers and transformers for Stable Diffusion 1.x, 2.x and XL."""

# diffusers and transformers are imported where they are used: that takes seconds, and most of the
# package works without them.
# B samples, C x h x w latents, H x W pixels.

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.text_encoders import TextEncoder, TextEncoderPair
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import encoder_of
from erasure.checkpoints.facts.scheduler import noise_schedule_of
from erasure.checkpoints.family import SDXL
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.latent_scale import latent_scale
from erasure.diffusion.schedule import NoiseSchedule
from erasure.errors import CheckpointError
from erasure.storage.bare_names import require_bare

CLIP_WINDOW: Final = 77
"""Tokens that CLIP's text encoder reads, where its config does not say."""


@dataclass(frozen=True, slots=True)
class UNetDenoiser:
    """A UNet as the objectives call it."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> (B, C, h, w)."""
        output: Tensor = self.network(
            x_t,
            t,
            encoder_hidden_states=condition.tokens,
            added_cond_kwargs=dict(condition.added) or None,
        ).sample
        return output


def wrap_unet(network: nn.Module) -> Denoiser:
    """The denoiser of a UNet."""
    return UNetDenoiser(network)


def noise_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The forward process that a diffusers scheduler config describes.

    Raises:
        CheckpointError: the scheduler is of another kind, or the model predicts something else
            than noise or velocity.
    """
    return noise_schedule_of(config)


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """Turns pictures into posteriors of latents."""

    network: Any
    """AutoencoderKL"""

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (N, 3, H, W) in [-1, 1] -> scaled mean and deviation, (N, C, h, w) on CPU.

        All in one pass.
        """
        scale = latent_scale(self.network.config)
        taken = pixels.to(self.network.device, self.network.dtype)
        posterior = self.network.encode(taken).latent_dist
        return scale.posterior(posterior.mean.float().cpu(), posterior.std.float().cpu())


def build_unet(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The UNet on CPU in evaluation mode, its weights copied, so that training leaves the
    checkpoint as it is."""
    from diffusers import UNet2DConditionModel

    weights = {k: v.to(dtype, copy=True) for k, v in checkpoint.network.items()}
    network: nn.Module = _build(UNet2DConditionModel, checkpoint.description.unet, weights, "unet")
    return network


def build_image_encoder(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """The autoencoder on CPU."""
    from diffusers import AutoencoderKL

    weights = {k: v.to(dtype) for k, v in checkpoint.components["vae"].items()}
    return ImageEncoder(_build(AutoencoderKL, checkpoint.description.vae, weights, "vae"))


def build_text_encoder(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> TextEncoder | TextEncoderPair:
    """The text encoder on CPU, with its tokenizer; both, where the family has two."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    network = _build_tower(checkpoint, "text_encoder", CLIPTextModel, dtype)
    tokenizer = _build_tokenizer(checkpoint, "tokenizer")
    if checkpoint.family is not SDXL:
        return TextEncoder(tokenizer, network)
    second = _build_tower(checkpoint, "text_encoder_2", CLIPTextModelWithProjection, dtype)
    return TextEncoderPair(
        (tokenizer, _build_tokenizer(checkpoint, "tokenizer_2")),
        (network, second),
        # Silence means True: so the pipeline's own default has it.
        bool(checkpoint.description.model_index.get("force_zeros_for_empty_prompt", True)),
    )


def text_encoder_of(pipeline: Any) -> TextEncoder | TextEncoderPair:  # noqa: ANN401
    """That of a diffusers pipeline, as `build_pipeline` makes it."""
    if not hasattr(pipeline, "text_encoder_2"):
        return TextEncoder(pipeline.tokenizer, pipeline.text_encoder)
    return TextEncoderPair(
        (pipeline.tokenizer, pipeline.tokenizer_2),
        (pipeline.text_encoder, pipeline.text_encoder_2),
        bool(pipeline.config.force_zeros_for_empty_prompt),
    )


def _build_tower(
    checkpoint: Checkpoint, component: str, kind: type[Any], dtype: torch.dtype
) -> Any:  # noqa: ANN401
    from transformers import CLIPTextConfig

    config = CLIPTextConfig(**_settings(getattr(checkpoint.description, component)))
    with torch.device("meta"):
        network = kind(config)
    expected = network.state_dict()
    weights = {}
    for name, value in checkpoint.components[component].items():
        # transformers 5.6 flattened CLIPTextModel; older ones keep the prefix.
        short = name.removeprefix("text_model.")
        weights[short if short in expected else name] = value.to(dtype)
    _fill(network, weights, component)
    for module in network.modules():
        ids = getattr(module, "position_ids", None)
        if isinstance(ids, Tensor) and ids.is_meta:  # a buffer that no file holds
            module.position_ids = torch.arange(ids.shape[-1]).expand(1, -1)
    return network.eval().requires_grad_(False)


def build_pipeline(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401
    """A diffusers pipeline on CPU that draws; no safety checker, no watermark, no progress bar."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    text = build_text_encoder(checkpoint, dtype)
    config = dict(checkpoint.description.scheduler)
    scheduler = DDIMScheduler.from_config(
        config, clip_sample=False, set_alpha_to_one=config.get("set_alpha_to_one", False)
    )
    parts = {
        "vae": build_image_encoder(checkpoint, dtype).network,
        "unet": build_unet(checkpoint, dtype),
        "scheduler": scheduler,
    }
    pipeline: Any
    if isinstance(text, TextEncoderPair):
        pipeline = StableDiffusionXLPipeline(
            **parts,
            text_encoder=text.networks[0],
            text_encoder_2=text.networks[1],
            tokenizer=text.tokenizers[0],
            tokenizer_2=text.tokenizers[1],
            force_zeros_for_empty_prompt=text.zeros_unguided,
            add_watermarker=False,
        )
    else:
        pipeline = StableDiffusionPipeline(
            **parts,
            text_encoder=text.network,
            tokenizer=text.tokenizer,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_tokenizers(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """A CLIPTokenizer for each text encoder."""
    return tuple(_build_tokenizer(checkpoint, name) for name in checkpoint.description.tokenizers())


def _build_tokenizer(checkpoint: Checkpoint, name: str) -> Any:  # noqa: ANN401
    from transformers import CLIPTokenizer

    files = checkpoint.tokenizer_files(name)
    with TemporaryDirectory() as folder:
        for file, content in files.items():
            place = Path(folder) / require_bare(file, f"the tokenizer of {checkpoint.path}")
            place.write_bytes(content)
        try:
            tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        except Exception as err:  # what the libraries raise on damaged files has no common class
            reason = str(err).strip().partition("\n")[0][:200]
            raise CheckpointError(
                f"the tokenizer of {checkpoint.path} cannot be read ({reason}); fetch it again"
            ) from err
    # Prompts are padded to its length, and a file may name one that no memory holds.
    window = getattr(checkpoint.description, encoder_of(name)).get("max_position_embeddings")
    if not isinstance(window, int):
        window = CLIP_WINDOW
    tokenizer.model_max_length = min(tokenizer.model_max_length, window)
    return tokenizer


def _build(
    kind: type[Any], config: Mapping[str, Any], weights: Mapping[str, Tensor], part: str
) -> Any:  # noqa: ANN401
    with torch.device("meta"):
        network = kind.from_config(_settings(config))
    _fill(network, weights, part)
    return network.eval().requires_grad_(False)


def _fill(network: nn.Module, weights: Mapping[str, Tensor], part: str) -> None:
    try:
        network.load_state_dict(dict(weights), assign=True)
    except RuntimeError as err:
        reason = str(err).splitlines()[-1].strip()
        raise CheckpointError(
            f"the weights of the {part} do not fit its config ({reason}); check that both come "
            "from the same checkpoint"
        ) from err


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if not k.startswith("_")}
