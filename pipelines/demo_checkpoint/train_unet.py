"""The UNet and the text encoder of the embedded checkpoint, trained together on latents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipelines.demo_checkpoint.fit import FitConfig, Loss, fit
from pipelines.demo_checkpoint.latents import PICTURES_PER_PAIR, Latents, load_latents
from pipelines.demo_checkpoint.tokenizer import LENGTH
from prompts.canvas import OBJECTS, STYLES, wordings

UNET_CONFIG: Final = FitConfig(steps=8500, learning_rate=1e-3, seed=2, save_every=500)
SECOND: Final = FitConfig(steps=6500, learning_rate=8e-4, seed=6, save_every=500)
"""A second descent, from the average of the first; parts the flat style from the glossy one."""
BATCH: Final = 32
NO_STYLE: Final = 0.2
"""Share of prompts that leave the style open."""
NO_PROMPT: Final = 0.1
"""Share of empty prompts, so that classifier-free guidance works (arXiv:2207.12598)."""
SNR_CAP: Final = 5.0
"""Min-SNR weighting (arXiv:2303.09556, eq. 6, for noise prediction)."""
WIDTH: Final = 96
"""Width of the text encoder."""


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

    def __init__(self, tokenizer: CLIPTokenizer, seed: int = UNET_CONFIG.seed) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.text_encoder = build_text_encoder(tokenizer)
            self.unet = build_unet()


Choice = Callable[[torch.Generator], Tensor]
"""Chooses the pairs of a batch, (B,) flat index, style * objects + object."""


def any_pair(generator: torch.Generator) -> Tensor:
    """Every pair as often as every other."""
    return torch.randint(len(STYLES) * len(OBJECTS), (BATCH,), generator=generator)


def train_unet(
    vae: AutoencoderKL, pictures: Tensor, tokenizer: CLIPTokenizer, state: Path
) -> tuple[TextToLatent, float]:
    """Train the two networks; returns them and the latents' scaling factor."""
    latents = load_latents(vae, pictures, state.with_name("latents.safetensors"))
    model = TextToLatent(tokenizer)
    loss = denoising_loss(model, latents, PromptTable(tokenizer))
    descend(model, loss, (UNET_CONFIG, state), (SECOND, state.with_name("unet-second.safetensors")))
    return model.eval(), latents.factor


def denoising_loss(
    model: TextToLatent, latents: Latents, prompts: PromptTable, choose: Choice = any_pair
) -> Loss:
    """The weighted error of the predicted noise, on a batch drawn from a CPU generator.

    Args:
        model: both networks on one device, to which each batch is moved.
        latents: of every pair, on the CPU.
        choose: draws the pairs of a batch; pictures and prompts are of these alone.
    """
    scheduler: Any = noise_schedule()
    alphas = scheduler.alphas_cumprod
    weight = (SNR_CAP * (1 - alphas) / alphas).clamp(max=1.0)

    def loss(generator: torch.Generator) -> Tensor:
        pairs = choose(generator)
        picture = torch.randint(PICTURES_PER_PAIR, (BATCH,), generator=generator)
        mean, std = latents.mean[pairs, picture], latents.std[pairs, picture]
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        t = torch.randint(len(alphas), (BATCH,), generator=generator)
        level = alphas[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        ids = prompts.choose(pairs, generator)
        unet: Any = model.unet
        device = unet.device
        words = model.text_encoder(ids.to(device)).last_hidden_state
        predicted = unet(noisy.to(device), t.to(device), words).sample
        error = F.mse_loss(predicted, noise.to(device), reduction="none").mean(dim=(1, 2, 3))
        weighted: Tensor = (weight[t].to(device) * error).mean()
        return weighted

    return loss


def descend(model: TextToLatent, loss: Loss, *descents: tuple[FitConfig, Path]) -> None:
    """Train in place, each descent from the average of the one before; each has a state file."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for config, path in descents:
        average = fit(model, loss, config, path)
        model.load_state_dict(average.state_dict())
