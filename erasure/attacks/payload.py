"""What an attack hands back: attempts with payloads that can be drawn again, and their cost."""

# C x h x w latents, R token places, E embedding features of one text encoder.

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from erasure.errors import ConfigError
from erasure.storage.tables import fields_to_table


@dataclass(frozen=True, slots=True)
class Case:
    """One plain drawing that an attack tries to turn into a picture of the concept."""

    name: str
    """Unique in an audit."""
    prompt: str
    """A plain prompt that asks for the concept."""
    seed: int
    """The seed of the search. The seeds of the confirmation are hidden from an attack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What was spent; two costs add up."""

    forwards: int = 0
    """Passes of one sample through the diffusion network; a guided step has two."""
    backwards: int = 0
    """Backward passes of one sample."""
    draws: int = 0
    """Pictures that were drawn."""
    judged: int = 0
    """Pictures that a judge was asked about."""
    pictures: int = 0
    """Pictures of the concept that were seen."""
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def __mul__(self, times: int) -> "Cost":
        return Cost(**{f.name: getattr(self, f.name) * times for f in fields(self)})

    def to_dict(self) -> dict[str, int | float]:
        """Plain values for JSON."""
        return fields_to_table(self)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Embeddings that stand in the place of those that the words of a prompt have."""

    places: tuple[int, ...]
    """R places among the tokens; place 0 is the start token."""
    vectors: tuple[Tensor, ...]
    """One (R, E) for each text encoder, float32 on CPU."""

    def __post_init__(self) -> None:
        wrong = [tuple(v.shape) for v in self.vectors if v.dim() != 2 or len(v) != len(self.places)]
        if wrong or not self.vectors:
            raise ConfigError(
                f"rows for {len(self.places)} places have shapes {wrong}; give ({len(self.places)},"
                " E) for each text encoder"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a drawing begins, in the place of the noise of its seed."""

    latents: Tensor
    """(C, h, w), float32 on CPU, scaled as the network takes them."""
    time: int | None = None
    """The drawing takes its sampling times up to this one alone; None for all of them."""
    clean: bool = False
    """Whether `latents` are those of a picture, which the noise of the seed is added to, up to the
    level of the first time. Else they are as noisy as that time says, and the seed adds nothing."""
    keep: Tensor | None = None
    """(h, w) bool, where the drawing is told to keep the clean picture, as inpainting does. Only
    with `clean`."""

    def __post_init__(self) -> None:
        if self.latents.dim() != 3:
            raise ConfigError(f"a start has shape {tuple(self.latents.shape)}; give (C, h, w)")
        if self.keep is not None and not (self.clean and self.keep.shape == self.latents.shape[1:]):
            raise ConfigError(
                "what is kept needs a clean picture and a mask of its height and width"
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Payload:
    """All in which a drawing differs from the plain one; with a prompt alone it is the plain one.

    The parts may be combined. A payload can be drawn again with any seed and on any model of the
    same architecture.
    """

    prompt: str
    rows: Rows | None = None
    """A vector: other embeddings than the prompt's own."""
    start: Start | None = None
    """Noise, or a picture and a time."""
    weights: Mapping[str, Tensor] | None = None
    """Name of a weight of the network -> its value in the place of the model's own, of the same
    shape; names that are left out keep theirs. It may compute each value when it is asked for."""
    guidance: float | None = None
    """None for that of the plain drawing; 1 is none."""
    eta: float | None = None
    """Share of fresh noise a step, arXiv:2010.02502, eq. 16; 0 is the deterministic sampler, and
    None that of the plain drawing."""
    replay: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values that describe what the tensors of the payload are; see `directions`."""

    @property
    def directions(self) -> dict[str, Any]:
        """All in plain JSON values that, beside prompt, seed and tensors, draws it again."""
        made: dict[str, Any] = dict(self.replay)
        if self.rows is not None:
            made["places"] = list(self.rows.places)
        if self.start is not None:
            made |= {"time": self.start.time, "clean": self.start.clean}
        own = {"guidance": self.guidance, "eta": self.eta}
        return made | {name: value for name, value in own.items() if value is not None}

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it is made of: `string`, `vector`, `noise`, `weights`, `picture and time`."""
        names = []
        if self.rows is not None:
            names.append("vector")
        if self.start is not None:
            names.append("picture and time" if self.start.clean else "noise")
        if self.weights is not None:
            names.append("weights")
        return tuple(names) or ("string",)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attempt:
    """One try at one case; the runner draws it, judges it and confirms it on other seeds."""

    case: Case
    payload: Payload
    arm: str = ""
    """The setting of the attack that this try belongs to, such as `t 359, null text` or `step 40`.
    Attempts of one arm are counted together, and the strongest arm is confirmed."""
    seed: int | None = None
    """To draw it with in the search; None for the case's own."""
    cost: Cost = field(default_factory=Cost)
    """What the attack spent on this try beside its drawing and judging. Costs of all attempts add
    up, so what several share belongs to the first of them."""
    score: float | None = None
    """The attack's own measure of the try, such as its loss; lower is better."""


def plain(case: Case) -> Attempt:
    """The drawing without any attack, which is what every attack gives at a budget of 0."""
    return Attempt(case=case, payload=Payload(prompt=case.prompt), arm="plain")
