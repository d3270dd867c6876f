"""The page of `mask_figure.py`: sentences and tables that are counted from its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Final

import numpy as np

from pipelines.early import DEMO

Rows = Sequence[Mapping[str, Any]]

MASKS: Final = ("salient", "random", "inverse")
"""In the order of the tables' columns."""
_CELLS: Final = 288
_GONE: Final = 0.1
"""Share of the concept's pictures that may be left where a table calls it forgotten."""
_GONE_TEXT: Final = f"{100 * _GONE:.0f} %"
_PAGE: Final = """# Does the mask matter{where}?

![What is left of a concept against the damage to others, by mask]({name}.png)

`benchmarks/figures/mask_figure.py` erases a concept of {network} with each kind of mask at four
densities and four learning rates; all else is the default recipe (random labels, alpha 3, the
retain loss pulls to what the base predicts, 150 steps of 8, warm-up, cosine). *Left* are pictures
in which the classifier still recognises the concept, of 30 (6 styles, 5 seeds; 20 {sampler} steps,
guidance 2.5). *Damage* is the root mean square change of the pixels, on a scale of 0 to 1, of 69
pictures of all 23 other objects (3 styles) against the base's picture of the same noise, a finer
measure than whether they are recognised. The grid was fixed before the first result: rates 2e-4,
5e-4, 1e-3, 2e-3, densities 0.5, 0.1, 0.05, 0.03, masks salient, random, inverse, seeds 0, 1, 2,
concepts church and guitar, 288 cells in all.

{run} Each row of the tables below is a mean over the seeds that are there.
All cells: [{name}.csv]({name}.csv).

## What the rows say

{reading}

Neither the number of pictures nor that of seeds ranks masks whose points lie side by side; the
model is a small one, and nothing here is measured against retraining.
{advice}{default}
## At equal forgetting

{forgotten}
## At equal settings

Pictures left of 30, and damage.

{settings}
Made by `python benchmarks/figures/mask_figure.py {option}--out DIR`, which goes on where it was
stopped, and `python benchmarks/figures/mask_figure.py --out DIR --plot docs`; with `--known
docs/{name}.csv` the latter needs no cells.
"""

_ADVICE: Final = """
So here the mask decides how soon a concept goes and at what cost: at one rate the salient weights
forget first, and change other things most. Whoever may choose the rate loses less by a random mask;
the salient one is the default as the method was published with it.
"""
_BESIDE: Final = "leaderboard.md#masks-and-their-controls-beside-a-model-that-never-saw-a-church"
_SKETCH: Final = "leaderboard.md#dog-and-sketch-beside-models-that-never-saw-them"
_DEFAULT: Final = (
    "The default density stays 0.5, for each kind of model by what was seen of it: on this UNet "
    "the damage of the salient mask at equal forgetting was, least first, of {unet}, {verdict}; in "
    "the joint transformer `demo-flow` (one seed, one rate) the salient half left 0 churches of "
    "30, a tenth 1 and 3 % 2, while [fewer weights lay nearer to the retrained model by D2]"
    f"({_BESIDE}), and of 48 sketches all weights and a tenth left 0, 3 % 2 and 1 % 5, [as far "
    f"from that model]({_SKETCH}), so that there 0.5 is the surest to forget and not the nearest; "
    "of other kinds, and of models of full size, no density was measured here, and 0.5 is that of "
    "SalUn's paper."
)


def page_of(rows: Rows) -> str:
    return _PAGE.format(
        **texts_of(rows),
        advice=_ADVICE if rows[0]["model"] == DEMO and len(rows) == _CELLS else "",
        default=_default_density(rows),
        run=_was_run(rows),
        reading="\n".join(f"- {sentence}" for sentence in _reading(rows)),
        forgotten=_at_equal_forgetting(rows),
        settings=_by_setting(rows),
    )


def texts_of(rows: Rows) -> Mapping[str, str]:
    """What the page says of the model."""
    if rows[0]["model"] == DEMO:
        return {"name": "mask", "where": "", "network": "the demo", "sampler": "DDIM", "option": ""}
    return {
        "name": "mask-flow",
        "where": " in a joint transformer",
        "network": "`demo-flow`",
        "sampler": "Euler",
        "option": "--model demo-flow ",
    }


