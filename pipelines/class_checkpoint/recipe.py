"""What decides the weights of a class-conditional checkpoint: its network and its training."""

from typing import Final

import torch
from diffusers import DDIMScheduler, UNet2DModel

from pipelines.demo_checkpoint.fit import FitConfig

SIDE: Final = 32
"""Pixels a side: for Fashion-MNIST with two black ones around."""
BATCH: Final = 16
DROPPED: Final = 0.1
"""Share of samples that are told no class, so that guidance works (arXiv:2207.12598)."""
SNR_CAP: Final = 5.0
"""Min-SNR weighting (arXiv:2303.09556, eq. 6, for noise prediction)."""
FIT: Final = FitConfig(
    steps=3200, learning_rate=1.5e-3, decay=0.998, seed=11, warmup=100, save_every=100
)
FIT_ICONS: Final = FitConfig(
    steps=6400, learning_rate=1.5e-3, decay=0.998, seed=11, warmup=100, save_every=100
)
"""Twice the steps, as icons have colours and three styles."""


def build_network(seed: int, classes: int, channels: int, widths: tuple[int, ...]) -> UNet2DModel:
    """Random weights; 2 million, most of them at 8 and 4 pixels a side, where they cost little."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=SIDE,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=widths,
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            attention_head_dim=16,
            norm_num_groups=4,
            num_class_embeds=classes + 1,
        )


def noise_schedule() -> DDIMScheduler:
    """That of DDPM (arXiv:2006.11239): 1,000 steps, linear betas, noise prediction."""
    return DDIMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        clip_sample=True,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
