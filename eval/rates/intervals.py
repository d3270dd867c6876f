"""How sure a share or a difference is: 95 % intervals of proportions, differences and means."""

# N pictures, R bootstrap draws.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError

_Z: Final = 1.959963984540054  # 97.5 % of a standard normal lies below
_CHUNK: Final = 1_000_000  # numbers drawn at a time, 8 MB


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of pictures with its Wilson 95 % interval."""

    count: int
    total: int
    share: float
    """count / total, in [0, 1]."""
    low: float
    high: float

    def complement(self) -> "Proportion":
        """Return the proportion of the other pictures: forgotten ones, if these are recognised."""
        rest = self.total - self.count
        return Proportion(rest, self.total, rest / self.total, 1 - self.high, 1 - self.low)


@dataclass(frozen=True, slots=True)
class Difference:
    """Share after less share before, over pairs of one seed, with Newcombe's 95 % interval."""

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of measured values with its bootstrap 95 % interval."""

    value: float
    low: float | None
    """None where all values are equal, or there is one: they do not say how far others may lie."""
    high: float | None
    total: int


def wilson(count: int, total: int) -> Proportion:
    """The share `count / total` with its 95 % score interval.

    It stays inside [0, 1], and 0 of 50 gives [0, 0.07] where the textbook's `p +- 2 sd` gives
    [0, 0]. Pictures of one prompt resemble each other, which no interval of this kind sees.

    Raises:
        EvalError: there is no picture, or `count` is outside [0, total].

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209, without continuity correction.
    """
    if total < 1:
        raise EvalError("there is no usable picture to take a share of; draw at least one")
    if not 0 <= count <= total:
        raise EvalError(f"{count} of {total} is no share; count pictures among the {total}")
    z2 = _Z * _Z
    centre = (count + z2 / 2) / (total + z2)
    half = _Z * math.sqrt(count * (total - count) / total + z2 / 4) / (total + z2)
    low = 0.0 if count == 0 else centre - half  # exact where rounding would leave 1e-17
    high = 1.0 if count == total else centre + half
    return Proportion(count, total, count / total, low, high)


def paired_shares(before: Sequence[bool], after: Sequence[bool]) -> Difference:
    """Share after less share before, over the same prompts and seeds, with its 95 % interval.

    Both shares' Wilson intervals are put together, less what the two have in common. So it keeps
    its level near 0 and 1, where a bootstrap falls to 0.81 at 690 pairs, and has a width where no
    pair changed: 690 of 690 before and after give -0.55 to +0.55 points.

    Args:
        before: whether it was seen, one a picture.
        after: the same for the picture of the other model with the same prompt and seed.

    Raises:
        EvalError: the lengths differ, or there is no pair.

    Source: R. G. Newcombe, Stat. Med. 17 (1998) 2635, method 10.
    """
    _require_pairs(len(before), len(after))
    both = sum(b and a for b, a in zip(before, after, strict=True))
    old, new = wilson(sum(before), len(before)), wilson(sum(after), len(after))
    common = _correlation(both, old.count, new.count, len(before))
    value = new.share - old.share

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * common * one * other + other * other))

    low = value - reach(new.share - new.low, old.high - old.share)
    high = value + reach(new.high - new.share, old.share - old.low)
    return Difference(value, max(-1.0, low), min(1.0, high), len(before))


def unpaired_interval(before: Proportion, after: Proportion) -> tuple[float, float]:
    """The 95 % interval of a share less another one, of pictures that have nothing in common.

    Source: R. G. Newcombe, Stat. Med. 17 (1998) 873, method 10.
    """
    value = after.share - before.share
    low = value - math.hypot(after.share - after.low, before.high - before.share)
    high = value + math.hypot(after.high - after.share, before.share - before.low)
    return max(-1.0, low), min(1.0, high)


def paired_difference(
    before: Sequence[float], after: Sequence[float], *, seed: int = 0, draws: int = 10_000
) -> Mean:
    """Mean of `after - before` with the 95 % interval of a bootstrap over the pairs.

    For measured values, such as scores and distances; shares of pictures have `paired_shares`.

    Args:
        before: one value a picture.
        after: the same for the picture of the other model with the same prompt and seed.
        seed: of the resampling; the same input and seed give the same interval.
        draws: resamplings R. Memory stays at some 20 MB whatever N and R.

    Raises:
        EvalError: the lengths differ, there is no pair, or a value is not finite.
    """
    _require_pairs(len(before), len(after))
    change = _values(after) - _values(before)
    return _mean(change, seed, draws)


def mean_interval(values: Sequence[float], *, seed: int = 0, draws: int = 10_000) -> Mean:
    """Mean of one measured value a picture with the 95 % interval of a bootstrap over them.

    Raises:
        EvalError: there is no value, or one is not finite.
    """
    return _mean(_values(values), seed, draws)


def _require_pairs(before: int, after: int) -> None:
    if before != after:
        raise EvalError(
            f"{before} values before and {after} after do not pair; give one each a seed"
        )


def _correlation(both: int, before: int, after: int, total: int) -> float:
    """Newcombe's phi of the two answers, with his correction; 0 where either is all or nothing.

    Args:
        both: pairs with yes twice.
        before: pairs with yes before.
        after: pairs with yes after.
    """
    margins = before * (total - before) * after * (total - after)
    if not margins:
        return 0.0
    neither = total - before - after + both
    surplus = both * neither - (before - both) * (after - both)
    if surplus > 0:
        return max(0.0, surplus - total / 2) / math.sqrt(margins)
    return surplus / math.sqrt(margins)


def _mean(values: NDArray[np.float64], seed: int, draws: int) -> Mean:
    low, high = _interval(values, seed, draws)
    return Mean(float(values.mean()), low, high, len(values))


def _values(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)  # (N,)
    if not array.size:
        raise EvalError("there is no value to take a mean of; at least one picture must be usable")
    if not np.isfinite(array).all():
        raise EvalError("a value is NaN or infinite; leave out the pictures that cannot be used")
    return array


def _interval(
    values: NDArray[np.float64], seed: int, draws: int
) -> tuple[float, float] | tuple[None, None]:
    """Percentiles 2.5 and 97.5 of the means of `draws` resamplings of the values, drawn apart.

    Percentiles alone are too narrow for few values: a resampling has the deviation of these values
    instead of an unbiased one, and none of the spread of Student's t. Both are put in, so that 5
    normal values are covered as often as 500.
    """
    if draws < 1:
        raise EvalError(f"draws is {draws}; give 1 or more, usually 10000")
    if (values == values[0]).all():
        return None, None
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = np.empty(draws)
    for start in range(0, draws, rows):
        stop = min(start + rows, draws)
        picks = random.integers(len(values), size=(stop - start, len(values)))  # (r, N)
        means[start:stop] = values[picks].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    middle, wider = float(values.mean()), widening(len(values))
    return middle + wider * (float(low) - middle), middle + wider * (float(high) - middle)


def widening(count: int) -> float:
    """By how much the percentiles of a bootstrap over N values are too near to the middle, N > 1.

    sqrt(N / (N - 1)) t / z, t and z the 97.5 % points of Student's and the normal distribution.

    Source: Abramowitz and Stegun, 26.7.5, four terms: 0.01 % off from 6 values on, 1 % at 3.
    """
    z, freedom = _Z, count - 1
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    student: float = z + sum(term / freedom**power for power, term in enumerate(terms, 1))
    return math.sqrt(count / freedom) * student / z
