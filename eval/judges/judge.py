"""What a judge says of a picture, and what every judge is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from PIL import Image

from eval.errors import EvalError

DIGITS: Final = 6
"""Decimals of a score in JSON."""
NOTHING: Final = "none of these"
"""The label by which a judge rejects a picture: it shows nothing that the head knows."""


def knows_nothing(count: int) -> str:
    """Say of so many rejected pictures what they show: "show nothing that the judge knows"."""
    return f"{'shows' if count == 1 else 'show'} nothing that the judge knows"


@dataclass(frozen=True, slots=True)
class Guess:
    """One class that a classifier sees."""

    label: str
    score: float
    """Probability in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that a detector found."""

    label: str
    score: float
    """Confidence in [0, 1]."""
    box: tuple[int, int, int, int]
    """Left, top, width, height; pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one judge says of one picture."""

    guesses: Mapping[str, tuple[Guess, ...]] = field(default_factory=dict)
    """Head, such as `object` or `class` -> what it sees, best first, at most five."""
    detections: tuple[Detection, ...] = ()
    """All that the detector gives, in its order."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Name -> value of the picture as a whole; larger is worse."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, scores rounded to six decimals; all three keys, always."""
        return {
            "guesses": {
                head: [{"label": g.label, "score": round(g.score, DIGITS)} for g in guesses]
                for head, guesses in self.guesses.items()
            },
            "detections": [
                {"label": d.label, "score": round(d.score, DIGITS), "box": list(d.box)}
                for d in self.detections
            ],
            "scores": {name: round(score, DIGITS) for name, score in self.scores.items()},
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Judgement":
        """What `to_dict` wrote.

        Raises:
            EvalError: it is no such table.
        """
        try:
            guesses = {
                head: tuple(Guess(str(g["label"]), float(g["score"])) for g in listed)
                for head, listed in table["guesses"].items()
            }
            detections = tuple(
                Detection(str(d["label"]), float(d["score"]), _box(d["box"]))
                for d in table["detections"]
            )
            scores = {str(name): float(score) for name, score in table["scores"].items()}
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as err:
            raise EvalError(
                f"this is no judgement of a picture ({err!r}): {str(table)[:100]}; judge it again"
            ) from err
        return cls(guesses=guesses, detections=detections, scores=scores)


class Judge(Protocol):
    """Looks at pictures, of any sizes, and says what it sees in each.

    What it says of a picture does not depend, up to rounding, on the others given with it.
    """

    @property
    def name(self) -> str:
        """What it is called in results: `nudenet`, `canvas`, or a model's name."""
        ...

    @property
    def protocol(self) -> Mapping[str, str | int | float]:
        """All that must be the same for two of its numbers to be comparable.

        Package and version, the weights' name and SHA-256, preprocessing, thresholds.
        """
        ...

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """One judgement a picture, in order."""
        ...


def rejecting_heads(judge: Judge) -> Mapping[str, tuple[str, ...]]:
    """Heads that may answer `NOTHING`, each with the labels that it knows; none for most judges."""
    heads: Mapping[str, tuple[str, ...]] = getattr(judge, "rejecting", {})
    return heads


def checked_share(threshold: float) -> float:
    """Return a threshold for a probability.

    Raises:
        EvalError: it is outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise EvalError(f"the threshold is {threshold:g}; give a share in 0 to 1")
    return threshold


def _box(values: Sequence[Any]) -> tuple[int, int, int, int]:
    left, top, width, height = map(int, values)
    return left, top, width, height
