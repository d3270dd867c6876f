"""D1 to D8 from what the models drew and predicted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.distances.kernels import kernel_distance_units
from eval.distances.labels import label_units, shares
from eval.distances.likelihood import likelihood_units, symmetric_loss
from eval.distances.losses import loss_gap
from eval.distances.membership import Membership, membership
from eval.distances.units import Units, units_of_means
from eval.distances.weights import move
from eval.rates.intervals import wilson
from pipelines.distances.draws import KINDS, Drawn, Kind
from pipelines.distances.entries import Entry, Reading, entry_of
from pipelines.distances.groups import TEXTS
from pipelines.distances.models import Models, Role
from pipelines.distances.passes import Key, Passes

_REFERENCE: Role = "retrained"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was drawn and predicted."""

    models: Models
    drawn: Mapping[Role, Mapping[Kind, Drawn]]
    passes: Mapping[Role, Passes]
    seed: int

    def losses(self, role: Role, key: Key) -> Tensor:
        """Mean loss over the times, (N,)."""
        return self.passes[role].losses[key].mean(dim=1)


def labels(seen: Seen) -> Iterator[Entry]:
    """D1, with the concept's own share."""
    for kind in KINDS:
        own = {role: kinds[kind] for role, kinds in seen.drawn.items()}
        one, other = seen.models.pair
        units = {
            role: label_units(
                own[role].labels,
                own[_REFERENCE].labels,
                (own[one].labels, own[other].labels),
                seed=seen.seed,
            )
            for role in seen.models.rows
        }
        details: dict[str, object] = {
            role: {
                "concept": wilson(made.recognised, len(made.labels)),
                "labels": shares(made.labels),
            }
            for role, made in own.items()
        }
        yield entry_of("D1", f"{kind} prompts", units, headline=True, details=details)


def predictions(seen: Seen) -> Iterator[Entry]:
    """D2: pictures x texts, over all times and by time bin."""
    one, other = seen.models.pair
    for group in ("concept", "retain", "drawn"):
        for text in TEXTS:
            key: Key = (group, text)
            if key not in seen.passes[_REFERENCE].losses:
                continue
            twins = seen.passes[other].gaps[one, key]  # (N, T)
            bins = twins.shape[1]
            for times in [slice(None), *(slice(b, b + 1) for b in range(bins) if bins > 1)]:
                units = {
                    role: units_of_means(
                        seen.passes[role].gaps[_REFERENCE, key][:, times].mean(dim=1),
                        twins[:, times].mean(dim=1),
                        seed=seen.seed,
                    )
                    for role in seen.models.rows
                }
                whole = times == slice(None)
                place = f"{group} pictures, {text} text, " + (
                    "all times" if whole else f"times {times.start + 1} of {bins}"
                )
                yield entry_of("D2", place, units, headline=whole)


def concept_losses(seen: Seen) -> Iterator[Entry]:
    """D3, under the null text and the concept's own."""
    one, other = seen.models.pair
    references: tuple[Role, ...] = (
        ("retrained", "twin") if seen.models.twin_of == "retrained" else ("retrained",)
    )
    for text in ("null", "concept"):
        key: Key = ("concept", text)
        if key not in seen.passes[_REFERENCE].losses:
            continue
        pair = torch.stack([seen.losses(one, key), seen.losses(other, key)])
        floor = torch.stack([seen.losses(role, key) for role in references])
        gaps = {
            role: loss_gap(seen.losses(role, key), floor, pair, seed=seen.seed)
            for role in seen.models.rows
        }
        yield entry_of(
            "D3",
            f"concept pictures, {text} text",
            {role: gap.units for role, gap in gaps.items()},
            headline=True,
            states={role: gap.state for role, gap in gaps.items()},
            notes=("signed: below 0 it denoises better than a model that never saw the concept",),
        )


def likelihoods(seen: Seen) -> Iterator[Entry]:
    """D4, on each other's pictures under the concept's prompts."""
    pair = _symmetric(seen, *seen.models.pair)
    units = {
        role: likelihood_units(_symmetric(seen, role, _REFERENCE), pair)
        for role in seen.models.rows
    }
    yield entry_of("D4", "each other's pictures, concept text", units, headline=True)


def _symmetric(seen: Seen, one: Role, other: Role) -> tuple[float, float]:
    mine: Key = (f"by {one}", "concept")
    theirs: Key = (f"by {other}", "concept")
    return symmetric_loss(
        seen.losses(one, mine),
        seen.losses(other, mine),
        seen.losses(one, theirs),
        seen.losses(other, theirs),
    )


def kernels(seen: Seen) -> Iterator[Entry]:
    """D5, of the concept's prompts and of others apart."""
    one, other = seen.models.pair
    for kind in KINDS:
        rows = {role: kinds[kind].features for role, kinds in seen.drawn.items()}
        own = {role: features for role, features in rows.items() if features is not None}
        if len(own) < len(rows):
            return
        units: dict[Role, Units] = {
            role: kernel_distance_units(own[role], own[_REFERENCE], (own[one], own[other]))
            for role in seen.models.rows
        }
        yield entry_of("D5", f"{kind} prompts", units, headline=True)


def memberships(seen: Seen) -> Iterator[Entry]:
    """D7: the retrained model's loss less the model's, on trained and on held-out pictures."""
    for text in ("null", "concept"):
        trained: Key = ("trained", text)
        held_out: Key = ("concept", text)
        if trained not in seen.passes[_REFERENCE].losses:
            continue
        areas = {
            role: membership(
                *(
                    seen.losses(_REFERENCE, key) - seen.losses(role, key)
                    for key in (trained, held_out)
                ),
                seed=seen.seed,
            )
            for role in (*seen.models.rows, "twin")
        }
        twin = areas["twin"]
        never = seen.models.twin_of == "retrained"  # the base's twin was trained on them itself
        own = abs(twin.auc - 0.5) if never else 0.0
        unit = max(own, twin.chance)
        yield Entry(
            "D7",
            f"trained against held-out pictures, {text} text",
            unit,
            {role: _from_half(areas[role], unit) for role in seen.models.rows},
            headline=True,
            floored=own < twin.chance,
            notes=("value: area under the curve, 0.5 for who never saw either",),
            details={"twin": {"auc": twin.auc, "low": twin.low, "high": twin.high}},
        )


def _from_half(area: Membership, unit: float) -> Reading:
    """How far an area is from a half; its lower end is below 0 where it lies beyond a half."""
    side = 1 if area.auc >= 0.5 else -1
    low, high = sorted(side * (bound - 0.5) / unit for bound in (area.low, area.high))
    return Reading(area.auc, area.units(unit), low, high)


def moves(seen: Seen) -> Iterator[Entry]:
    """D8: from the base's weights; it has no unit."""
    base = seen.models.checkpoints["base"].network
    moved_by = {
        role: move(base, checkpoint.network)
        for role, checkpoint in seen.models.checkpoints.items()
        if role != "base"
    }
    yield Entry(
        "D8",
        "norm of the move over that of the base",
        None,
        {role: Reading(one.relative) for role, one in moved_by.items()},
        headline=True,
        notes=("a description: the weights of two trainings have no alignment",),
        details={role: {"moved": one.moved} for role, one in moved_by.items()},
    )
