"""Text-free inversion: the noise from which a model would redraw a picture, and how typical it is.

A model of random weights redraws any picture from the noise that was found with it, so that it does
says nothing. What may say something is whether the noise looks like noise.
"""

# B pictures, C x H x W latents, S times.

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from erasure.attacks.payload import Attempt, Cost, Payload, Start
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Ledger, Target
from erasure.attacks.trials import drawing_cost, pictures_of, within_budget
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.sample import sampling_step, sampling_times, step_pairs
from erasure.diffusion.schedule import NoiseSchedule, Schedule
from erasure.errors import ConfigError, TrainingError
from erasure.setting_checks import require_counts
from erasure.storage.tables import fields_to_table


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    """The noise of pictures, and how well each step was solved."""

    latents: Tensor
    """(B, C, H, W) at the first time of the sampler."""
    residual: Tensor
    """(B,) the largest relative residual of any step: 0 where the sampler leads back exactly."""


@torch.no_grad()
def inverted(
    denoise: Denoiser,
    schedule: Schedule,
    times: Tensor,
    latents: Tensor,
    condition: Condition,
    *,
    rounds: int = 4,
) -> Inverted:
    """Solve each step of the sampler for the noisier latents, by fixed-point rounds.

    Args:
        times: (S,) from noise to clean, as `erasure.diffusion.sample.sampling_times` gives them.
        latents: (B, C, H, W) clean ones, at the level of time 0.
        condition: of B samples; the empty prompt's for a text-free inversion.
        rounds: K; the first starts from the cleaner latents themselves.

    Raises:
        ConfigError: fewer than one round.
        TrainingError: the rounds run away to what is no number.

    Source: the step of arXiv:2010.02502, eq. 12 with eta 0, or of a flow Euler's step, solved as a
        fixed point instead of by the gradient of its residual.
    """
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}; give 1 or more")
    worst = torch.zeros(len(latents), device=latents.device)
    for noisier, cleaner in reversed(step_pairs(times)):
        t = torch.full((len(latents),), noisier, device=latents.device)
        guess = latents
        for _ in range(rounds):
            guess = _moved_up(schedule, latents, guess, denoise(guess, t, condition), t, cleaner)
        back = sampling_step(schedule, guess, denoise(guess, t, condition), noisier, cleaner)
        off = (back - latents).flatten(1).norm(dim=1) / latents.flatten(1).norm(dim=1)
        worst, latents = torch.maximum(worst, off), guess
    if not bool(latents.isfinite().all()):
        raise TrainingError(
            f"the inversion runs away to what is no number within {len(times)} steps of {rounds} "
            "rounds; give more steps"
        )
    return Inverted(latents, worst)


def _moved_up(
    schedule: Schedule,
    cleaner: Tensor,
    guess: Tensor,
    answer: Tensor,
    t: Tensor,
    after: float,
) -> Tensor:
    """The noisier latents that lead to `cleaner` if the model answers so: (B, C, H, W)."""
    if not isinstance(schedule, NoiseSchedule):  # a flow goes along one velocity, up as down
        return sampling_step(schedule, cleaner, answer, after, float(t[0]))
    _, noise = schedule.split(guess, answer.to(guess.dtype), t)
    by_noise = replace(schedule, prediction="epsilon")
    x_0, _ = by_noise.split(cleaner, noise, torch.full_like(t, int(after)))
    return schedule.add_noise(x_0, noise, t)


