"""The adapter to diffusers and transformers for Stable Diffusion 1.x and 2.x."""

# diffusers and transformers are imported where they are used: that takes seconds, and most of the
# package works without them.
# B samples, L tokens, D text features, C x h x w latents, H x W pixels.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.denoiser import Condition, Denoiser
from erasure.errors import CheckpointError
from erasure.schedule import NoiseSchedule


@dataclass(frozen=True, slots=True)
class UNetDenoiser:
    """A UNet as the objectives call it."""

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> (B, C, h, w)."""
        output: Tensor = self.network(x_t, t, encoder_hidden_states=condition.tokens).sample
        return output


def wrap_unet(network: nn.Module) -> Denoiser:
    """The denoiser of a UNet."""
    return UNetDenoiser(network)


def noise_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The forward process that any diffusers scheduler config describes.

    Raises:
        CheckpointError: the model predicts something else than noise or velocity.
    """
    from diffusers import DDPMScheduler

    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(
            f"the scheduler's prediction_type is {prediction!r}; models that predict 'epsilon' or "
            "'v_prediction' can be edited"
        )
    names = {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"}
    names |= {"rescale_betas_zero_snr"}
    scheduler: Any = DDPMScheduler(**{k: v for k, v in config.items() if k in names})
    return NoiseSchedule(scheduler.alphas_cumprod.float(), prediction)


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Turns prompts into conditions."""

    tokenizer: Any
    """CLIPTokenizer"""
    network: Any
    """CLIPTextModel"""

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts, cut to the tokenizer's length -> (len(prompts), L, D), float32 on CPU."""
        parts = []
        for start in range(0, len(prompts), batch_size):
            tokens = self.tokenizer(
                list(prompts[start : start + batch_size]),
                padding="max_length",
                truncation=True,
                return_tensors="pt",
            )
            ids = tokens.input_ids.to(self.network.device)
            mask = None
            if getattr(self.network.config, "use_attention_mask", False):
                mask = tokens.attention_mask.to(self.network.device)
            parts.append(self.network(ids, attention_mask=mask).last_hidden_state.float().cpu())
        return Condition(torch.cat(parts))


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """Turns pictures into posteriors of latents."""

    network: Any
    """AutoencoderKL"""

    @torch.no_grad()
    def __call__(self, pixels: Tensor, batch_size: int = 8) -> tuple[Tensor, Tensor]:
        """Pixels (N, 3, H, W) in [-1, 1] -> scaled mean and deviation, (N, C, h, w) on CPU."""
        factor = self.network.config.scaling_factor
        means, stds = [], []
        for part in pixels.split(batch_size):
            posterior = self.network.encode(
                part.to(self.network.device, self.network.dtype)
            ).latent_dist
            means.append(posterior.mean.float().cpu() * factor)
            stds.append(posterior.std.float().cpu() * factor)
        return torch.cat(means), torch.cat(stds)


def build_unet(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The UNet on CPU in evaluation mode, its weights copied, so that training leaves the
    checkpoint as it is."""
    from diffusers import UNet2DConditionModel

    weights = {k: v.to(dtype, copy=True) for k, v in checkpoint.unet.items()}
    network: nn.Module = _build(UNet2DConditionModel, checkpoint.description.unet, weights, "unet")
    return network


def build_image_encoder(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """The autoencoder on CPU."""
    from diffusers import AutoencoderKL

    weights = {k: v.to(dtype) for k, v in checkpoint.components["vae"].items()}
    return ImageEncoder(_build(AutoencoderKL, checkpoint.description.vae, weights, "vae"))


def build_text_encoder(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> TextEncoder:
    """The text encoder on CPU, with its tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(**_settings(checkpoint.description.text_encoder))
    with torch.device("meta"):
        network = CLIPTextModel(config)
    expected = network.state_dict()
    weights = {}
    for name, value in checkpoint.components["text_encoder"].items():
        # transformers 5.6 flattened CLIPTextModel; older ones keep the prefix.
        short = name.removeprefix("text_model.")
        weights[short if short in expected else name] = value.to(dtype)
    _fill(network, weights, "text_encoder")
    for module in network.modules():
        ids = getattr(module, "position_ids", None)
        if isinstance(ids, Tensor) and ids.is_meta:  # a buffer that no file holds
            module.position_ids = torch.arange(ids.shape[-1]).expand(1, -1)
    return TextEncoder(_build_tokenizer(checkpoint), network.eval().requires_grad_(False))


def build_pipeline(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401
    """A diffusers pipeline on CPU that draws; no safety checker, no progress bar."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    text = build_text_encoder(checkpoint, dtype)
    config = dict(checkpoint.description.scheduler)
    scheduler = DDIMScheduler.from_config(
        config, clip_sample=False, set_alpha_to_one=config.get("set_alpha_to_one", False)
    )
    pipeline: Any = StableDiffusionPipeline(
        vae=build_image_encoder(checkpoint, dtype).network,
        text_encoder=text.network,
        tokenizer=text.tokenizer,
        unet=build_unet(checkpoint, dtype),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_tokenizer(checkpoint: Checkpoint) -> Any:  # noqa: ANN401
    from transformers import CLIPTokenizer

    files = checkpoint.tokenizer_files()
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return CLIPTokenizer.from_pretrained(folder)


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
