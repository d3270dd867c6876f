"""What a pass of a network costs in memory and products, counted on tensors without contents.

Networks are built on torch's `meta` device, so neither their weights nor their activations take any
memory, and a count takes seconds at the size of Stable Diffusion XL. Counts are of float32: a
network in bf16 has half of the bytes.
"""

# C x h x w latents, L tokens, D text features.

import json
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import autoencoder_of
from erasure.architectures.frame_codec import frame_autoencoder_of
from erasure.architectures.patch_codec import PATCH, patch_autoencoder_of
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.errors import ConfigError

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
) -> PassCost:
    """Count a pass of the main component.

    Args:
        architecture: of the model.
        config: of the main component.
        size: h and w of the latents.
        tokens: L, that the network is told.
        scope: key into the architecture's `scopes`; gradients of other weights are not wanted, and
            what they alone would need is not kept.
    """
    return _network_cost(architecture, _text(config), size, tokens, scope)


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


@lru_cache
def _network_cost(
    architecture: Architecture, config: str, size: tuple[int, int], tokens: int, scope: str
) -> PassCost:
    values = json.loads(config)
    with _META:
        network: Any = architecture.main_part.build(values)
        x_t, t, condition = architecture.sample(values, size, tokens)
    denoise = architecture.denoiser(network)
    network.requires_grad_(False)
    parameters = dict(network.named_parameters())
    for name in architecture.candidates(parameters, scope):
        parameters[name].requires_grad_(True)

    def run() -> Tensor:
        return denoise(x_t, t, condition)

    live, flops = _forward(run, parameters.values())
    saved = _Saved(parameters.values())
    recompute = _recomputing(network)
    if recompute is not None:  # a network without it keeps all that it computes
        recompute(saved.block)
    network.train()  # diffusers checkpoints only then
    with torch.autograd.graph.saved_tensors_hooks(saved.note, _never), _FusedAttention():
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
"""Latents a side that every family can take."""


@lru_cache
def _recomputed_blocks(architecture: Architecture, config: str) -> tuple[str, ...]:
    values = json.loads(config)
    with _META:
        network: Any = architecture.main_part.build(values)
        x_t, t, condition = architecture.sample(values, (_SIDE, _SIDE), 8)
    names = {module: name for name, module in network.named_modules()}
    seen: dict[str, None] = {}

    def note(module: nn.Module | Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401
        owner = module if isinstance(module, nn.Module) else getattr(module, "__self__", None)
        if owner in names:
            seen[names[owner]] = None
        return module(*inputs)

    network.enable_gradient_checkpointing(note)
    network.train()
    architecture.denoiser(network)(x_t, t, condition)
    return tuple(seen)


@lru_cache
def _text_cost(part: Part, config: str, tokens: int) -> PassCost:
    with _META:
        network: Any = part.build(json.loads(config))
        ids = torch.empty(1, tokens, dtype=torch.int64)
    network.eval()
    return PassCost(*_forward(lambda: network(ids), network.parameters()))


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
    with _META:
        network: Any = codec.build(values)
        inputs = torch.empty(1, channels, *codec.frames, *(side * patch for side in size))
    network.eval()
    return PassCost(
        *_forward(lambda: getattr(network, way)(inputs, return_dict=False), network.parameters())
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


def _never(_: object) -> Tensor:
    raise AssertionError("a count has no backward pass")


@torch.no_grad()
def _forward(run: Callable[[], object], weights: Iterable[Tensor]) -> tuple[int, int]:
    """Most bytes alive at one time, and products, of a pass without a gradient."""
    live, counter = _Live(weights), FlopCounterMode(display=False)
    with _FusedAttention() as attention, counter, live:
        run()
    return live.most, counter.get_total_flops() + attention.flops


class _Attention(torch.autograd.Function):
    """Keeps what fused attention keeps: queries, keys, values and the result, and no scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ANN401
        *outer, heads, places, _ = query.shape
        # As the kernels lay it: heads side by side, so that joining them again copies nothing.
        made = query.new_empty(*outer, places, heads, value.shape[-1]).transpose(-2, -3)
        ctx.save_for_backward(query, key, value, made)
        return made


class _FusedAttention(TorchFunctionMode):
    """On `meta`, torch takes attention apart and would keep the scores of all pairs of places."""

    flops = 0

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = {**dict(zip(("query", "key", "value"), args, strict=False)), **(kwargs or {})}
        query, key, value = (named[part] for part in ("query", "key", "value"))
        self.flops += 4 * key.shape[-2] * query.numel()  # scores, and their sums of values
        return _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]


class _Live(TorchDispatchMode):
    """Counts the bytes of what the operations made and nobody has let go yet."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._known = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._drop, place, size)

    def _drop(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._now -= size


class _Saved:
    """Sorts what a pass saves for its backward pass by the blocks that checkpointing cuts."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        # Storages are held, so that no address comes twice.
        self._outside: dict[int, torch.UntypedStorage] = {}
        self._inside: list[dict[int, torch.UntypedStorage]] = []
        self._now = self._outside
        self.weights: list[int] = []
        """How many weights each block has."""

    def note(self, tensor: Tensor) -> None:
        """Note a tensor that the backward pass needs; a hook for `saved_tensors_hooks`."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._now[storage._cdata] = storage

    def block(self, module: nn.Module | Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401
        """In the place of diffusers' checkpointing: its inputs are kept, the rest is inside."""
        for tensor in tree_leaves(inputs):
            if isinstance(tensor, Tensor):
                self.note(tensor)
        owner = module if isinstance(module, nn.Module) else getattr(module, "__self__", None)
        parameters = owner.parameters() if isinstance(owner, nn.Module) else ()
        self.weights.append(sum(weight.numel() for weight in parameters))
        self._inside.append({})
        self._now = self._inside[-1]
        try:
            return module(*inputs)
        finally:
            self._now = self._outside

    def all(self) -> int:
        """Bytes without checkpointing; what is kept as a block's input alone is kept then too, as
        it is the result of another operation that saves it."""
        every = dict(self._outside)
        for inside in self._inside:
            every |= inside
        return _bytes(every)

    def checkpointed(self) -> int:
        """Bytes with it."""
        return _bytes(self._outside)

    def largest(self) -> int:
        """Bytes of the largest block, without what is kept anyway."""
        return max(
            (_bytes({k: v for k, v in b.items() if k not in self._outside}) for b in self._inside),
            default=0,
        )


def _bytes(storages: Mapping[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages.values())
