"""Three goals of a search for words: the noise, the base's answer, or the text's own features."""

# P prompts, M rows of them, B samples a prompt, L tokens, D text features, C x H x W latents.

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.attacks.search.noisy import Noisy, Show, noisy, squared_error
from erasure.attacks.search.slots import Slots
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.errors import ConfigError
from erasure.seeds import derived_seed


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Noisy pictures of the concept for each prompt and step."""

    mean: Tensor
    """(N, C, H, W) on CPU."""
    std: Tensor
    """(N, C, H, W)"""
    schedule: Schedule
    seed: int
    device: torch.device
    times: tuple[float, ...]
    """Noise levels, in the order in which a search meets them."""
    steps_each: int
    """Steps at each of them."""
    batch_size: int = 1
    """B, pictures a step of one prompt."""

    def __post_init__(self) -> None:
        if not len(self.mean):
            raise ConfigError("there is no picture of the concept; give at least one")

    def at(self, which: Tensor, step: int) -> Noisy:
        """B samples for each of M rows, (M B, ...); rows of one prompt see the same ones.

        Step -1 shows as many at times spread over all, the same ones whenever it is asked for.
        """
        made: dict[int, list[Show]] = {}
        for prompt in which.tolist():
            made.setdefault(prompt, [self._show(prompt, step, k) for k in range(self._count(step))])
        order = list(made)
        shown = noisy(
            self.mean,
            self.std,
            self.schedule,
            [show for prompt in order for show in made[prompt]],
            self.device,
        )
        size = self._count(step)
        rows = torch.cat([order.index(p) * size + torch.arange(size) for p in which.tolist()])
        rows = rows.to(self.device)
        return Noisy(shown.x_t[rows], shown.t[rows], shown.target[rows])

    def _count(self, step: int) -> int:
        return self.batch_size if step >= 0 else max(self.batch_size, len(self.times))

    def _show(self, prompt: int, step: int, k: int) -> Show:
        key = (self.seed, "prefix", prompt, step, k)
        place = k if step < 0 else step // self.steps_each
        picture = derived_seed(*key, "picture") % len(self.mean)
        return Show(picture, key, self.times[place % len(self.times)])


def repeated(condition: Condition, times: int) -> Condition:
    """Each row so many times, one after the other: (M, ...) -> (M times, ...)."""
    device = next(iter(condition.tensors.values())).device
    return condition[torch.arange(len(condition), device=device).repeat_interleave(times)]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseGoal:
    """|eps(x_t, t, text) - target|^2: the model denoises pictures of the concept under this text.

    Source: arXiv:2310.11868. Its release takes one picture that the original model drew;
        any picture of the concept serves.
    """

    denoise: Denoiser
    pictures: Pictures

    def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
        """(M,)"""
        shown = self.pictures.at(which, step)
        each = len(shown) // len(which)
        losses = squared_error(self.denoise, shown, repeated(condition, each))
        return losses.view(len(which), each).mean(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class MatchGoal:
    """|eps(x_t, t, text) - eps_base(x_t, t, prompt)|^2: the model answers as the base does.

    Source: arXiv:2309.06135, without guidance. The target is the base's answer, and not the
        noise, so it is exactly 0 where the model is the base and the text is the prompt.
    """

    denoise: Denoiser
    base: Denoiser
    wanted: Condition
    """(P, ...) what the base is told: the plain prompts."""
    pictures: Pictures

    def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
        """(M,)"""
        shown = self.pictures.at(which, step)
        each = len(shown) // len(which)
        rows = which.to(shown.t.device)
        with torch.no_grad():
            answer = self.base(shown.x_t, shown.t, repeated(self.wanted[rows], each))
        same = Noisy(shown.x_t, shown.t, answer)
        losses = squared_error(self.denoise, same, repeated(condition, each))
        return losses.view(len(which), each).mean(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureGoal:
    """Mean squared distance of a text's features to wanted ones; no diffusion network is asked.

    Source: arXiv:2310.10012.
    """

    wanted: Tensor
    """(P, L, D)"""

    def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
        """(M,)"""
        features = condition.tokens
        wanted = self.wanted.to(features)[which.to(features.device)]
        return (features - wanted).square().flatten(1).mean(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class PooledGoal:
    """1 - cosine of the features at the end mark with wanted ones; no diffusion network is asked.

    Source: arXiv:2311.17516, on the projected feature. Here, the features at the end mark
        are those that the diffusion network reads, with the projected ones where it reads these.
    """

    slots: Slots
    wanted: Tensor
    """(P, D)"""

    def __call__(self, condition: Condition, which: Tensor, step: int, /) -> Tensor:
        """(M,)"""
        pooled = self.slots.pooled(condition, which)
        wanted = self.wanted.to(pooled)[which.to(pooled.device)]
        return 1 - F.cosine_similarity(pooled, wanted, dim=-1)


def concept_vector(
    encode: Callable[[Sequence[str]], Condition], pairs: Sequence[tuple[str, str]]
) -> Tensor:
    """Mean of f(with the concept) - f(without it) over pairs of prompts, (L, D).

    Raises:
        ConfigError: there is no pair.

    Source: arXiv:2310.10012, over all tokens.
    """
    if not pairs:
        raise ConfigError("there is no pair of prompts with and without the concept; give one")
    with_it = encode([one for one, _ in pairs]).tokens
    without = encode([other for _, other in pairs]).tokens
    return (with_it.float() - without.float()).mean(dim=0)
