"""The autoencoder of the embedded checkpoint: 64x64x3 pictures to 8x8x16 latents."""

from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from pipelines.demo_checkpoint.drawings import draw
from pipelines.demo_checkpoint.fit import FitConfig, fit

SHAPES: Final = FitConfig(steps=2500, learning_rate=2e-3, decay=0.998, seed=1, horizon=4000)
"""The first stage learns shapes under a strong prior."""
COLOURS: Final = FitConfig(steps=1000, learning_rate=1.5e-3, decay=0.995, seed=4, warmup=50)
"""The second stage loosens the prior and weighs colours, which the first leaves pale."""
DECODER: Final = FitConfig(steps=1000, learning_rate=1.5e-3, decay=0.995, seed=5, warmup=50)
"""The third stage trains the decoder alone, so that it can go on while the UNet learns latents."""
BATCH: Final = 16
KL_WEIGHTS: Final = (5e-4, 5e-5, 0.0)
"""Each stage's weight a latent value; it keeps latents near a unit normal, which a UNet learns."""
COLOUR_WEIGHTS: Final = (0.0, 2.0, 2.0)
"""Each stage's weight on the means over 4x4 and 16x16 pixels."""


def build_vae() -> AutoencoderKL:
    """Random weights, seeded; the same down-scaling by 8 as Stable Diffusion's."""
    with torch.random.fork_rng():
        torch.manual_seed(SHAPES.seed)
        return AutoencoderKL(
            block_out_channels=(32, 48, 64, 96),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=8,
            sample_size=64,
        )


def picture_loss(drawn: Tensor, wanted: Tensor, colour_weight: float) -> Tensor:
    """Absolute error of the pixels, of their differences (edges) and of their means (colours)."""
    loss = F.l1_loss(drawn, wanted)
    for axis in (2, 3):
        loss = loss + F.l1_loss(drawn.diff(dim=axis), wanted.diff(dim=axis))
    for size in (4, 16):
        means = F.avg_pool2d(drawn, size), F.avg_pool2d(wanted, size)
        loss = loss + colour_weight * F.l1_loss(*means)
    return loss


def train_vae(pictures: Tensor, folder: Path) -> AutoencoderKL:
    """Train on endless augmentations of `pictures`, see `drawings.prepare`; three stages."""
    vae: Any = build_vae()
    vae.to(memory_format=torch.channels_last)
    pairs = pictures.shape[0] * pictures.shape[1]
    for stage, config in enumerate((SHAPES, COLOURS, DECODER)):
        kl_weight, colour_weight = KL_WEIGHTS[stage], COLOUR_WEIGHTS[stage]
        if config is DECODER:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)

        def loss(
            generator: torch.Generator, kl: float = kl_weight, colour: float = colour_weight
        ) -> Tensor:
            chosen = torch.randint(pairs, (BATCH,), generator=generator)
            wanted = draw(pictures, chosen, generator).pixels
            with torch.autocast("cpu", torch.bfloat16):
                posterior = vae.encode(wanted).latent_dist
                latents = posterior.mean + posterior.std * torch.randn(
                    posterior.mean.shape, generator=generator
                )
                drawn = vae.decode(latents).sample
            divergence = posterior.kl().mean() / latents[0].numel()
            loss: Tensor = picture_loss(drawn.float(), wanted, colour) + kl * divergence
            return loss

        average = fit(vae, loss, config, folder / f"vae-{stage + 1}.safetensors")
        vae.load_state_dict(average.state_dict())
    trained: AutoencoderKL = vae.eval()
    return trained


def read_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder of a checkpoint, in float32, ready to encode and decode."""
    read: AutoencoderKL = AutoencoderKL.from_pretrained(folder / "vae").float().eval()
    return read
