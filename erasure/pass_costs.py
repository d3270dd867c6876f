"""What a pass of a network costs in memory and products, counted on tensors without contents.

Networks are built on torch's `meta` device, so neither their weights nor their activations take any
memory, and a count takes seconds at the size of Stable Diffusion XL. Counts are of float32: a
network in bf16 has half of the bytes.
"""

# C x h x w latents, L tokens, D text features.

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import autoencoder_of
from erasure.architectures.frame_codec import frame_autoencoder_of
from erasure.architectures.loading import recomputing, unfilled
from erasure.architectures.patch_codec import PATCH, patch_autoencoder_of
from erasure.attention.maps import captured
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.errors import ConfigError
from erasure.pass_counters import FusedAttention, Saved, forward_cost

_META: Final = torch.device("meta")


@dataclass(frozen=True, slots=True)
class PassCost:
    """What a pass of one sample or picture costs; that of several is as many times as much."""

    live: int
    """Most bytes of activations at one time where no gradient is wanted."""
    flops: int
    """Floating-point operations of the pass forward; a product and a sum are two."""
    saved: int = 0
    """Bytes of activations that the backward pass needs."""
    checkpointed: int = 0
    """Those of them that are kept under gradient checkpointing."""
    block: int = 0
    """Those of the block that needs most, which is made again in the backward pass."""
    loose: int = 0
    """Weights outside of all such blocks."""
    block_weights: int = 0
    """Weights of the block that has most."""


def network_cost(
    architecture: Architecture,
    config: Mapping[str, Any],
    size: tuple[int, int],
    *,
    tokens: int = 77,
    scope: str = "full",
    attended: bool = False,
) -> PassCost:
    """Count a pass of the main component.

    Args:
        architecture: of the model.
        config: of the main component.
        size: h and w of the latents.
        tokens: L, that the network is told.
        scope: key into the architecture's `scopes`; gradients of other weights are not wanted, and
            what they alone would need is not kept.
        attended: whether the maps of all cross-attention layers are collected, as in
            `erasure.attention.maps.captured`. Those of the pass before are still there then.

    Raises:
        ConfigError: they are to be, and the network has no such layer.
    """
    return _network_cost(architecture, _text(config), size, tokens, scope, attended)


