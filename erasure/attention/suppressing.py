"""Low-rank factors that keep a concept's tokens from attending to where the concept is seen."""

# B samples, C x h x w latents, H heads, p places, L tokens, o x d a weight, r the rank.

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.attention.maps import captured
from erasure.attention.objects import Drawn, layer_size
from erasure.diffusion.data.shuffling import shuffled
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import NoiseSchedule
from erasure.seeds import generator_for


@dataclass(frozen=True, slots=True)
class Pair:
    """Trainable factors of one weight."""

    up: Tensor
    """(o, r); zero at the start."""
    down: Tensor
    """(r, d)"""

    def change(self) -> Tensor:
        """(o, d) float64."""
        return self.up.detach().double() @ self.down.detach().double()


def new_pairs(shapes: Mapping[str, tuple[int, int]], rank: int, *key: int | str) -> dict[str, Pair]:
    """Factors whose product is zero, drawn by the key.

    Args:
        shapes: name of a weight -> (o, d).
    """
    pairs = {}
    for name, (height, width) in shapes.items():
        draw = generator_for(*key, name)
        down = (2 * torch.rand(rank, width, generator=draw) - 1) / width**0.5
        pairs[name] = Pair(torch.zeros(height, rank, requires_grad=True), down.requires_grad_(True))
    return pairs


@contextmanager
def added(network: nn.Module, pairs: Mapping[str, Pair]) -> Iterator[None]:
    """Let the network answer, in a block, as if the factors were added to its weights."""
    modules = dict(network.named_modules())

    def adding(pair: Pair) -> Any:  # noqa: ANN401
        def add(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + (args[0] @ pair.down.T) @ pair.up.T

        return add

    hooks = [
        modules[name.removesuffix(".weight")].register_forward_hook(adding(pair))
        for name, pair in pairs.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def attended(maps: Mapping[str, Tensor], where: Tensor, span: range) -> Tensor:
    """sum over layers |A[places of the object, tokens of the concept]|, Frobenius over heads; ().

    Args:
        maps: name -> (1, H, p, L) of one sample.
        where: (h, w) bool, the object in the latents. A place of a layer counts where any of the
            latents' places in it does.
        span: places of the concept's tokens.

    Source: arXiv:2403.06135, the loss of its second stage.
    """
    total = torch.zeros((), device=where.device)
    for one in maps.values():
        size = layer_size(one.shape[2], tuple(where.shape))
        there = F.adaptive_max_pool2d(where.float()[None], size)[0].flatten() > 0  # (p,)
        total = total + one[0][:, there][:, :, list(span)].norm()
    return total


def importance(times: int) -> Tensor:
    """How often each time is drawn, (T,) float64 with sum 1: mostly 200 to 400 of 1,000.

    Source: arXiv:2403.06135; sigmoid(0.05 (t - 200)) - sigmoid(0.05 (t - 400)).
    """
    t = torch.arange(times, dtype=torch.float64) * (1000 / times)
    weights = torch.sigmoid(0.05 * (t - 200)) - torch.sigmoid(0.05 * (t - 400))
    return weights / weights.sum()


def suppress(
    network: nn.Module,
    denoise: Denoiser,
    schedule: NoiseSchedule,
    pairs: Mapping[str, Pair],
    drawn: Drawn,
    concept: Condition,
    spans: Sequence[range],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    around_300: bool,
) -> Iterator[float]:
    """Train the factors by Adam, a picture a step, and yield the losses.

    Args:
        drawn: B pictures of the concept.
        concept: what was drawn, of B samples.
        spans: places of the concept's tokens in the B prompts.
        around_300: draw times by `importance`; else uniformly.
    """
    factors = [value for pair in pairs.values() for value in (pair.up, pair.down)]
    optimizer = torch.optim.Adam(factors, learning_rate)
    count = len(schedule.alphas_cumprod)
    chances = importance(count) if around_300 else torch.ones(count, dtype=torch.float64)
    for step in range(steps):
        (row,) = shuffled(len(drawn.latents), step, 1, seed, "suppress order")
        draw = generator_for(seed, "suppress", step)
        t = torch.multinomial(chances, 1, generator=draw).to(drawn.latents.device)
        clean = drawn.latents[row : row + 1]
        noise = torch.randn(clean.shape, generator=draw).to(clean)
        x_t = schedule.add_noise(clean, noise, t)
        with added(network, pairs), captured(network) as maps:
            denoise(x_t, t, concept[torch.tensor([row], device=clean.device)])
            loss = attended(maps, drawn.where[row], spans[row])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield float(loss.detach())
