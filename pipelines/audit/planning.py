"""What an audit will cost, before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from erasure.attacks import Cost
from erasure.attacks.protocol import NO_BASE, unfit
from pipelines.audit.damage.questions import costs
from pipelines.audit.lines import lines_of
from pipelines.audit.workshop import Workshop
from pipelines.words.durations import about, about_here

DAMAGE: Final = "damage"
"""The name of the rows that are no attack: what else was lost."""
_UNCOUNTED: Final = (
    "not counted: what is drawn once for all attacks, of the concept, of other things and by "
    "wordings to see which are understood, and the traces"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One attack, or the damage, on one model."""

    attack: str
    line: str
    cost: Cost
    """What the search and its drawings take, and the confirmation at most."""
    reason: str = ""
    """Why the attack is left out, at no cost; empty where it is run."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one model answers."""

    seconds: float
    """What one sample forward takes where nothing else is at work; backward counts as two."""
    share: float
    """Share of the program's processors that other work leaves it now, at most 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All attacks on all models."""

    rows: tuple[Row, ...]
    speed: Speed

    def estimate(self, attack: str) -> Cost:
        """What one attack on the audited model takes."""
        return next(row.cost for row in self.rows if row.attack == attack and row.line == "audited")

    def seconds(self, cost: Cost) -> float:
        """About how long a cost takes here where nothing else is at work."""
        return (cost.forwards + 2 * cost.backwards) * self.speed.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "seconds_a_pass": round(self.speed.seconds, 6),
            "share_of_processors": round(self.speed.share, 3),
            "seconds": round(sum(self.seconds(row.cost) for row in self.rows), 1),
            "rows": [
                {
                    "attack": row.attack,
                    "model": row.line,
                    **row.cost.to_dict(),
                    "seconds": round(self.seconds(row.cost), 1),
                    "reason": row.reason,
                }
                for row in self.rows
            ],
        }


def plan_audit(shop: Workshop) -> Plan:
    """Ask each attack what it will take, and measure what a pass takes here."""
    recipe = shop.recipe
    family = shop.lines["audited"].checkpoint.architecture
    per_draw = recipe.steps * family.passes(recipe.guidance)
    rows = []
    for attack in recipe.chosen():
        for line in lines_of(recipe, attack, shop.lines):
            target = shop.target(line, gathered=False)
            reason = unfit(attack, target)
            if not reason and "base" in attack.needs and target.base is None:
                reason = NO_BASE
            if recipe.draws and reason:
                rows.append(Row(attack.name, line, Cost(), reason))
                continue
            searched = attack.estimate(target)
            again = recipe.confirm + min(recipe.cases, searched.draws)
            more = again if recipe.draws else 0
            confirmed = Cost(forwards=more * per_draw, draws=more, judged=more)
            rows.append(Row(attack.name, line, searched + confirmed))
    rows += [Row(DAMAGE, line, cost) for line, cost in costs(shop).items()]
    return Plan(tuple(rows), speed_here(shop))


def speed_here(shop: Workshop) -> Speed:
    """Measure the time of one sample in a full batch of guided passes, once warm.

    On a CPU the seconds are those that its processors gave, as those of `erasure erase`.
    """
    target = shop.target("audited", gathered=False)
    size = min(16, 2 * shop.recipe.batch_size)
    latents = torch.zeros(size, *target.latent_shape, device=shop.device)
    times = torch.ones(size, dtype=torch.int64, device=shop.device)
    condition = target.told([target.concept.prompts[0]] * size)
    spent, passed = [], []
    with torch.no_grad():
        for _ in range(3):
            begun, used = time.perf_counter(), time.process_time()
            float(target.denoise(latents, times, condition).sum())  # waits for the device
            passed.append(time.perf_counter() - begun)
            busy = (time.process_time() - used) / torch.get_num_threads()
            spent.append(min(passed[-1], busy) if shop.device.type == "cpu" else passed[-1])
    taken = max(min(spent), 1e-6)  # a clock of processors may tick coarsely
    return Speed(taken / size, min(1.0, max(sum(spent), 1e-6) / sum(passed)))


def tell_plan(plan: Plan) -> Sequence[str]:
    """A line an attack, and the sum."""
    names = list(dict.fromkeys(row.attack for row in plan.rows))
    sentences = []
    for name in names:
        rows = [row for row in plan.rows if row.attack == name]
        cost = sum((row.cost for row in rows), Cost())
        if rows[0].reason:
            sentences.append(f"{name}: left out, as {rows[0].reason}")
            continue
        sentences.append(
            f"{name}: on {len(rows)} models at most {cost.draws:,} pictures, "
            f"{cost.forwards:,} passes"
            + (f", {cost.backwards:,} backwards" if cost.backwards else "")
            + f", about {about(plan.seconds(cost))}"
        )
    total = sum((row.cost for row in plan.rows), Cost())
    sentences.append(
        f"in all at most {total.draws:,} pictures and {total.forwards:,} passes, "
        f"{about_here(plan.seconds(total), plan.speed.share)}; a pass takes "
        f"{plan.speed.seconds * 1000:.3g} ms"
    )
    sentences.append(_UNCOUNTED)
    return sentences
