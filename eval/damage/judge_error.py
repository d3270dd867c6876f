"""How often a judge sees a concept that is not there, and which successes that leaves."""

# N pictures.

from collections.abc import Sequence
from dataclasses import dataclass

from eval.errors import EvalError
from eval.rates.intervals import Proportion, wilson


def false_positives(seen: Sequence[bool]) -> Proportion:
    """The share of pictures without the concept in which the judge sees it.

    Its `high` is the bound: a success rate that does not lie above it is no success. No picture of
    30 still leaves 11 %.

    Args:
        seen: whether the judge sees the concept, one a picture that does not show it, such as those
            of other prompts by the base, or of a model that was retrained without the concept.

    Raises:
        EvalError: there is no picture.
    """
    return wilson(sum(seen), len(seen))


def beats_false_positives(success: Proportion, floor: Proportion) -> bool:
    """Whether a success rate lies above the judge's error, interval above interval.

    Args:
        success: of an attack.
        floor: of `false_positives`, or of a control.
    """
    return success.low > floor.high


@dataclass(frozen=True, slots=True)
class GatedSuccess:
    """Successes with and without those that only one judge, or no real picture, supports."""

    seen: Proportion
    """Pictures in which the judge sees the concept."""
    confirmed: Proportion
    """The same, and the gate lets them pass."""

    @property
    def blots(self) -> int:
        """Pictures that the judge calls the concept and the gate does not."""
        return self.seen.count - self.confirmed.count


def gated_success(seen: Sequence[bool], passes: Sequence[bool]) -> GatedSuccess:
    """Count both, as adversarial pictures deceive a small judge.

    Args:
        seen: whether the judge sees the concept, one a picture.
        passes: whether a second judge sees it too, or the picture is near real ones: see
            `eval.metrics.quality_gate`.

    Raises:
        EvalError: the lengths differ, or there is no picture.
    """
    if len(seen) != len(passes):
        raise EvalError(
            f"{len(seen)} pictures were judged and {len(passes)} went through the gate; give one "
            "answer of both a picture"
        )
    both = sum(s and p for s, p in zip(seen, passes, strict=True))
    return GatedSuccess(seen=wilson(sum(seen), len(seen)), confirmed=wilson(both, len(seen)))
