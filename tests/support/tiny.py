"""The smallest things that can be erased from: a toy denoiser, random data, a random pipeline."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import LatentSet
from erasure.diffusion.data.prompted import PromptedPixels
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import NoiseSchedule, Prediction
from erasure.methods import GradientAscent, SalUn
from erasure.training.train_config import TrainConfig
from support.models.tiny_models import Size, tiny_text_encoder, tiny_tokenizer, tiny_unet, tiny_vae
from support.models.written import written_once

CPU = torch.device("cpu")
CHANNELS, SIDE, TOKENS, FEATURES = 2, 4, 3, 5
PROMPTS = 6

TINY = Size(blocks=(8, 16), layers=1, vae_blocks=(4, 4, 8), vae_layers=1, latent_channels=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """For what draws from torch's global stream, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # without the notes that CUDA may need later
        yield


class Toy(nn.Module):
    """A denoiser of 80 weights that looks at everything it is told."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with global_seed(seed):
            self.mix = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            self.text = nn.Linear(FEATURES, CHANNELS)
            self.clock = nn.Linear(1, CHANNELS)
            self.out = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        shift = self.text(tokens.mean(dim=1)) + self.clock(t[:, None] / 1000)
        return self.out(torch.tanh(self.mix(x_t) + shift[:, :, None, None]))


@dataclass(frozen=True)
class ToyDenoiser:
    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return self.network(x_t, t, condition.tokens)


def toy_schedule(prediction: Prediction = "epsilon", steps: int = 1000) -> NoiseSchedule:
    return NoiseSchedule(torch.linspace(0.999, 0.005, steps), prediction)


def toy_condition(seed: int = 0, rows: int = PROMPTS) -> Condition:
    return Condition({"tokens": torch.randn(rows, TOKENS, FEATURES, generator=seeded(seed))})


def toy_latents(n: int, prompts: list[int], seed: int) -> LatentSet:
    shape = (n, CHANNELS, SIDE, SIDE)
    mean = torch.randn(shape, generator=seeded(seed))
    std = torch.rand(shape, generator=seeded(seed + 1)) / 10
    rows = [prompts[k % len(prompts)] for k in range(n)]
    return LatentSet(mean, std, torch.tensor(rows, dtype=torch.int64))


def toy_data(forget: int = 5, retain: int = 6, seed: int = 0) -> ConceptData:
    """Prompts 1 and 2 are forgotten for 3 and 4, prompts 3 to 5 are retained."""
    return ConceptData(
        toy_latents(forget, [1, 2], seed),
        torch.tensor([[3, 4]] * forget),
        toy_latents(retain, [3, 4, 5], seed + 10),
        toy_condition(seed),
    )


def some_mask(network: nn.Module, share: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    draw = seeded(seed)
    return {
        name: torch.rand(weight.shape, generator=draw) < share
        for name, weight in network.named_parameters()
    }


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def assert_same_bits(
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    where: Mapping[str, Tensor] | None = None,
) -> None:
    """Equal bytes, everywhere or where `where` is True; a NaN equals itself, -0.0 is not 0.0."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        kind = {2: torch.int16, 4: torch.int32}[value.element_size()]
        equal = value.contiguous().view(kind) == other[name].contiguous().view(kind)
        assert (equal if where is None else equal[where[name]]).all(), name


def outside(
    mask: Mapping[str, Tensor], network: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """What a mask leaves out; of a network also all of the weights that it does not name."""
    rest = {name: torch.ones(w.shape, dtype=torch.bool) for name, w in (network or {}).items()}
    return rest | {name: ~chosen for name, chosen in mask.items()}


@written_once
def write_tiny_pipeline(folder: Path, prediction: Prediction = "epsilon") -> Path:
    """A random pipeline in the diffusers layout whose UNet listens to its prompt."""
    tokenizer = tiny_tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    with global_seed(0):
        unet, vae = tiny_unet(TINY), tiny_vae(TINY)
        text_encoder = tiny_text_encoder(TINY, len(tokenizer))
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "attn2.to_v" in name or "attn2.to_out.0.weight" in name:
                weight.mul_(4)  # Else the prompt hardly changes what a random UNet predicts.
    StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction,
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def random_pictures(prompts: list[str], seed: int = 0, side: int = 16) -> PromptedPixels:
    shape = (len(prompts), 3, side, side)
    pixels = torch.randint(0, 256, shape, generator=seeded(seed), dtype=torch.uint8)
    return PromptedPixels(pixels, prompts)


def salun(config: TrainConfig, **own: Any) -> SalUn:  # noqa: ANN401
    """SalUn with the optimiser settings of `config`."""
    return SalUn(**optimiser_settings(config), **own)


def ascent(config: TrainConfig, **own: Any) -> GradientAscent:  # noqa: ANN401
    """Gradient ascent with the optimiser settings of `config`."""
    return GradientAscent(**optimiser_settings(config), **own)


def optimiser_settings(config: TrainConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(TrainConfig)}


def toy_batches(
    data: ConceptData | None = None, schedule: NoiseSchedule | None = None, seed: int = 0
) -> PictureBatches:
    return PictureBatches(data or toy_data(), schedule or toy_schedule(), seed, CPU)