def recomputed_blocks(architecture: Architecture, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules of the main component that gradient checkpointing computes anew, in the order in
    which they compute."""
    return _recomputed_blocks(architecture, _text(config))


def require_recomputing(architecture: Architecture, config: Mapping[str, Any], asked: str) -> None:
    """Refuse to recompute activations in a main component that keeps all of them.

    Args:
        config: of the main component.
        asked: the setting that asks for it.

    Raises:
        ConfigError: its network has no `enable_gradient_checkpointing`, or none that works.
    """
    with _META:
        network = architecture.main_part.build(config)
    if _recomputing(network) is None:
        raise ConfigError(
            f"{asked} is on, and the network of {architecture.title} ({type(network).__name__}) "
            "has no enable_gradient_checkpointing as those of diffusers have, so it cannot compute "
            f"its activations anew; leave {asked} out"
        )


def text_cost(part: Part, config: Mapping[str, Any], tokens: int) -> PassCost:
    """A text encoder's pass of one prompt of so many tokens, without a gradient."""
    return _text_cost(part, _text(config), tokens)


def decoder_cost(config: Mapping[str, Any], size: tuple[int, int]) -> PassCost:
    """A VAE's pass from latents of h x w to a picture, without a gradient."""
    return _vae_cost(_codec(config), _text(config), size, "decode")


def encoder_cost(config: Mapping[str, Any], size: tuple[int, int]) -> PassCost:
    """A VAE's pass from a picture of so many pixels, height and width, without a gradient."""
    return _vae_cost(_codec(config), _text(config), size, "encode")


def _ready(
    architecture: Architecture, config: str, size: tuple[int, int], tokens: int
) -> tuple[Any, Callable[[], Tensor], Tensor]:
    """The main component, what runs a pass of it, and the sample that it is asked about."""
    values = json.loads(config)
    network = unfilled(architecture.main_part.build, values)
    with _META:
        x_t, t, condition = architecture.sample(values, size, tokens)
    denoise = architecture.denoiser(network)
    return network, lambda: denoise(x_t, t, condition), x_t


@lru_cache
def _forward_cost(
    architecture: Architecture, config: str, size: tuple[int, int], tokens: int, attended: bool
) -> tuple[int, int]:
    """Bytes and products of a pass without a gradient, which are those of every scope."""
    network, run, _ = _ready(architecture, config, size, tokens)
    if not attended:
        return forward_cost(run, _stored(network))
    with captured(network):
        live, flops = forward_cost(lambda: (run(), run()), _stored(network))
    return live, flops // 2


@lru_cache
def _network_cost(
    architecture: Architecture,
    config: str,
    size: tuple[int, int],
    tokens: int,
    scope: str,
    attended: bool,
) -> PassCost:
    live, flops = _forward_cost(architecture, config, size, tokens, attended)
    network, run, x_t = _ready(architecture, config, size, tokens)
    parameters = dict(network.named_parameters())
    for name in architecture.candidates(parameters, scope):
        parameters[name].requires_grad_(True)
    saved = Saved(_stored(network))
    recompute = _recomputing(network)
    if recompute is not None:  # a network without it keeps all that it computes
        recompute(saved.block)
    recomputing(network)  # diffusers checkpoints only then
    maps = captured(network) if attended else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(saved.note, _never), FusedAttention(), maps:
        error = F.mse_loss(run(), torch.empty_like(x_t))
    del error
    weights = sum(weight.numel() for weight in parameters.values())
    return PassCost(
        live,
        flops,
        saved.all(),
        saved.checkpointed(),
        saved.largest(),
        weights - sum(saved.weights),
        max(saved.weights, default=0),
    )


def _recomputing(network: nn.Module) -> Callable[..., Any] | None:
    """What turns gradient checkpointing on; None where the network has no such thing."""
    able = getattr(network, "_supports_gradient_checkpointing", True)  # as diffusers marks it
    recompute: Any = getattr(network, "enable_gradient_checkpointing", None)
    return recompute if able and callable(recompute) else None


_SIDE: Final = 16
"""Latents a side that every family can take, of models that are not made for fewer."""


@lru_cache
def _recomputed_blocks(architecture: Architecture, config: str) -> tuple[str, ...]:
    values = json.loads(config)
    network = unfilled(architecture.main_part.build, values)
    own = values.get("sample_size")
    side = min(_SIDE, own) if isinstance(own, int) else _SIDE
    with _META:
        x_t, t, condition = architecture.sample(values, (side, side), 8)
    names = {module: name for name, module in network.named_modules()}
    seen: dict[str, None] = {}

    def note(module: nn.Module | Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401
        owner = module if isinstance(module, nn.Module) else getattr(module, "__self__", None)
        if owner in names:
            seen[names[owner]] = None
        return module(*inputs)

    network.enable_gradient_checkpointing(note)
    recomputing(network)
    architecture.denoiser(network)(x_t, t, condition)
    return tuple(seen)


@lru_cache
def _text_cost(part: Part, config: str, tokens: int) -> PassCost:
    network = unfilled(part.build, json.loads(config))
    ids = torch.empty(1, tokens, dtype=torch.int64, device=_META)
    return PassCost(*forward_cost(lambda: network(ids), _stored(network)))


@lru_cache
def _vae_cost(kind: str, config: str, size: tuple[int, int], way: str) -> PassCost:
    values = json.loads(config)
    codec = _CODECS[kind]
    channels = (
        whole_number(values, codec.channels, "the VAE", codec.usual)
        if way == "decode"
        else whole_number(values, "in_channels", "the VAE", 3)
    )
    patch = codec.patch if way == "decode" else 1
    network = unfilled(codec.build, values)
    shape = (1, channels, *codec.frames, *(side * patch for side in size))
    inputs = torch.empty(shape, device=_META)
    return PassCost(
        *forward_cost(
            lambda: getattr(network, way)(inputs, return_dict=False), network.parameters()
        )
    )


@dataclass(frozen=True, slots=True)
class _Codec:
    """What the VAEs of families differ in."""

    build: Callable[[Mapping[str, Any]], nn.Module]
    channels: str = "latent_channels"
    """Where the config has the channels of the latents."""
    usual: int = 4
    """What diffusers takes where it has none."""
    patch: int = 1
    """Its latents a side of one that the denoiser takes."""
    frames: tuple[int, ...] = ()
    """What stands before height and width."""


_CODECS: Final = {
    "AutoencoderKL": _Codec(autoencoder_of),
    "AutoencoderKLFlux2": _Codec(patch_autoencoder_of, usual=32, patch=PATCH),
    "AutoencoderKLQwenImage": _Codec(frame_autoencoder_of, "z_dim", 16, frames=(1,)),
}
"""Class in diffusers -> how it is counted."""


def _codec(config: Mapping[str, Any]) -> str:
    """The class of a VAE, a key of `_CODECS`; the usual one where its config names none."""
    kind = str(config.get("_class_name"))
    return kind if kind in _CODECS else "AutoencoderKL"


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in config.items() if not k.startswith("_")}, sort_keys=True)


def _stored(network: nn.Module) -> list[Tensor]:
    """What a network holds in any case: weights, and buffers such as SD3's table of places."""
    return [*network.parameters(), *network.buffers()]


def _never(_: object) -> Tensor:
    raise AssertionError("a count has no backward pass")
