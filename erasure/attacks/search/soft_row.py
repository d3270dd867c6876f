"""One learned embedding that makes the model draw the concept: concept inversion."""

# N pictures, P templates, B samples, E embedding features, V words.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from erasure.attacks.search.noisy import Show, noisy, require_finite, squared_error
from erasure.attacks.search.slots import Slots
from erasure.diffusion.data.shuffling import shuffled
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.errors import ConfigError
from erasure.seeds import derived_seed
from erasure.setting_checks import require_positive

Vectors = tuple[Tensor, ...]
"""One (1, E) for each text encoder."""


class Lessons(Protocol):
    """What a model is told with a row in the place of what stands for the concept."""

    @property
    def prompts(self) -> Sequence[str]:
        """P prompts or classes."""
        ...

    @property
    def open_places(self) -> int:
        """Rows in each of them; one is learned here."""
        ...

    @property
    def limits(self) -> Sequence[float]:
        """The longest that a row may be, for each text encoder or table."""
        ...

    def told(self, rows: Sequence[Tensor], which: Tensor) -> Condition:
        """Make the condition of M samples: rows (M, 1, E) each, `which` of the prompts (M,)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSearch:
    """How to learn one row.

    Source: arXiv:2308.01508, with the model frozen as in textual inversion, arXiv:2208.01618.
        There, the row may grow to many times the length of any word; here it is held to the longest
        row of the table, so that it stays a word.
    """

    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 8
    """B, samples a step."""
    learning_rate: float = 0.02
    """Rate of AdamW with decay 0.01."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch_size < 1:
            raise ConfigError(
                f"steps is {self.steps} and batch_size {self.batch_size}; give 0 or more steps and "
                "a batch of 1 or more"
            )
        require_positive(self, "learning_rate")


@dataclass(frozen=True, slots=True, eq=False)
class RowStep:
    """The row after a step."""

    step: int
    """From 1."""
    loss: float
    """Mean loss of the step's samples before the step."""
    vectors: Vectors
    """float32 on CPU."""


def capped(vectors: Tensor, longest_row: float) -> Tensor:
    """The vectors, (..., E), none longer than that; shorter ones to the bit."""
    length = vectors.norm(dim=-1, keepdim=True)
    return torch.where(length > longest_row, vectors * (longest_row / length), vectors)


def row_of(slots: Slots, number: int) -> Vectors:
    """The embeddings (1, E) of a word by its token number."""
    return tuple(
        network.get_input_embeddings().weight.detach()[number : number + 1].float().cpu()
        for _, network in slots.text.towers
    )


def learn_row(
    denoise: Denoiser,
    schedule: Schedule,
    lessons: Lessons,
    mean: Tensor,
    std: Tensor,
    start: Vectors,
    settings: RowSearch,
    *,
    seed: int,
    device: torch.device,
) -> Iterator[RowStep]:
    """Minimise |eps(x_t, t, template with the row) - target|^2 over the row alone.

    Step n's samples depend on the seed and n; no other tensor gets a gradient.

    Args:
        lessons: P prompts with one open place.
        mean: (N, C, H, W) latents of pictures of the concept; on CPU.
        std: (N, C, H, W)
        start: where the row begins.

    Raises:
        ConfigError: there is no picture, or more than one open place.
        TrainingError: a loss is not finite.
    """
    if not len(mean):
        raise ConfigError("there is no picture of the concept; give at least one")
    if lessons.open_places != 1:
        raise ConfigError(f"there are {lessons.open_places} open places; give one")
    limits = lessons.limits
    free = [row.clone().float().requires_grad_() for row in start]
    with torch.no_grad():
        for row, limit in zip(free, limits, strict=True):
            row.copy_(capped(row, limit))
    adam = torch.optim.AdamW(free, lr=settings.learning_rate, weight_decay=0.01)
    for step in range(settings.steps):
        shows, which = _samples(len(mean), len(lessons.prompts), settings.batch_size, seed, step)
        shown = noisy(mean, std, schedule, shows, device)
        rows = [row.expand(len(shown), 1, -1) for row in free]
        condition = lessons.told(rows, which).to(device, torch.float32)
        losses = squared_error(denoise, shown, condition)
        require_finite(losses, step + 1, "soft token")
        made = torch.autograd.grad(losses.mean(), free)
        for row, slope in zip(free, made, strict=True):
            row.grad = slope
        adam.step()
        with torch.no_grad():
            for row, limit in zip(free, limits, strict=True):
                row.copy_(capped(row, limit))
        vectors = tuple(row.detach().cpu().clone() for row in free)
        yield RowStep(step + 1, float(losses.detach().mean()), vectors)


def _samples(
    pictures: int, templates: int, count: int, seed: int, step: int
) -> tuple[list[Show], Tensor]:
    """What is drawn for B samples, and the template of each, (B,)."""
    first = step * count
    rows = shuffled(pictures, first, count, seed, "soft order")
    shows = [Show(row, (seed, "soft", first + n)) for n, row in enumerate(rows)]
    which = [derived_seed(seed, "soft template", first + n) % templates for n in range(count)]
    return shows, torch.tensor(which)


@torch.no_grad()
def row_loss(
    denoise: Denoiser,
    schedule: Schedule,
    lessons: Lessons,
    mean: Tensor,
    std: Tensor,
    vectors: Vectors,
    *,
    seed: int,
    device: torch.device,
    draws: int = 2,
) -> float:
    """The loss of a row on pictures that it was not learned on, each noised `draws` times.

    The same samples whatever the row, so that rows can be compared.
    """
    total = 0.0
    for n in range(len(mean)):
        shows = [Show(n, (seed, "soft held out", n, k)) for k in range(draws)]
        shown = noisy(mean, std, schedule, shows, device)
        which = torch.tensor([(n + k) % len(lessons.prompts) for k in range(draws)])
        rows = [row.expand(draws, 1, -1) for row in vectors]
        condition = lessons.told(rows, which).to(device, torch.float32)
        total += float(squared_error(denoise, shown, condition).mean())
    return total / len(mean)


def halves(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn on and rows to hold back, both of at least one where there are two or more."""
    order = shuffled(count, 0, count, seed, "halves")
    cut = max(1, count // 2)
    return sorted(order[:cut]), sorted(order[cut:])


def copies(drawn: Tensor, learned: Tensor, held: Tensor) -> Tensor:
    """Which drawn pictures are near copies of one that the row was learned on, (B,) bool.

    A picture is one where its nearest picture of the learned half is nearer by half than that of
    the half that was held back; where no copying happens, both are about as far.

    Args:
        drawn: (B, ...) latents or features.
        learned: (N, ...) of the pictures that were learned on.
        held: (M, ...) of those that were held back; at least one.
    """
    flat = drawn.flatten(1).float()

    near = torch.cdist(flat, learned.flatten(1).float()).amin(dim=1)
    far = torch.cdist(flat, held.flatten(1).float()).amin(dim=1)
    return near < far / 2
