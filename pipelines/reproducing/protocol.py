"""An experiment of a paper as one frozen value: each number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Unit = Literal["share", "detections", "distance"]
Pictures = Literal["imagenette", "unlearncanvas", "drawn"]


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it stands."""

    value: Any
    source: str
    """Paper with its table or section, or the file of the released code."""


Settings = Mapping[str, Sourced]
"""Dotted key of a recipe -> its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure that others report."""

    figure: str
    """Key of the figure that ours stands beside; see `pipelines.reproducing.figures`."""
    value: float
    """A share in [0, 1], or as `unit` says."""
    source: str
    method: str = "SalUn"
    """Whose model it is of."""
    unit: Unit = "share"
    pictures: int | None = None
    """How many pictures it counts; None where that is not said."""
    checked: bool = True
    """False where the paper's own table was not at hand: such a figure carries a mark wherever it
    is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMade:
    """What the paper reports and no run here measures."""

    what: str
    why: str
    instead: str
    """What would make it, or what comes nearest."""
    figure: str = ""
    """Key of the published figures that it stands beside; empty where no number is published."""

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.what}: {self.why}; {self.instead}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One erasure of an experiment."""

    name: str
    """Safe as the name of a folder."""
    concept: str
    """As `erasure erase` takes it."""
    label: str
    """As the figures name it, in the words of the prompts that are judged."""
    kind: Literal["class", "nudity", "style", "object"]
    forget: int = 0
    """Pictures to forget."""
    retain: int = 0
    """Pictures to keep."""
    stands_for: str = ""
    """On the embedded checkpoint, the label of the paper that this one stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Who looks at the pictures."""

    judges: tuple[str, ...]
    """As for `erasure evaluate --judge`; empty where the protocol's is no judge of this package, so
    that the user must bring it."""
    wanted: str
    """The protocol's judge in words."""
    heads: tuple[str, ...] = ()
    """The kinds of label that the user's judges must cover, as HEAD=MODEL."""
    substitutes: Mapping[str, str] = field(default_factory=dict)
    """Judge that the protocol lets stand in -> what must be said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What takes the place of an experiment on the embedded checkpoint, which knows none of the
    paper's words."""

    tasks: tuple[Task, ...]
    judges: tuple[str, ...]
    said: tuple[str, ...]
    """What differs, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """All that decides the figures of an experiment."""

    name: str
    title: str
    model: Sourced
    """The checkpoint that the paper begins from, in words."""
    family: str
    """Key of that checkpoint's architecture."""
    size: Sourced
    """Pixels a side of all pictures."""
    tasks: tuple[Task, ...]
    epochs: Sourced
    """Passes over the pictures to forget."""
    erase: Settings
    """Keys of the recipe of `erasure erase`, the same for all tasks; the batch is among them."""
    evaluate: Settings
    """Keys of the recipe of `erasure evaluate`."""
    judging: Judging
    pictures: Pictures
    """Where the pictures to forget and to keep come from."""
    published: tuple[Published, ...]
    differs: tuple[str, ...]
    """Where paper, release and this package differ, and which is followed; a sentence each."""
    not_made: tuple[NotMade, ...]
    """Figures of the paper that are not made here."""
    stand_in: StandIn
    prompts: Sourced | None = None
    """The prompt file that the user must bring, in words; None where the prompts are built in."""
    dataset: Sourced | None = None
    """The hub's data set of the pictures; None where the user must bring them."""
    words: Literal["unlearncanvas"] | None = None
    """The benchmark whose words the prompts of the erasure take."""
