"""Passive traces: how well a model denoises pictures of the concept, without drawing any.

A trace is no revival. It tells a model that knows nothing of the concept any more from one that
still tells it from other things, and above all from one that fights it. What never having seen the
concept looks like is asked of the base: it has hardly seen any picture of it upside down. The loss
is that of what the model predicts: noise or v, and the velocity of a rectified flow.
"""

# N pictures, T time bins, D draws a bin, B samples, C x H x W latents.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.attacks.diagnostics.gaps import FEWEST, Gap, gap
from erasure.attacks.diagnostics.strangeness import Strangeness, strangeness
from erasure.attacks.search.noisy import Show, noisy, require_finite, squared_error
from erasure.attacks.target import Material, Target
from erasure.attacks.trials import pictures_of
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.diffusion.time_parts import bounds, time_in
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_counts

_GROUPS: Final = ("concept", "controls")
TURNED: Final = "upside down"
"""The group of the concept's pictures upside down, of which only the base's losses are taken."""


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
        require_counts(self, "bins", "draws", "batch_size", "pictures")


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
"""Group (`concept`, `controls` or `TURNED`) -> text -> losses (N, T)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The losses of one model, by text and group, and where a base is at hand the gaps."""

    losses: Mapping[str, Mapping[str, Sequence[float]]]
    """Group (`concept` or `controls`; of the base `TURNED` too) -> text -> T mean losses, from
    little noise to much."""
    gaps: Mapping[str, Gap]
    """Text -> the gap to the base; none without a base or with fewer than `FEWEST` pictures of the
    concept or of other things."""
    strangeness: Mapping[str, Strangeness]
    """Text -> how strange the concept is beside its pictures upside down; only where there are gaps
    and the base tells the two ways up apart."""
    times: Sequence[float]
    """Where the T bins begin and the last one ends, as the model takes them: T + 1 numbers."""
    notes: Mapping[str, str]
    """Text -> what to know of it, or why there is no loss under it."""

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "losses": {
                group: {text: list(values) for text, values in by.items()}
                for group, by in self.losses.items()
            },
            "gaps": {text: one.to_dict() for text, one in self.gaps.items()},
            "strangeness": {text: one.to_dict() for text, one in self.strangeness.items()},
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
    if target.base is not None:
        base = base or base_losses(target, settings)
    instead = target.concept.replacement
    own = (
        base if base and itself else _losses(target, _groups(target), settings, replacement=instead)
    )
    gaps: dict[str, Gap] = {}
    strange: dict[str, Strangeness] = {}
    notes = notes_of(target)
    if base is not None and _enough(own):
        for text in own["concept"]:
            parts = [models[name][text].mean(dim=1) for name in _GROUPS for models in (own, base)]
            concept, concept_base, controls, controls_base = parts
            gaps[text] = gap(*parts, seed=target.seed)
            if TURNED not in base:
                continue
            turned = base[TURNED][text].mean(dim=1)
            try:
                strange[text] = strangeness(
                    concept, concept_base, turned, controls, controls_base, seed=target.seed
                )
            except ConfigError as err:
                notes[text] = "; ".join(filter(None, (notes.get(text), str(err))))
    losses = {
        group: {text: values.mean(dim=0).tolist() for text, values in by.items()}
        for group, by in own.items()
    }
    times = bounds(target.schedule, settings.bins)
    return Trace(losses, gaps, strange, times, notes)


def _enough(losses: Losses) -> bool:
    """Whether both groups have as many pictures as an interval wants."""
    groups = [losses.get(name, {}) for name in _GROUPS]
    return all(by and len(next(iter(by.values()))) >= FEWEST for by in groups)


def base_losses(target: Target, config: TraceConfig | None = None) -> Losses:
    """What the target's base makes of the target's pictures, for `trace`.

    Raises:
        ConfigError: there is no base, or no picture of the concept.
        TrainingError: a loss is not finite.
    """
    if target.base is None:
        raise ConfigError("there is no base to look at; give one")
    groups = _groups(target)
    if target.turned_pictures is not None:
        groups[TURNED] = target.turned_pictures
    instead = target.concept.replacement
    return _losses(target.base, groups, config or TraceConfig(), replacement=instead)


def _groups(target: Target) -> dict[str, Material]:
    groups = {"concept": pictures_of(target)}
    if target.other_pictures is not None and len(target.other_pictures):
        groups["controls"] = target.other_pictures
    return groups


def _losses(
    target: Target, groups: Mapping[str, Material], config: TraceConfig, *, replacement: str
) -> Losses:
    """What a model makes of pictures; the base is told the replacement of the model beside it."""
    return {name: _by_text(target, group, config, replacement) for name, group in groups.items()}


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


def _by_text(
    target: Target, material: Material, config: TraceConfig, replacement: str
) -> dict[str, Tensor]:
    """Text -> losses (N, T)."""
    count = min(len(material), config.pictures)
    prompts = {
        "null": [""] * count,
        "own prompt": list(material.prompts[:count]),
        "replacement": [replacement] * count,
    }
    if not replacement:
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
