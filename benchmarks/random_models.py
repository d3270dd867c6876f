"""Networks of published sizes with random weights, and data that fits them.

For measurements that need the size of a model and not what it has learned. Weights are filled where
they lie, one tensor at a time, so no second copy of a model ever exists.
"""

# N pictures, P prompts, C x h x w latents.

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

from erasure.architectures.architecture import Architecture
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.reading.vocabulary import byte_letters
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import LatentSet
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.masks.packed import PackedBits

Scale = Literal["tiny", "half", "full"]
TOKENS = 77
PROMPTS = 4
SAMPLE_PIXELS = 8
"""Pixels a side for each latent."""


@dataclass(frozen=True)
class Shape:
    """The main component of a family, whole or narrower."""

    family: str
    """Key into `erasure.architectures.registry.ARCHITECTURES`."""
    config: Mapping[str, Any]
    """That of diffusers."""
    schedule: Schedule

    @property
    def architecture(self) -> Architecture:
        """The family."""
        return ARCHITECTURES[self.family]

    def sample(self, pixels: int) -> tuple[Tensor, Tensor, Condition]:
        """What the network takes of one sample: x_t, t and a condition, without contents."""
        side = pixels // SAMPLE_PIXELS
        length = self.architecture.prompt_length(shipped_description(self.family), TOKENS, False)
        with torch.device("meta"):
            return self.architecture.sample(self.config, (side, side), length)


def shape_of(family: str, scale: Scale = "full", blocks: int | None = None) -> Shape:
    """The published configuration; `half` has half the channels, `tiny` a hundredth.

    Args:
        blocks: of a joint transformer, how many of each kind at most; all of them if None.
    """
    if family not in ARCHITECTURES:
        raise SystemExit(f"there is no family {family!r}; give one of {', '.join(ARCHITECTURES)}")
    architecture, description = ARCHITECTURES[family], shipped_description(family)
    config = description.components[architecture.main]
    config = {k: v for k, v in config.items() if not k.startswith("_")}
    by = {"full": 1, "half": 2, "tiny": 80}[scale]
    config |= _narrowed(config, by) if "block_out_channels" in config else _fewer(config, by)
    if blocks is not None:
        config |= _shallow(config, blocks)
    return Shape(family, config, architecture.schedule(description.scheduler))


def _shallow(config: Mapping[str, Any], blocks: int) -> dict[str, Any]:
    """What differs in a joint transformer of fewer blocks, each as wide as it is."""
    if "num_layers" not in config:
        raise SystemExit("--blocks is of joint transformers, and this family has a UNet")
    sizes: dict[str, Any] = {
        name: min(blocks, int(config[name]))
        for name in ("num_layers", "num_single_layers")
        if name in config
    }
    if (dual := config.get("dual_attention_layers")) is not None:
        sizes["dual_attention_layers"] = [layer for layer in dual if layer < blocks]
    return sizes


def _narrowed(config: Mapping[str, Any], by: int) -> dict[str, Any]:
    """What differs in a UNet with fewer channels; every layer is still there."""
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


def _fewer(config: Mapping[str, Any], by: int) -> dict[str, Any]:
    """What differs in a joint transformer with fewer heads; tiny ones have two blocks of a kind."""
    if by == 1:
        return {}
    heads = max(2, int(config["num_attention_heads"]) // by)
    sizes: dict[str, Any] = {"num_attention_heads": heads}
    width = int(config["attention_head_dim"])
    if by > 2:
        width = 16
        few = {"num_layers": 2, "num_single_layers": 2, "dual_attention_layers": [0]}
        few |= {"joint_attention_dim": 32, "pooled_projection_dim": 32, "pos_embed_max_size": 16}
        few |= {"axes_dims_rope": [4, 4, 8]}
        sizes |= {"attention_head_dim": width} | {k: v for k, v in few.items() if k in config}
    if "caption_projection_dim" in config:
        sizes["caption_projection_dim"] = heads * width
    return sizes


def meta_network(shape: Shape) -> nn.Module:
    """Without contents."""
    with torch.device("meta"):
        return shape.architecture.main_part.build(shape.config)


def random_network(
    shape: Shape, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> nn.Module:
    """In evaluation mode, filled where it lies; deviation 1 / sqrt(inputs) keeps values finite."""
    network = nn.Module.to(meta_network(shape), dtype).to_empty(device=device)
    fill(network.state_dict(), seed)  # with the buffers that are saved, such as a table of places
    return network.eval().requires_grad_(False)


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
    description = description.having(unet=shape.config).speaking(tokenizer=tokenizer)
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
    prompts = random_prompts(shape, pixels, draw)
    size = (pictures, *shape.sample(pixels)[0].shape[1:])

    def latents(prompt: int) -> LatentSet:
        rows = torch.full((pictures,), prompt, dtype=torch.int64)
        return LatentSet(torch.randn(size, generator=draw), torch.full(size, 0.1), rows)

    return ConceptData(latents(1), torch.full((pictures, 1), 2), latents(3), prompts)


def random_prompts(shape: Shape, pixels: int, draw: torch.Generator) -> Condition:
    """What a family's network is told of P prompts, as wide and as long as it is told it."""
    wanted = shape.sample(pixels)[2].tensors
    drawn = {
        name: torch.randn(PROMPTS, *value.shape[1:], generator=draw)
        for name, value in wanted.items()
    }
    return shape.architecture.with_size(Condition(drawn), pixels, pixels)


def weights_of(network: nn.Module) -> int:
    """How many there are."""
    return sum(weight.numel() for weight in network.parameters())


def random_mask(
    network: nn.Module, density: float, seed: int = 0, device: torch.device | None = None
) -> PackedBits:
    """Each weight is free to move with this probability; a bit a weight, on the CPU.

    Args:
        device: that draws, the CPU if None.
    """
    where = device or torch.device("cpu")
    draw = torch.Generator(where).manual_seed(seed)
    drawn = (
        (name, torch.empty(weight.shape, dtype=torch.bool, device=where))
        for name, weight in network.named_parameters()
    )
    return PackedBits.of(
        (name, bits.bernoulli_(density, generator=draw).cpu()) for name, bits in drawn
    )


def denoiser_of(shape: Shape, network: nn.Module, *, recomputed: bool = False) -> Denoiser:
    """The network as the objectives call it, its activations computed anew where that is asked."""
    if recomputed:
        network.enable_gradient_checkpointing()  # type: ignore[operator]
        network.train()  # diffusers recomputes in training mode alone
    return shape.architecture.denoiser(network)


def write_network(shape: Shape, path: Path) -> None:
    """A fp32 main component in the safetensors layout of a diffusers folder."""
    from erasure.storage.tensors.tensor_file import write_tensors

    network = random_network(shape, torch.float32, torch.device("cpu"))
    write_tensors(path, network.state_dict(), {})


def file_checkpoint(shape: Shape, path: Path) -> Checkpoint:
    """A checkpoint of that component alone, mapped from the disk as `read_checkpoint` does."""
    from erasure.storage.tensors.tensor_file import read_tensors

    main = shape.architecture.main
    return Checkpoint(
        architecture=shape.architecture,
        path=path.parent,
        components={main: read_tensors(path).tensors},
        description=shipped_description(shape.family).having(**{main: shape.config}),
    )


if __name__ == "__main__":
    # Family, scale, file: in a process of its own, so that nobody else's memory grows.
    write_network(shape_of(sys.argv[1], sys.argv[2]), Path(sys.argv[3]))  # type: ignore[arg-type]
    tell(Measured(0.0, peak_bytes()))
