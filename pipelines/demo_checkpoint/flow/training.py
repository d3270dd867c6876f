"""Train the networks of `demo-flow` on the latents of the canvas, by rectified flow."""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTokenizer

from pipelines.demo_checkpoint.fit import FitConfig, Loss, fit
from pipelines.demo_checkpoint.flow.networks import LENGTH, FlowNetworks
from pipelines.demo_checkpoint.latents import PICTURES_PER_PAIR, Latents
from pipelines.demo_checkpoint.train_unet import BATCH, Choice, PromptTable, any_pair

CONFIG: Final = FitConfig(steps=12_000, learning_rate=1.5e-3, warmup=500, seed=11, save_every=250)
_CPU: Final = torch.device("cpu")


def tokenizer_of(base: Path) -> CLIPTokenizer:
    """The tokenizer of the embedded checkpoint in `base`, for prompts of `LENGTH` tokens."""
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(
        base / "tokenizer", model_max_length=LENGTH
    )
    return tokenizer


def train_flow(
    tokenizer: CLIPTokenizer,
    latents: Latents,
    state: Path,
    config: FitConfig = CONFIG,
    choose: Choice = any_pair,
    device: torch.device = _CPU,
) -> FlowNetworks:
    """Train from the state, or from the start; a run that was cut ends with the same bits.

    Args:
        tokenizer: cuts and fills to `LENGTH` tokens.
        state: a file that is kept up to date.
        config: its seed is that of the weights too.
        choose: draws the pairs of a batch; pictures and prompts are of these alone.
    """
    model = FlowNetworks(tokenizer, config.seed).to(device)
    loss = flow_loss(model, latents, PromptTable(tokenizer), choose)
    average = fit(model, loss, config, state)
    model.load_state_dict(average.state_dict())
    return model.eval()


def flow_loss(
    model: FlowNetworks, latents: Latents, prompts: PromptTable, choose: Choice = any_pair
) -> Loss:
    """The squared error of the velocity at logit-normal times (arXiv:2403.03206, eq. 19)."""
    if prompts.ids.shape[1] != LENGTH:
        raise ValueError(f"prompts have {prompts.ids.shape[1]} tokens, and these take {LENGTH}")

    def loss(generator: torch.Generator) -> Tensor:
        pairs = choose(generator)
        picture = torch.randint(PICTURES_PER_PAIR, (BATCH,), generator=generator)
        mean, std = latents.mean[pairs, picture], latents.std[pairs, picture]
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        s = torch.randn(BATCH, generator=generator).sigmoid()
        level = s.view(-1, 1, 1, 1)
        x_t = (1 - level) * clean + level * noise
        ids = prompts.choose(pairs, generator)
        device = model.transformer.device
        velocity = model.velocity(x_t.to(device), s.to(device), ids.to(device))
        return F.mse_loss(velocity, (noise - clean).to(device))

    return loss
