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
        """Of the other pictures: share forgotten from share recognised."""
        rest = self.total - self.count
        return Proportion(rest, self.total, rest / self.total, 1 - self.high, 1 - self.low)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of `after - before` over pairs of one seed, with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float
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


def paired_difference(
    before: Sequence[float], after: Sequence[float], *, seed: int = 0, draws: int = 10_000
) -> Difference:
    """Mean of `after - before` with the 95 % interval of a bootstrap over the pairs.

    Args:
        before: one value a picture, such as 1.0 where the class was recognised.
        after: the same for the picture of the other model with the same prompt and seed.
        seed: of the resampling; the same input and seed give the same interval.
        draws: resamplings R. Memory stays at some 20 MB whatever N and R.

    Returns:
        A percentile interval. If all pairs differ by the same amount it has no width, however few
        they are: read it beside the Wilson intervals of the two shares.

    Raises:
        EvalError: the lengths differ, there is no pair, or a value is not finite.
    """
    if len(before) != len(after):
        raise EvalError(
            f"{len(before)} values before and {len(after)} after do not pair; give one each a seed"
        )
    change = _values(after) - _values(before)
    low, high = _interval(change, seed, draws)
    return Difference(float(change.mean()), low, high, len(change))


def mean_interval(values: Sequence[float], *, seed: int = 0, draws: int = 10_000) -> Mean:
    """Mean of one value a picture with the 95 % interval of a bootstrap over the pictures.

    Raises:
        EvalError: there is no value, or one is not finite.
    """
    array = _values(values)
    low, high = _interval(array, seed, draws)
    return Mean(float(array.mean()), low, high, len(array))


def _values(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)  # (N,)
    if not array.size:
        raise EvalError("there is no value to take a mean of; at least one picture must be usable")
    if not np.isfinite(array).all():
        raise EvalError("a value is NaN or infinite; leave out the pictures that cannot be used")
    return array


def _interval(values: NDArray[np.float64], seed: int, draws: int) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the means of `draws` resamplings of the values."""
    if draws < 1:
        raise EvalError(f"draws is {draws}; give 1 or more, usually 10000")
    if (values == values[0]).all():  # a sum of equal numbers would only add rounding
        return float(values[0]), float(values[0])
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = np.empty(draws)
    for start in range(0, draws, rows):
        stop = min(start + rows, draws)
        picks = random.integers(len(values), size=(stop - start, len(values)))  # (r, N)
        means[start:stop] = values[picks].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
