"""Networks of published sizes with random weights, and data that fits them.

For measurements that need the size of a model and not what it has learned. Weights are filled where
they lie, one tensor at a time, so no second copy of a model ever exists.
"""

# N pictures, P prompts, L tokens, D text features, C x h x w latents.

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measuring import Measured, peak_bytes, tell

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.facts.scheduler import noise_schedule_of
from erasure.checkpoints.reading.vocabulary import byte_letters
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.latents import ConceptData, LatentSet
from erasure.diffusion.schedule import NoiseSchedule
from erasure.masks.packed import PackedBits

Scale = Literal["tiny", "half", "full"]
TOKENS = 77
PROMPTS = 4
SAMPLE_PIXELS = 8
"""Pixels a side for each latent."""


@dataclass(frozen=True)
class Shape:
    """The UNet of a family, whole or narrower."""

    family: str
    """Key into `erasure.architectures.registry.ARCHITECTURES`."""
    unet: Mapping[str, Any]
    """diffusers config."""
    schedule: NoiseSchedule


def shape_of(family: str, scale: Scale = "full") -> Shape:
    """The published configuration; `half` has half the channels, `tiny` a hundredth."""
    if family not in ARCHITECTURES:
        raise SystemExit(f"there is no family {family!r}; give one of {', '.join(ARCHITECTURES)}")
    description = shipped_description(family)
    config = {k: v for k, v in description.components["unet"].items() if not k.startswith("_")}
    config |= _narrowed(config, {"full": 1, "half": 2, "tiny": 80}[scale])
    return Shape(family, config, noise_schedule_of(description.scheduler))


def _narrowed(config: Mapping[str, Any], by: int) -> dict[str, Any]:
    """What differs in a model with fewer channels; every layer is still there."""
    if by == 1:
        return {}
    channels = [max(4, width // by) for width in config["block_out_channels"]]
    groups = math.gcd(*channels, int(config["norm_num_groups"]))
    heads: Any = config["attention_head_dim"]  # heads, not their width, in these configs
    if by > 2:
        heads = [2] * len(channels) if isinstance(heads, list) else 2
    sizes: dict[str, Any] = {
        "block_out_channels": channels,
        "norm_num_groups": groups,
        "attention_head_dim": heads,
    }
    if by > 2:
        sizes["cross_attention_dim"] = 8
    return sizes


def random_unet(shape: Shape, dtype: torch.dtype, device: torch.device, seed: int = 0) -> nn.Module:
    """In evaluation mode, filled where it lies; deviation 1 / sqrt(inputs) keeps values finite."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network: Any = UNet2DConditionModel.from_config(dict(shape.unet))
    network = nn.Module.to(network, dtype).to_empty(device=device)
    fill(dict(network.named_parameters()), seed)
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


@torch.no_grad()
def fill(weights: Mapping[str, Tensor], seed: int = 0) -> None:
    """Random values in place, drawn on the device and in the type of each tensor."""
    for number, (name, weight) in enumerate(weights.items()):
        draw = torch.Generator(weight.device).manual_seed(1000 * seed + number)
        if weight.dim() > 1:
            weight.normal_(0, 1 / math.sqrt(weight[0].numel()), generator=draw)
        else:
            weight.fill_(1 if name.endswith(".weight") else 0)  # a norm's scale; biases


def random_checkpoint(shape: Shape) -> Checkpoint:
    """All parts in fp32, with a tokenizer that knows letters; for SD 1.x and 2.x."""
    family = ARCHITECTURES[shape.family]
    description = shipped_description(shape.family)
    letters = list(byte_letters())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = json.dumps({token: number for number, token in enumerate(tokens)})
    tokenizer = {
        "vocab.json": vocabulary.encode(),
        "merges.txt": b"#version: 0.2\n",
        **description.vocabularies["tokenizer"],
        "tokenizer_config.json": json.dumps({"model_max_length": TOKENS}).encode(),
    }
    description = description.having(unet=shape.unet).speaking(tokenizer=tokenizer)
    components = {}
    for part in ("unet", "vae", "text_encoder"):
        known = expected_weights(family.part(part), description.components[part])
        weights = {name: torch.empty(w.shape) for name, w in known.items()}
        fill(weights)
        components[part] = weights
    return Checkpoint(
        architecture=family, path=Path("random"), components=components, description=description
    )


def random_data(shape: Shape, pixels: int, pictures: int = 8, seed: int = 0) -> ConceptData:
    """Latents of `pictures` pictures to forget and as many to retain, and four prompts."""
    draw = torch.Generator().manual_seed(seed)
    side = pixels // SAMPLE_PIXELS
    prompts = random_prompts(shape, pixels, draw)

    def latents(prompt: int) -> LatentSet:
        size = (pictures, int(shape.unet["in_channels"]), side, side)
        rows = torch.full((pictures,), prompt, dtype=torch.int64)
        return LatentSet(torch.randn(size, generator=draw), torch.full(size, 0.1), rows)

    return ConceptData(latents(1), torch.full((pictures, 1), 2), latents(3), prompts)


def random_prompts(shape: Shape, pixels: int, draw: torch.Generator) -> Condition:
    """(P, L, D), and what SD XL is told besides."""
    width = int(shape.unet["cross_attention_dim"])
    tokens = torch.randn(PROMPTS, TOKENS, width, generator=draw)
    if shape.unet.get("addition_embed_type") != "text_time":
        return Condition({"tokens": tokens})
    inputs = int(shape.unet["projection_class_embeddings_input_dim"])
    pooled = inputs - 6 * int(shape.unet["addition_time_embed_dim"])
    sizes = torch.tensor([[pixels, pixels, 0, 0, pixels, pixels]]).float()
    tensors = {
        "tokens": tokens,
        "text_embeds": torch.randn(PROMPTS, pooled, generator=draw),
        "time_ids": sizes.repeat(PROMPTS, 1),
    }
    return Condition(tensors)


def weights_of(network: nn.Module) -> int:
    """How many there are."""
    return sum(weight.numel() for weight in network.parameters())


def random_mask(network: nn.Module, density: float, seed: int = 0) -> PackedBits:
    """Each weight is free to move with this probability; a bit a weight, on the CPU."""
    draw = torch.Generator().manual_seed(seed)
    return PackedBits.of(
        (name, torch.empty(weight.shape, dtype=torch.bool).bernoulli_(density, generator=draw))
        for name, weight in network.named_parameters()
    )


def write_unet(shape: Shape, path: Path) -> None:
    """A fp32 UNet in the safetensors layout of a diffusers folder."""
    from erasure.storage.tensor_file import write_tensors

    network = random_unet(shape, torch.float32, torch.device("cpu"))
    write_tensors(path, dict(network.named_parameters()), {})


def file_checkpoint(shape: Shape, path: Path) -> Checkpoint:
    """A checkpoint of that UNet alone, mapped from the disk as `read_checkpoint` does."""
    from erasure.storage.tensor_file import read_tensors

    return Checkpoint(
        architecture=ARCHITECTURES[shape.family],
        path=path.parent,
        components={"unet": read_tensors(path).tensors},
        description=shipped_description(shape.family).having(unet=shape.unet),
    )


if __name__ == "__main__":
    # Family, scale, file: in a process of its own, so that nobody else's memory grows.
    write_unet(shape_of(sys.argv[1], sys.argv[2]), Path(sys.argv[3]))  # type: ignore[arg-type]
    tell(Measured(0.0, peak_bytes()))