@dataclass(frozen=True, slots=True)
class Typicality:
    """How far latents are from white noise; each number but the residual is that of one picture."""

    mean: float
    std: float
    """1 for noise."""
    kurtosis: float
    """In excess: 0 for normal numbers, below for flat ones."""
    norm: float
    """Over the square root of their number: 1 for noise."""
    neighbours: float
    """Correlation of horizontal and vertical neighbours: 0 for noise."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return fields_to_table(self)


def typicality(latents: Tensor) -> Typicality:
    """Describe the latents of one picture, (C, H, W)."""
    values = latents.double()
    centred = values - values.mean()
    std = float(centred.square().mean().sqrt())
    fourth = float(centred.pow(4).mean())
    pairs = [
        (centred[:, :, 1:] * centred[:, :, :-1]).flatten(),
        (centred[:, 1:] * centred[:, :-1]).flatten(),
    ]
    spread = max(std, 1e-12)
    return Typicality(
        mean=float(values.mean()),
        std=std,
        kurtosis=fourth / spread**4 - 3,
        norm=float(values.norm()) / values.numel() ** 0.5,
        neighbours=float(torch.cat(pairs).mean()) / spread**2,
    )


def normalised(latents: Tensor) -> Tensor:
    """Each picture's latents moved and stretched to mean 0 and deviation 1, (B, C, H, W)."""
    flat = latents.flatten(1)
    flat = (flat - flat.mean(dim=1, keepdim=True)) / flat.std(dim=1, keepdim=True, correction=0)
    return flat.view_as(latents)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inversion:
    """Find the noise of pictures of the concept, make it typical, and draw from it without text.

    It revives nothing: the noise was made of a picture. Compare with the base, with a model that
    never saw the concept and with random weights.

    Source: after TINA, whose text was not at hand, so that the formula is that of
        arXiv:2010.02502.
    """

    name: ClassVar[str] = "inversion"
    title: ClassVar[str] = "the noise of a picture, made typical and drawn without text"
    source: ClassVar[str] = "arXiv:2010.02502, or Euler's steps, solved backwards; a diagnostic"
    needs: ClassVar[frozenset[Need]] = frozenset({"start-noise", "picture"})
    access: ClassVar[Access] = "diagnostic"

    steps: int = 25
    """S, steps of the inversion."""
    rounds: int = 4
    """K, rounds of each step."""

    def __post_init__(self) -> None:
        require_counts(self, "steps", "rounds")

    def estimate(self, target: Target, /) -> Cost:
        """The rounds and the drawings, which are without guidance."""
        if target.budget.draws == 0:
            return drawing_cost(target, 0)
        count = self._count(target)
        draws = min(target.budget.draws, len(target.cases)) if count else 0
        searched = Cost(forwards=count * self.steps * (self.rounds + 1), pictures=count)
        drawn = Cost(forwards=draws * target.steps, draws=draws, judged=draws)
        return searched + drawn

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """One picture a case, in turn."""
        pictures = pictures_of(target)
        ledger, count = Ledger(), self._count(target)
        if not count:
            return
        ledger.pictures += count
        noise = self.noise_of(target, pictures.mean[:count], ledger)
        typical = normalised(noise.latents).cpu()
        for number, case in enumerate(target.cases):
            row = number % count
            replay = {
                "picture": row,
                "residual": float(noise.residual[row]),
                **typicality(noise.latents[row]).to_dict(),
            }
            start = Start(typical[row])
            yield Attempt(
                case=case,
                payload=Payload(prompt="", start=start, guidance=1.0, eta=0.0, replay=replay),
                arm="typical noise, null text",
                cost=ledger.since(),
            )

    def _count(self, target: Target) -> int:
        """How many pictures are inverted, as far as the budget of passes goes."""
        count, most = min(len(target.pictures or ()), len(target.cases)), target.budget.passes
        return count if most is None else min(count, most // (self.steps * (self.rounds + 1)))

    def noise_of(self, target: Target, latents: Tensor, ledger: Ledger) -> Inverted:
        """The noise of clean latents, (B, C, H, W), under the empty prompt."""
        rows = torch.zeros(len(latents), dtype=torch.int64, device=target.device)
        return inverted(
            ledger.counted(target.denoise),
            target.schedule,
            sampling_times(target.schedule, self.steps),
            latents.to(target.device),
            target.told([""])[rows],
            rounds=self.rounds,
        )
