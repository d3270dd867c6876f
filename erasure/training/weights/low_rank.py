"""Thin factors in place of weights: what moves is beside the network, whose weights all stay."""

# o x d a layer's weight as a matrix (d = inputs, or inputs x height x width of a kernel), r the
# rank.

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.errors import ConfigError, MaskError
from erasure.seeds import generator_for
from erasure.setting_checks import require_choice, require_counts
from erasure.solving.factors import Factors
from erasure.team import Team
from erasure.training.weights.trainables import sum_over


@dataclass(frozen=True, kw_only=True, slots=True)
class LowRank:
    """How thin the factors are, and what a mask means to them."""

    rank: int = 8
    """Directions of each layer's change; a layer that is smaller has as many as its smaller side,
    with which nothing is lost."""
    alpha: float | None = None
    """The change is alpha / rank times the product of the factors; alpha is the rank if none is
    given."""
    masked: Literal["modules", "dense"] = "modules"
    """What a mask does to the factors: it chooses whole layers by the share of their weights that
    it selects, or it cuts the change down to the selected weights, which is no LoRA any more."""

    def __post_init__(self) -> None:
        require_counts(self, "rank")
        if self.alpha is not None and not 0 < self.alpha < inf:
            raise ConfigError(f"alpha is {self.alpha}; give more than 0, or leave it out")
        require_choice(self, "masked", "modules", "dense")

    @property
    def strength(self) -> float:
        """alpha, or the rank in its place."""
        return float(self.rank) if self.alpha is None else self.alpha

    def rank_of(self, shape: tuple[int, ...]) -> int:
        """The rank of a layer's factors, by its weight's shape."""
        return min(self.rank, shape[0], prod(shape[1:]))

    def numbers(self, shape: tuple[int, ...]) -> int:
        """How many numbers the factors of a layer hold."""
        return self.rank_of(shape) * (shape[0] + prod(shape[1:]))


@dataclass(slots=True, eq=False)
class _Layer:
    """A layer with factors: where its hook reads them, and how it is computed."""

    module: nn.Linear | nn.Conv2d
    scale: float
    chosen: Tensor | None
    """Which weights of it may change, bool, its weight's shape; None for all."""
    down: Tensor
    """(r, d)"""
    up: Tensor
    """(o, r)"""

    def change(self) -> Tensor:
        """What is added to the weight, in its shape and in the factors' type."""
        product = (self.scale * (self.up @ self.down)).view(self.module.weight.shape)
        return product if self.chosen is None else product * self.chosen

    def __call__(self, x: Tensor) -> Tensor:
        """What the layer's answer to `x` is moved by."""
        if self.chosen is not None:
            return self._applied(x, self.change())
        shape = self.module.weight.shape
        inner = self._applied(x, self.down.view(-1, *shape[1:]))
        up = self.up.to(x.dtype)
        if isinstance(self.module, nn.Conv2d):
            return self.scale * F.conv2d(inner, up[:, :, None, None])
        return self.scale * F.linear(inner, up)

    def _applied(self, x: Tensor, weight: Tensor) -> Tensor:
        module, weight = self.module, weight.to(x.dtype)
        if isinstance(module, nn.Conv2d):
            return F.conv2d(x, weight, None, module.stride, module.padding, module.dilation)
        return F.linear(x, weight)


