"""The UNet and the text encoder of the embedded checkpoint, trained together on latents."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from erasure.storage.tensor_file import write_tensors
from pipelines.demo_checkpoint.drawings import draw
from pipelines.demo_checkpoint.fit import FitConfig, fit
from pipelines.demo_checkpoint.tokenizer import LENGTH
from prompts.canvas import OBJECTS, STYLES, wordings

UNET_CONFIG: Final = FitConfig(steps=8500, learning_rate=1e-3, seed=2, save_every=500)
SECOND: Final = FitConfig(steps=6500, learning_rate=8e-4, seed=6, save_every=500)
"""A second descent, from the average of the first; parts the flat style from the glossy one."""
BATCH: Final = 32
PICTURES_PER_PAIR: Final = 160
"""Augmentations encoded once, before training."""
NO_STYLE: Final = 0.2
"""Share of prompts that leave the style open."""
NO_PROMPT: Final = 0.1
"""Share of empty prompts, so that classifier-free guidance works (arXiv:2207.12598)."""
SNR_CAP: Final = 5.0
"""Min-SNR weighting (arXiv:2303.09556, eq. 6, for noise prediction)."""
WIDTH: Final = 96
"""Width of the text encoder."""


@dataclass(frozen=True, slots=True)
class Latents:
    """Posterior of every encoded picture, scaled to unit deviation."""

    mean: Tensor
    """(pairs, n, 16, 8, 8)"""
    std: Tensor
    factor: float
    """What latents are multiplied by; `scaling_factor` of the autoencoder."""


def noise_schedule() -> DDIMScheduler:
    """Stable Diffusion's own: 1,000 steps, scaled-linear, noise prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Random weights; two layers are enough for twenty words."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """Random weights."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        block_out_channels=(96, 160),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


@torch.no_grad()
def encode_pictures(vae: Any, pictures: Tensor, seed: int) -> Latents:  # noqa: ANN401
    """Encode `PICTURES_PER_PAIR` augmentations of every pair."""
    pairs = pictures.shape[0] * pictures.shape[1]
    generator = torch.Generator().manual_seed(seed)
    means, stds = [], []
    for pair in range(pairs):
        chosen = torch.full((PICTURES_PER_PAIR,), pair)
        posterior = vae.encode(draw(pictures, chosen, generator).pixels).latent_dist
        means.append(posterior.mean)
        stds.append(posterior.std)
    mean, std = torch.stack(means), torch.stack(stds)
    factor = float(1 / (mean.var() + std.square().mean()).sqrt())
    return Latents(mean * factor, std * factor, factor)


def load_latents(vae: AutoencoderKL, pictures: Tensor, path: Path) -> Latents:
    """Encode the pictures, or read what a run that was cut has encoded."""
    if not path.exists():
        made = encode_pictures(vae, pictures, UNET_CONFIG.seed)
        tensors = {"mean": made.mean, "std": made.std, "factor": torch.tensor(made.factor)}
        write_tensors(path, tensors, {"format": "demo-checkpoint-latents 1"})
    stored = load_file(path)
    return Latents(stored["mean"], stored["std"], float(stored["factor"]))


class PromptTable:
    """Token ids of every wording, and a random choice among them for a batch of pairs."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        texts = [""]
        self._styled, self._open = [], []
        for style in STYLES:
            for obj in OBJECTS:
                self._styled.append(list(range(len(texts), len(texts) + len(wordings(obj, style)))))
                texts += wordings(obj, style)
        for obj in OBJECTS:
            self._open.append(list(range(len(texts), len(texts) + len(wordings(obj)))))
            texts += wordings(obj)
        self.ids = tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids

    def choose(self, pairs: Tensor, generator: torch.Generator) -> Tensor:
        """Token ids for pairs, (B, LENGTH)."""
        dice = torch.rand(3, len(pairs), generator=generator).tolist()
        rows = []
        for pair, prompt, style, wording in zip(pairs.tolist(), *dice, strict=True):
            options = self._open[pair % len(OBJECTS)] if style < NO_STYLE else self._styled[pair]
            # Half of all prompts use the first wording, the one that users see in the README.
            late = int((wording - 0.5) * 2 * len(options)) if wording >= 0.5 else 0
            rows.append(0 if prompt < NO_PROMPT else options[late])
        ids: Tensor = self.ids[torch.tensor(rows)]
        return ids


class TextToLatent(nn.Module):
    """Both networks, so that one optimiser trains them."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(UNET_CONFIG.seed)
            self.text_encoder = build_text_encoder(tokenizer)
            self.unet = build_unet()


def train_unet(
    vae: AutoencoderKL, pictures: Tensor, tokenizer: CLIPTokenizer, state: Path
) -> tuple[TextToLatent, float]:
    """Train the two networks; returns them and the latents' scaling factor."""
    latents = load_latents(vae, pictures, state.with_name("latents.safetensors"))
    prompts = PromptTable(tokenizer)
    model = TextToLatent(tokenizer)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scheduler: Any = noise_schedule()
    alphas = scheduler.alphas_cumprod
    weight = (SNR_CAP * (1 - alphas) / alphas).clamp(max=1.0)

    def loss(generator: torch.Generator) -> Tensor:
        pairs = torch.randint(len(latents.mean), (BATCH,), generator=generator)
        picture = torch.randint(PICTURES_PER_PAIR, (BATCH,), generator=generator)
        mean, std = latents.mean[pairs, picture], latents.std[pairs, picture]
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        t = torch.randint(len(alphas), (BATCH,), generator=generator)
        level = alphas[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        words = model.text_encoder(prompts.choose(pairs, generator)).last_hidden_state
        unet: Any = model.unet
        predicted = unet(noisy, t, words).sample
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        weighted: Tensor = (weight[t] * error).mean()
        return weighted

    for config, path in (
        (UNET_CONFIG, state),
        (SECOND, state.with_name("unet-second.safetensors")),
    ):
        average = fit(model, loss, config, path)
        model.load_state_dict(average.state_dict())
    return model.eval(), latents.factor