def _was_run(rows: Rows) -> str:
    """How many cells there are, and of which concept and seed where some are missing."""
    if len(rows) == _CELLS:
        return f"All {_CELLS} cells are in."
    counts: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows:
        counts[row["concept"], row["seed"]] += 1
    counted = (
        f"{concept}, seed {seed}: {n} cells" for (concept, seed), n in sorted(counts.items())
    )
    return f"{len(rows)} of {_CELLS} cells are in ({'; '.join(counted)})."


def _reading(rows: Rows) -> list[str]:
    """Sentences that hold for these rows, whatever they are."""
    sentences = []
    pairs = [
        (by_mask["salient",][0], by_mask["random",][0])
        for cell in groups_of(rows, "concept", "seed", "density", "rate").values()
        if {("salient",), ("random",)} <= (by_mask := groups_of(cell, "mask")).keys()
    ]
    if pairs:
        fewer = sum(one["left"] < other["left"] for one, other in pairs)
        equal = sum(one["left"] == other["left"] for one, other in pairs)
        sentences.append(
            f"At equal density, rate and seed ({len(pairs)} pairs of runs) the salient mask left "
            f"fewer pictures of the concept than the random one {fewer} times, as many {equal} "
            f"times, more {len(pairs) - fewer - equal} times."
        )
        more = sum(one["damage"] > other["damage"] for one, other in pairs)
        sentences.append(
            f"In the same pairs the salient mask changed the other objects more {more} times, and "
            f"less or as much {len(pairs) - more} times."
        )
    sentences.append(_cheapest(rows))
    inverse = [row for row in rows if row["mask"] == "inverse"]
    if inverse:
        spared = sum(row["left"] > (1 - _GONE) * row["of"] for row in inverse)
        sentences.append(
            f"The inverse mask left more than {100 * (1 - _GONE):.0f} % of the concept's "
            f"pictures in {spared} of {len(inverse)} runs{_where_it_forgets(rows)}."
        )
    least = min(rows, key=lambda row: row["recognised"])
    if least["recognised"] == least["others"]:
        return [*sentences, f"All {least['others']} other pictures were recognised in every run."]
    sentences.append(
        f"Of the {least['others']} pictures of other objects, at least {least['recognised']} were "
        f"recognised in every run; the least was with the {least['mask']} mask, {least['concept']} "
        f"at density {least['density']:g} and rate {least['rate']:g}."
    )
    return sentences


def _where_it_forgets(rows: Rows) -> str:
    """How the inverse mask compares where it forgets at all; empty where it never does."""
    damages = [one for _, one in _least_damages(rows) if "inverse" in one and len(one) > 1]
    if not damages:
        return ""
    least = sum(
        one["inverse"] < min(d for m, d in one.items() if m != "inverse") for one in damages
    )
    return (
        f"; of the {len(damages)} concepts, densities and seeds where it has a rate that leaves "
        f"{_GONE_TEXT} or less, it did the least damage of the masks in {least}"
    )


def _least_damages(rows: Rows) -> list[tuple[int, dict[str, float]]]:
    """Seed, and mask -> the least damage over the rates that forget, where one does; an entry a
    concept, seed and density."""
    return [
        (
            seed,
            {
                mask: min(gone)
                for (mask,), cells in groups_of(cell, "mask").items()
                if (gone := [r["damage"] for r in cells if r["left"] <= _GONE * r["of"]])
            },
        )
        for (_, seed, _), cell in groups_of(rows, "concept", "seed", "density").items()
    ]


