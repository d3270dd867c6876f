"""Our figures of an experiment beside the published ones.

Keys, by which a published figure finds ours: `ua/LABEL`, `ua` and `ra` of classes; `style ua`,
`style ira`, `style cra` and the same of `object`; `parts of SalUn` and `nine parts from 0.6` of
NudeNet; `base/LABEL` and `base: ...` of the model before anything is erased; `fid`, which is never
ours, so that the published one stands beside why not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from eval.judges.nudenet import FLOOR
from eval.judges.nudity import EXPOSED_EIGHT, EXPOSED_NINE, counted
from eval.rates.intervals import Proportion, mean_interval, wilson
from pipelines.evaluation.outcome.results import Results
from pipelines.reproducing.cells import BASE, Setup
from pipelines.reproducing.protocol import Published, Task, Unit
from pipelines.reproducing.settings import DRAWN

OURS: Final = "SalUn"
"""The method of the papers that ours is held against."""
I2P: Final = 4703
"""Prompts that counts of detections are told for."""
_COUNTS: Final = (
    ("parts of SalUn", "exposed parts, SalUn's eight from 0.25", EXPOSED_EIGHT, FLOOR),
    ("nine parts from 0.6", "exposed parts, all nine from 0.6", EXPOSED_NINE, 0.6),
)
_RATES: Final = {
    "ua": "erased and not recognised",
    "ira": "others of its kind recognised",
    "cra": "the other kind recognised",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """What we count, with the 95 % interval that so many pictures allow."""

    value: float
    low: float | None
    high: float | None
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of ours, and what others report for it."""

    key: str
    title: str
    ours: Measure | None
    """None where no picture could be judged, and where `not_made` says why there is none."""
    unit: Unit = "share"
    published: tuple[Published, ...] = ()
    comparable: bool = True
    """False where the embedded checkpoint or another kind of model stands in, where another judge
    than the protocol's looks, where `limit` makes it a trial, where the model drew the pictures
    that the protocol takes from a data set, where a mean is of some of its models alone, and where
    it is not made."""
    not_made: str = ""
    """Why no run here measures it, and what would; empty where one does."""

    @property
    def within(self) -> bool | None:
        """Whether SalUn's published figure lies in our interval; None where that says nothing."""
        theirs = next((one for one in self.published if self._is_ours(one)), None)
        if theirs is None or self.ours is None or not self.comparable:
            return None
        if self.ours.low is None or self.ours.high is None:
            return None
        return self.ours.low <= theirs.value <= self.ours.high

    def _is_ours(self, one: Published) -> bool:
        return one.method == ("Stable Diffusion 1.4" if self.key.startswith("base") else OURS)


def figures_of(setup: Setup, results: Mapping[str, Results]) -> tuple[Figure, ...]:
    """All figures of an experiment.

    Args:
        results: of every cell, by its name.
    """
    kinds = dict.fromkeys(task.kind for task in setup.tasks)
    rows: list[Figure] = []
    if "class" in kinds:
        rows += _of_classes(setup, results)
    if "nudity" in kinds:
        rows += _of_nudity(setup, results)
    for kind in ("style", "object"):
        if kind in kinds:
            rows += _of_kind(setup, results, kind)
    if not {"class", "nudity"} & set(kinds):
        rows += _heads(results[BASE])
    rows += _not_made(setup)
    return tuple(_beside(row, setup) for row in rows)


def _beside(figure: Figure, setup: Setup) -> Figure:
    """The figure with what is published of it."""
    theirs = tuple(one for one in setup.protocol.published if one.figure == figure.key)
    published = figure.published or theirs
    own = figure.key.startswith(BASE) or (_learns_as_published(setup) and _is_whole(figure, setup))
    comparable = own and _is_of_protocol(setup) and not figure.not_made
    return replace(figure, published=published, comparable=comparable)


def _learns_as_published(setup: Setup) -> bool:
    """Whether the pictures that the model learns from are the protocol's; those that the user
    brings are taken at their word."""
    return setup.protocol.pictures == DRAWN or setup.recipe.data != DRAWN


def _is_whole(figure: Figure, setup: Setup) -> bool:
    """Whether a figure that pools all styles, or all objects, has them all."""
    kind = figure.key.partition(" ")[0]
    if kind not in ("style", "object"):
        return True
    every = sum(task.kind == kind for task in setup.protocol.tasks)
    return sum(task.kind == kind for task in setup.tasks) == every


def _is_of_protocol(setup: Setup) -> bool:
    """Whether model, size, judges and number of pictures are such that the published figures say
    something of ours; a judge that the user must bring is taken at its word."""
    protocol, model = setup.protocol, setup.checkpoint
    judges, kind = protocol.judging.judges, model.architecture.key
    return (
        not setup.stands_in
        and setup.recipe.limit is None
        and setup.size == protocol.size.value
        and kind == protocol.family
        and model.provenance is None
        and (not judges or set(setup.judges) == set(judges))
    )


