"""Where a search looks for a setting of a method: one rule for all of them.

A positive number, such as a learning rate or the strength of a step, is searched over `DECADES`
decades on a logarithmic scale, with the row's own start in their middle, which is the method's
default: as many as the authors of arXiv:2310.12508 search for the rate of fine-tuning, 1e-4 to 0.1.
A share of the weights is searched from 0.1 to 0.9. A variant, of which the source has several, is
searched among all of them. No method has a range of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import torch

from erasure.errors import ConfigError
from erasure.seeds import derived_seed

DECADES: Final = 3.0
SHARES: Final = frozenset({"density", "share"})
"""Settings that are a share of the weights."""
LOWEST: Final = 0.1
HIGHEST: Final = 0.9
Value = int | float | str | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Numbers that a setting may take in a search."""

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ConfigError(
                f"a search from {self.low} to {self.high} on a {self.scale} scale is empty; give "
                "low below high, and above 0 for log"
            )

    def at(self, place: float) -> float:
        """The value at a place in [0, 1], of three digits."""
        value = self.low + place * (self.high - self.low)
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** place
        return rounded(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """Words that a setting may take in a search."""

    values: tuple[str, ...]

    def at(self, place: float) -> str:
        """The value at a place in [0, 1]; each has an equal part of it."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]


Space = Span | Choice


def space_of(method: type[Any], name: str, start: Value) -> Space:
    """Where to search a setting.

    Args:
        method: a class of `erasure.classifiers.METHODS`, whose annotations name the variants.
        name: of the setting.
        start: the value that the row has without a search.

    Raises:
        ConfigError: the setting is neither a positive number nor one of several words.
    """
    if name in SHARES:
        return Span(low=LOWEST, high=HIGHEST, scale="linear")
    hint = get_type_hints(method).get(name)
    if get_origin(hint) is Literal and all(isinstance(word, str) for word in get_args(hint)):
        return Choice(get_args(hint))
    if isinstance(start, bool) or not isinstance(start, (int, float)) or not start > 0:
        raise ConfigError(
            f"{name} is {start!r} and cannot be searched; name a positive number, a share "
            f"({', '.join(sorted(SHARES))}), or a setting that takes one of several words"
        )
    half = 10 ** (DECADES / 2)
    return Span(low=rounded(start / half), high=rounded(start * half))


def points(name: str, spaces: Mapping[str, Space], count: int) -> Iterator[dict[str, Value]]:
    """Values of all settings at `count` places, spread evenly over their spaces.

    The places are of a scrambled Sobol sequence, whose seed is the name: more of them begin with
    those of fewer.
    """
    names = sorted(spaces)
    # torch.quasirandom takes no seed above 2**31.
    engine = torch.quasirandom.SobolEngine(
        len(names), scramble=True, seed=derived_seed("tune", name) % 2**31
    )
    for point in engine.draw(count, dtype=torch.float64).tolist():
        yield {each: spaces[each].at(place) for each, place in zip(names, point, strict=True)}


def rounded(value: float) -> float:
    """Three digits are as many as a search can tell apart, and as a person can read."""
    return float(f"{value:.3g}")
