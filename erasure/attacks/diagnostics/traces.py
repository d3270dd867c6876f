"""Passive traces: how well a model denoises pictures of the concept, without drawing any.

A trace is no revival. It tells a model that knows nothing of the concept any more from one that
still tells it from other things, and above all from one that fights it. The loss is that of what
the model predicts: noise or v, and the velocity of a rectified flow.
"""

# N pictures, T time bins, D draws a bin, B samples, C x H x W latents.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.attacks.diagnostics.resampling import interval_of_difference
from erasure.attacks.search.noisy import Show, noisy, require_finite, squared_error
from erasure.attacks.settings import require_positive
from erasure.attacks.target import Material, Target
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.diffusion.time_parts import bounds, time_in
from erasure.errors import ConfigError
from erasure.seeds import generator_for

MARGIN: Final = 0.1
"""Share by which a loss must rise beyond that of the controls to be called averse."""
FEWEST: Final = 2
"""Pictures of a group of which a spread, and so an interval, can be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceConfig:
    """How closely to look."""

    bins: int = 5
    """Equal parts of the times of training."""
    draws: int = 4
    """Times and noises a picture and bin."""
    batch_size: int = 16
    """Samples a pass; the result does not depend on it, but for rounding."""
    pictures: int = 16
    """Most pictures of the concept, and as many controls."""

    def __post_init__(self) -> None:
        for name in ("bins", "draws", "batch_size", "pictures"):
            require_positive(name, getattr(self, name))


@torch.no_grad()
def denoising_losses(
    denoise: Denoiser,
    schedule: Schedule,
    mean: Tensor,
    std: Tensor,
    condition: Condition,
    config: TraceConfig,
    *,
    seed: int,
    device: torch.device,
) -> Tensor:
    """The mean squared error on each picture in each bin of times, (N, T), float64 on CPU.

    The time and noise of picture n, bin b and draw d depend on the seed and these alone, so that
    models and texts are compared on the same samples.

    Args:
        mean: (N, C, H, W)
        std: (N, C, H, W)
        condition: (N, ...) what the model is told with each picture; on the device.

    Raises:
        ConfigError: the times of the schedule have no order that is known here.
        TrainingError: a loss is not finite.
    """
    places = [
        (n, b, d) for n in range(len(mean)) for b in range(config.bins) for d in range(config.draws)
    ]
    losses = []
    for start in range(0, len(places), config.batch_size):
        part = places[start : start + config.batch_size]
        shows = [
            Show(n, (seed, "trace", n, b, d), _time(schedule, config.bins, b, (seed, n, b, d)))
            for n, b, d in part
        ]
        shown = noisy(mean, std, schedule, shows, device)
        rows = torch.tensor([n for n, _, _ in part], device=device)
        losses.append(squared_error(denoise, shown, condition[rows]).double().cpu())
        require_finite(losses[-1], start + 1, "passive trace")
    return torch.cat(losses).view(len(mean), config.bins, config.draws).mean(dim=2)


def _time(schedule: Schedule, bins: int, place: int, key: tuple[int, ...]) -> float:
    """A time within a bin."""
    return time_in(schedule, place, bins, generator_for("trace time", *key))


Losses = Mapping[str, Mapping[str, Tensor]]
"""Group (`concept` or `controls`) -> text -> losses (N, T)."""


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much more the loss rose on pictures of the concept than on the controls."""

    ratio: float
    """(loss / base's loss on the concept) / (the same on controls): 1 where both rose alike."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    averse: bool
    """Whether the lower end lies above 1 + `MARGIN`."""


def gap(
    concept: Tensor, concept_base: Tensor, controls: Tensor, controls_base: Tensor, *, seed: int
) -> Gap:
    """Compare two models on two groups of pictures.

    A picture's rise is the logarithm of the audited model's loss over the base's, on the same
    noise. The gap is the mean rise of the concept's pictures minus that of the controls; its
    interval is that of a bootstrap over pictures of both groups. A model is called averse where
    even the lower end is above 1 + `MARGIN`: it denoises the concept worse than it would if it had
    merely become worse altogether.

    Args:
        concept: (N,) losses of the audited model on pictures of the concept.
        concept_base: (N,) those of the base.
        controls: (M,)
        controls_base: (M,)

    Raises:
        ConfigError: a group has fewer than `FEWEST` pictures.
    """
    if min(len(concept), len(controls)) < FEWEST:
        raise ConfigError(
            f"there are {len(concept)} pictures of the concept and {len(controls)} others; "
            f"give at least {FEWEST} of each"
        )
    one, other = (concept / concept_base).log(), (controls / controls_base).log()
    low, high = interval_of_difference(one, other, generator_for(seed, "trace bootstrap"))
    middle = float(one.mean() - other.mean())
    return Gap(math.exp(middle), math.exp(low), math.exp(high), low > math.log1p(MARGIN))


@dataclass(frozen=True, slots=True)
class Trace:
    """The losses of one model, by text and group, and where a base is at hand the gaps."""

    losses: Mapping[str, Mapping[str, Sequence[float]]]
    """Group (`concept` or `controls`) -> text -> T mean losses, from little noise to much."""
    gaps: Mapping[str, Gap]
    """Text -> the gap to the base; none without a base or with fewer than `FEWEST` pictures of the
    concept or of other things."""
    times: Sequence[float]
    """Where the T bins begin and the last one ends, as the model takes them: T + 1 numbers."""
    notes: Mapping[str, str]
    """Text -> what to know of it, or why there is no loss under it."""

    @property
    def averse(self) -> tuple[str, ...]:
        """The texts under which the model is averse to the concept."""
        return tuple(text for text, one in self.gaps.items() if one.averse)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "losses": {
                group: {text: list(values) for text, values in by.items()}
                for group, by in self.losses.items()
            },
            "gaps": {
                text: {"ratio": g.ratio, "low": g.low, "high": g.high, "averse": g.averse}
                for text, g in self.gaps.items()
            },
            "times": list(self.times),
            "notes": dict(self.notes),
        }


def trace(
    target: Target, config: TraceConfig | None = None, *, base: Losses | None = None
) -> Trace:
    """Look at a model, and at its base where it is at hand, without drawing.

    Args:
        base: `base_losses` of this target, where they are known: the base is looked at only once
            for all models that are held against it by the same pictures.

    Raises:
        ConfigError: there is no picture of the concept, or as `denoising_losses`.
        TrainingError: a loss is not finite.
    """
    settings = config or TraceConfig()
    itself = target.base is target
    own = base if base and itself else _losses(target, _groups(target), settings)
    gaps: dict[str, Gap] = {}
    enough = all(len(next(iter(by.values()))) >= FEWEST for by in own.values() if by)
    if target.base is not None and "controls" in own and enough:
        base = base or (own if itself else base_losses(target, settings))
        for text in own["concept"]:
            parts = [models[group][text] for group in own for models in (own, base)]
            gaps[text] = gap(*(part.mean(dim=1) for part in parts), seed=target.seed)
    losses = {
        group: {text: values.mean(dim=0).tolist() for text, values in by.items()}
        for group, by in own.items()
    }
    return Trace(losses, gaps, bounds(target.schedule, settings.bins), notes_of(target))


def base_losses(target: Target, config: TraceConfig | None = None) -> Losses:
    """What the target's base makes of the target's pictures, for `trace`.

    Raises:
        ConfigError: there is no base, or no picture of the concept.
        TrainingError: a loss is not finite.
    """
    if target.base is None:
        raise ConfigError("there is no base to look at; give one")
    return _losses(target.base, _groups(target), config or TraceConfig())


def _groups(target: Target) -> dict[str, Material]:
    if target.pictures is None or not len(target.pictures):
        raise ConfigError("there is no picture of the concept; give at least one")
    groups = {"concept": target.pictures}
    if target.other_pictures is not None and len(target.other_pictures):
        groups["controls"] = target.other_pictures
    return groups


def _losses(target: Target, groups: Mapping[str, Material], config: TraceConfig) -> Losses:
    return {name: _by_text(target, group, config) for name, group in groups.items()}


def notes_of(target: Target) -> dict[str, str]:
    """Text -> what is missing where the model is told so little, in a sentence."""
    notes = {}
    if lost := _lost_null(target):
        notes["null"] = lost
    elif target.architecture.without_guidance:
        lost = target.architecture.without_guidance
        notes["null"] = f"{lost}; null is the loss under that prompt all the same"
    if not target.concept.replacement:
        notes["replacement"] = "no prompt of what may be drawn in the concept's place is known"
    return notes


def _lost_null(target: Target) -> str:
    """Why the model cannot be told nothing; empty where it can."""
    try:
        target.told([""])
    except ConfigError as err:
        return str(err)
    return ""


def _by_text(target: Target, material: Material, config: TraceConfig) -> dict[str, Tensor]:
    """Text -> losses (N, T)."""
    count = min(len(material), config.pictures)
    prompts = {
        "null": [""] * count,
        "own prompt": list(material.prompts[:count]),
        "replacement": [target.concept.replacement] * count,
    }
    if not target.concept.replacement:
        del prompts["replacement"]
    if _lost_null(target):
        del prompts["null"]
    return {
        text: denoising_losses(
            target.denoise,
            target.schedule,
            material.mean[:count],
            material.std[:count],
            target.told(said),
            config,
            seed=target.seed,
            device=target.device,
        )
        for text, said in prompts.items()
    }