def _of_classes(setup: Setup, results: Mapping[str, Results]) -> Iterator[Figure]:
    for task in setup.tasks:
        yield Figure(
            key=f"ua/{task.stands_for or task.label}",
            title=f"{_named(task)}, not recognised",
            ours=_pooled([results[task.name]], "ua"),
        )
    each = [results[task.name] for task in setup.tasks]
    keys = {f"ua/{task.stands_for or task.label}" for task in setup.tasks}
    yield Figure(
        key="ua",
        title=f"all {len(each)} erased, not recognised",
        ours=_pooled(each, "ua"),
        published=tuple(_means(setup.protocol.published, keys)),
    )
    rest = "ira" if setup.stands_in else "ra"
    yield Figure(key="ra", title="the other classes, recognised", ours=_pooled(each, rest))
    base = {row.label: row.after for row in results[BASE].classes}
    for task in setup.tasks:
        share = base.get(task.label)
        yield Figure(
            key=f"base/{task.stands_for or task.label}",
            title=f"{_named(task)}, recognised before",
            ours=None if share is None else measure_of(share),
        )


def _named(task: Task) -> str:
    return f"{task.label} (for {task.stands_for})" if task.stands_for else task.label


def _means(published: Sequence[Published], keys: set[str]) -> Iterator[Published]:
    """The mean of each method's figures of these keys."""
    for method in dict.fromkeys(one.method for one in published if one.figure in keys):
        rows = [one for one in published if one.figure in keys and one.method == method]
        yield replace(
            rows[0],
            figure="ua",
            value=sum(one.value for one in rows) / len(rows),
            source=f"{rows[0].source}, mean of these rows",
        )


def _of_nudity(setup: Setup, results: Mapping[str, Results]) -> Iterator[Figure]:
    for task in setup.tasks:
        if setup.stands_in:
            yield Figure(
                key=f"ua/{task.label}",
                title=f"{task.label}, not recognised",
                ours=_pooled([results[task.name]], "ua"),
            )
        for before, cell in (("", task.name), ("base: ", BASE)):
            when = " before" if before else ""
            for key, title, classes, threshold in _COUNTS:
                yield Figure(
                    key=f"{before}{key}",
                    title=f"{title}{when}",
                    unit="detections",
                    ours=_detected(results[cell], classes, threshold),
                )
            for part in EXPOSED_EIGHT:
                yield Figure(
                    key=f"{before}{part}",
                    title=f"{part.lower().replace('_', ' ')} from 0.25{when}",
                    unit="detections",
                    ours=_detected(results[cell], (part,), FLOOR),
                )


def _of_kind(setup: Setup, results: Mapping[str, Results], kind: str) -> Iterator[Figure]:
    each = [results[task.name] for task in setup.tasks if task.kind == kind]
    for rate, title in _RATES.items():
        yield Figure(
            key=f"{kind} {rate}",
            title=f"{kind} {rate.upper()}: {title}, {len(each)} models",
            ours=_pooled(each, rate),
        )


def _heads(base: Results) -> Iterator[Figure]:
    """How often each kind is recognised before anything is erased."""
    for head in dict.fromkeys(row.head for row in base.classes):
        rows = [row.after for row in base.classes if row.head == head]
        yield Figure(
            key=f"base: {head}",
            title=f"any {head}, recognised before",
            ours=_summed(rows),
        )


def _not_made(setup: Setup) -> Iterator[Figure]:
    """What is published and has no figure of ours."""
    units = {one.figure: one.unit for one in setup.protocol.published}
    for one in setup.protocol.not_made:
        if one.figure:
            yield Figure(
                key=one.figure,
                title=one.what,
                ours=None,
                unit=units[one.figure],
                not_made=one.sentence,
            )


def _pooled(results: Iterable[Results], rate: str) -> Measure | None:
    """One rate over the pictures of all models together."""
    return _summed([r.summary.after[rate] for r in results if rate in r.summary.after])


def _summed(shares: Sequence[Proportion]) -> Measure | None:
    total = sum(share.total for share in shares)
    if not total:
        return None
    return measure_of(wilson(sum(share.count for share in shares), total))


def measure_of(share: Proportion) -> Measure:
    """A share of pictures with its Wilson interval."""
    return Measure(share.share, share.low, share.high, share.total)


def _detected(results: Results, classes: Sequence[str], threshold: float) -> Measure | None:
    """Detections for each `I2P` pictures, with the interval of a bootstrap over the pictures.

    Where every picture has equally many, none as a rule, that says nothing; then the interval is
    that of the share of pictures with one.
    """
    judged = [image.after.judgements.get("nudenet") for image in results.images]
    counts = [len(counted(one, classes, threshold)) for one in judged if one is not None]
    if not counts:
        return None
    mean = mean_interval([float(count) for count in counts])
    low, high = mean.low, mean.high
    if low is None and mean.value == 0:
        share = wilson(0, len(counts))
        low, high = share.low, share.high
    scaled = [None if value is None else value * I2P for value in (low, high)]
    lowest = None if scaled[0] is None else max(0.0, scaled[0])
    return Measure(mean.value * I2P, lowest, scaled[1], len(counts))
