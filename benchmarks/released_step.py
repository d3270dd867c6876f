"""One training step as the paper's release takes it, straight on; nothing comes from the trainer.

Source: `random_label.py` of the released code of arXiv:2310.12508, told in our own words: what a
step does is followed, what it draws comes from the streams of `erasure.training.trainer`.
"""

# B samples, H x W pixels, C x h x w latents, L tokens, D text features.

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.architectures.building import (
    build_codec,
    build_network,
    build_text_encoder,
    schedule_of,
)
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.shuffling import shuffled
from erasure.seeds import generator_for
from erasure.training.train_config import TrainConfig

FORGET, INSTEAD, KEEP = "an image of a church", "an image of a castle", "an image of a dog"
PICTURES = 16
"""To forget, and as many to retain."""
SEED = 0


@dataclass(frozen=True)
class Work:
    """The same for all ways."""

    checkpoint: Checkpoint
    pixels: Tensor
    """(2 * PICTURES, 3, H, W) uint8: to forget, then to retain."""
    data: ConceptData
    mask: dict[str, Tensor]
    config: TrainConfig
    device: torch.device


@dataclass(frozen=True)
class Line:
    """The straight line, and what of ours is put into it."""

    cached: bool = False
    """Prompts and posteriors are encoded once, before the first step."""
    detached: bool = False
    """No graph for the replacement's pass."""
    joined: bool = False
    """One pass for both losses."""
    resident: bool = False
    """The mask lies beside the weights, as bool."""
    fused: bool = False
    """Adam in one kernel."""
    recomputed: bool = False
    """Activations are not kept but computed again for the backward pass, as its config asks."""


class StraightLine:
    """Straight-line training; nothing here comes from the trainer."""

    def __init__(self, work: Work, line: Line) -> None:
        self.work, self.line = work, line
        where = work.device
        self.unet = build_network(work.checkpoint).to(where).requires_grad_(True)
        if line.recomputed:
            self.unet.enable_gradient_checkpointing()  # type: ignore[operator]
            self.unet.train()  # diffusers recomputes in training mode alone
        self.schedule = schedule_of(work.checkpoint)
        self.vae = build_codec(work.checkpoint)
        self.vae.to(where)
        self.text: Any = build_text_encoder(work.checkpoint)
        self.text.to(where)
        kind = torch.bool if line.resident else torch.int64
        place = where if line.resident else torch.device("cpu")
        self.mask = {name: chosen.to(place, kind) for name, chosen in work.mask.items()}
        extra = {"fused": True} if line.fused else {}
        rate = work.config.learning_rate
        self.optimizer = torch.optim.Adam(self.unet.parameters(), lr=rate, **extra)

    def __call__(self, index: int) -> float:
        """Take step `index`, from 0; returns the loss."""
        self.optimizer.zero_grad()
        size = self.work.config.batch_size
        retained = self._sample("retain", index * size, size, KEEP)
        forgotten = self._sample("forget", index * size, size, FORGET)
        instead = self._sample("forget", index * size, size, INSTEAD)
        with torch.no_grad() if self.line.detached else contextlib.nullcontext():
            wanted = self._predict(*instead[:3])
        if self.line.joined:
            pairs = zip(forgotten[:3], retained[:3], strict=True)
            both = self._predict(*(torch.cat(pair) for pair in pairs))
            predicted, answered = both.chunk(2)
        else:
            answered = self._predict(*retained[:3])
            predicted = self._predict(*forgotten[:3])
        loss = F.mse_loss(predicted, wanted.detach()) + F.mse_loss(answered, retained[3])
        loss.backward()
        for name, weight in self.unet.named_parameters():
            if weight.grad is not None:
                weight.grad *= self.mask[name].to(weight.device)
        self.optimizer.step()
        return float(loss.detach())

    def trained(self) -> Mapping[str, Tensor]:
        """The weights after the steps so far, by name."""
        return dict(self.unet.named_parameters())

    def _predict(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        output: Tensor = self.unet(x_t, t, encoder_hidden_states=tokens).sample
        return output

    def _sample(self, part: str, position: int, count: int, prompt: str) -> tuple[Tensor, ...]:
        """x_t (B, C, h, w), t (B,), tokens (B, L, D), noise (B, C, h, w)."""
        where = self.work.device
        rows = shuffled(PICTURES, position, count, SEED, f"{part} order")
        mean, std, tokens = self._encode(part, rows, prompt)
        times, clean, noise = [], [], []
        for n in range(count):
            stream = generator_for(SEED, part, position + n)
            times.append(torch.randint(len(self.schedule.alphas_cumprod), (1,), generator=stream))
            draw = torch.randn(mean.shape[1:], generator=stream)
            clean.append(mean[n] + std[n] * draw.to(mean))
            noise.append(torch.randn(mean.shape[1:], generator=stream))
        t, x_0, eps = torch.cat(times).to(where), torch.stack(clean), torch.stack(noise).to(where)
        return self.schedule.add_noise(x_0.to(where), eps, t), t, tokens.to(where), eps

    def _encode(self, part: str, rows: list[int], prompt: str) -> tuple[Tensor, Tensor, Tensor]:
        data = self.work.data
        if self.line.cached:
            latents = data.forget if part == "forget" else data.retain
            place = 2 if prompt == INSTEAD else int(latents.prompt[0])
            tokens = data.prompts.tokens[[place] * len(rows)]
            return latents.mean[rows], latents.std[rows], tokens
        start = 0 if part == "forget" else PICTURES
        pixels = self.work.pixels[[start + row for row in rows]]
        mean, std = self.vae.encode(pixels.float() / 127.5 - 1)
        return mean, std, self.text([prompt] * len(rows)).tokens