def _cheapest(rows: Rows) -> str:
    """At equal forgetting: the least damage of each mask, over the rates that forget."""
    apart: dict[int, list[float]] = defaultdict(list)
    for seed, damages in _least_damages(rows):
        salient, other = damages.get("salient"), damages.get("random")
        if salient is not None and other is not None:
            apart[seed].append(salient - other)
    every = [difference for own in apart.values() for difference in own]
    if not every:
        return (
            f"There is no concept, density and seed yet of which both the salient and the random "
            f"mask have a rate that leaves {_GONE_TEXT} or less, so nothing is said of their "
            "damage at equal forgetting."
        )
    mean, seeds = float(np.mean(every)), sorted(apart)
    by_seed = ", ".join(f"{np.mean(apart[seed]):+.3f}" for seed in seeds)
    return (
        f"At equal forgetting (each mask at the rate of least damage that leaves {_GONE_TEXT} or "
        f"less; {len(every)} concepts, densities and seeds where both have one) the salient mask "
        f"did less damage than the random one {sum(one < 0 for one in every)} times of "
        f"{len(every)}; on average its damage was {abs(mean):.3f} "
        f"{'lower' if mean < 0 else 'higher'}"
        + (f" (by seed {by_seed})." if len(seeds) > 1 else ".")
    )


def groups_of(rows: Rows, *names: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Rows that share the values of `names`, in the order of these."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return dict(sorted(groups.items()))


def mean_of(rows: Rows, name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def share_of(rows: Rows) -> float:
    """Share of the concept's pictures that are recognised after all."""
    return mean_of(rows, "left") / rows[0]["of"]


def _by_setting(rows: Rows) -> str:
    """A row a concept, density and rate: what each mask leaves, and at what damage."""
    lines = [
        "| concept | density | rate | " + " | ".join(MASKS) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in MASKS) + " |",
    ]
    for (concept, density, rate), cells in groups_of(rows, "concept", "density", "rate").items():
        masks = groups_of(cells, "mask")
        shares = (_line_of(masks[mask,]) if (mask,) in masks else "" for mask in MASKS)
        lines.append(f"| {concept} | {density:g} | {rate:g} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def _line_of(rows: Rows) -> str:
    """`7/30, 0.067`, and how many seeds where that is more than one."""
    seeds = f", {len(rows)} seeds" if len(rows) > 1 else ""
    return f"{mean_of(rows, 'left'):.3g}/{rows[0]['of']}, {mean_of(rows, 'damage'):.3f}{seeds}"


def _at_equal_forgetting(rows: Rows) -> str:
    """A row a concept, density and mask: of the rates that forget the one of least damage."""
    lines = [
        f"| concept | density | mask | rate of least damage that leaves {_GONE_TEXT} or less "
        "| damage |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (concept, density, mask), cells in groups_of(rows, "concept", "density", "mask").items():
        best = _best_rate(cells)
        cheapest = "none | " if best is None else f"{best[0]:g} | {best[1]:.3f}"
        lines.append(f"| {concept} | {density:g} | {mask} | {cheapest} |")
    return "\n".join(lines) + "\n"


def _best_rate(rows: Rows) -> tuple[float, float] | None:
    """The rate of least damage among those that forget, over the seeds together, and that damage;
    the lowest of equal ones. None where no rate forgets."""
    damages = [
        (mean_of(same, "damage"), rate)
        for (rate,), same in groups_of(rows, "rate").items()
        if share_of(same) <= _GONE
    ]
    if not damages:
        return None
    damage, rate = min(damages)
    return rate, damage


def _default_density(rows: Rows) -> str:
    """Why the default is 0.5, from the rows of the salient mask, for each kind of model; empty on
    the page of another than the demo."""
    salient = [row for row in rows if row["mask"] == "salient"]
    if rows[0]["model"] != DEMO or not salient:
        return ""
    each, least = [], set[float]()
    for (concept,), own in groups_of(salient, "concept").items():
        best = sorted(
            (rate[1], density)
            for (density,), cells in groups_of(own, "density").items()
            if (rate := _best_rate(cells)) is not None
        )
        order = ", ".join(f"{damage:.3f} at {density:g}" for damage, density in best)
        each.append(f"{concept} {order or 'none, as no rate forgets'}")
        least |= {density for _, density in best[:1]}
    verdict = f"so that {least.pop():g} is least" if len(least) == 1 else "so that none is least"
    text = _DEFAULT.format(unet="; ".join(each), verdict=verdict)
    lines = fill(text, 100, break_long_words=False, break_on_hyphens=False)
    return f"\n{lines}\n"