class LowRankWeights:
    """Factors of linear and convolution layers as the only things that move.

    A layer answers W x + alpha / r up (down x): its own weight is neither copied nor written to,
    and the base is the same network with factors whose product is zero. `down` starts uniform in
    +-1 / sqrt(d), a stream of its own for each layer, and `up` at zero, so the first answers are
    the base's. The factors are float32, or float64 for networks of that type.

    Memory: 4 bytes of value and 4 of gradient a number of the factors, r (o + d) of them a layer.

    Source: arXiv:2106.09685, eq. 3; convolutions as kohya-ss/sd-scripts has them, `down` with the
        layer's kernel and `up` with one of 1 x 1.
    """

    apart = True

    def __init__(
        self, network: nn.Module, mask: Mapping[str, Tensor], how: LowRank, *, seed: int
    ) -> None:
        """Freeze the network and hook the layers of which the mask selects any weight.

        Args:
            network: its layers are named as in `mask`; no weight of it changes.
            mask: bool tensors of the weights' shapes; a missing name selects nothing. Where `how`
                says `modules`, it selects the whole weight or none of it.
            seed: of the first values.

        Raises:
            MaskError: a name or shape does not fit, the mask selects a part of a weight that moves
                as a whole, or nothing is selected.
            ConfigError: a selected weight is of another kind of layer, or the rank is above the
                size of every layer.
        """
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        self.how = how
        self.vectors: dict[str, nn.Parameter] = {}
        self._layers: dict[str, _Layer] = {}
        self._hooks: list[Any] = []
        for name, chosen in mask.items():
            if bool(chosen.any()):
                self._take(name, layer_of(network, name), chosen, seed)
        if not self._layers:
            raise MaskError("the mask selects no weight; choose a larger density or another scope")
        require_rank(how.rank, {n: tuple(o.module.weight.shape) for n, o in self._layers.items()})
        for layer in self._layers.values():
            self._hooks.append(layer.module.register_forward_hook(_hook(layer)))

    def _take(self, name: str, module: nn.Linear | nn.Conv2d, chosen: Tensor, seed: int) -> None:
        weight = module.weight
        if chosen.shape != weight.shape:
            raise MaskError(
                f"the mask of {name!r} has shape {tuple(chosen.shape)}, the weight has "
                f"{tuple(weight.shape)}; make the mask from this model"
            )
        if self.how.masked == "modules" and not bool(chosen.all()):
            raise MaskError(
                f"the mask selects a part of {name!r}, and factors move a layer as a whole; make "
                "a mask of whole layers with erasure.lora.module_mask, or say masked = 'dense'"
            )
        rank, width = self.how.rank_of(tuple(weight.shape)), weight[0].numel()
        kind = torch.promote_types(weight.dtype, torch.float32)
        draws = torch.rand((rank, width), generator=generator_for(seed, "low rank", name))
        down = ((2 * draws - 1) / sqrt(width)).to(weight.device, kind)
        up = torch.zeros((len(weight), rank), device=weight.device, dtype=kind)
        own = {f"{name}.down": nn.Parameter(down), f"{name}.up": nn.Parameter(up)}
        self.vectors |= own
        part = chosen.to(weight.device) if self.how.masked == "dense" else None
        scale = self.how.strength / self.how.rank
        self._layers[name] = _Layer(module, scale, part, *own.values())

    def write_back(self) -> None:
        """Let the network answer with the vectors' values."""
        self.write(self.vectors)

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Let the network answer with other values of some vectors; the vectors stay.

        Args:
            values: tensors of each one's shape by the names of `vectors`.
        """
        for name, layer in self._layers.items():
            layer.down = values.get(f"{name}.down", layer.down)
            layer.up = values.get(f"{name}.up", layer.up)

    def sum_gradients(self, team: Team) -> None:
        """Add up the gradients of all processes, in place."""
        sum_over(team, self.vectors)

    def release(self) -> None:
        """Take the hooks off; the network answers as the base from then on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def changes(self) -> Iterator[tuple[str, Tensor]]:
        """What is added to each weight that has factors, in its shape, on CPU, float64."""
        for name, layer in self._layers.items():
            yield name, _wide(layer).change().detach().cpu()

    @torch.no_grad()
    def factors(self) -> dict[str, Factors]:
        """The same as thin products, with the scale in `up`; empty where a mask cuts them."""
        if self.how.masked == "dense":
            return {}
        wide = {name: _wide(layer) for name, layer in self._layers.items()}
        return {
            name: Factors(layer.scale * layer.up.cpu(), layer.down.cpu())
            for name, layer in wide.items()
        }


def layer_of(network: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """The layer of a weight's name.

    Raises:
        MaskError: the network has no such weight.
        ConfigError: it is none of a linear or a plain convolution layer.
    """
    place, _, kind = name.rpartition(".")
    try:
        module, weight = network.get_submodule(place), network.get_parameter(name)
    except AttributeError as err:
        raise MaskError(
            f"the mask names {name!r}, which this model has not; make the mask from this model"
        ) from err
    plain = isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"
    )
    if kind != "weight" or not plain or module.weight is not weight:
        raise ConfigError(
            f"{name} is no weight of a linear or a plain convolution layer, so it has no factors; "
            "leave it out of the mask, as erasure.lora.module_mask does"
        )
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module


def require_rank(rank: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ConfigError where a rank is above the smaller side of every weight, o x d."""
    sizes = {name: min(shape[0], prod(shape[1:])) for name, shape in shapes.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    if rank > sizes[largest]:
        raise ConfigError(
            f"rank is {rank}, and no layer here has more than the {sizes[largest]} directions of "
            f"{largest}; give {sizes[largest]} or less"
        )


def _hook(layer: _Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def add(module: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        return answer + layer(inputs[0])

    return add


def _wide(layer: _Layer) -> _Layer:
    """The same layer with factors in float64, apart from those in training."""
    return _Layer(
        layer.module,
        layer.scale,
        layer.chosen,
        layer.down.detach().double(),
        layer.up.detach().double(),
    )
