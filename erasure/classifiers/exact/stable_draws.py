"""Random numbers that belong to a point or a node, whoever else is there.

A stream that is drawn one number after the other shifts when a point leaves. Here a number is a
hash of what it is for, so that the others keep theirs, on any machine and with any library.

Source: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014).
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from erasure.seeds import derived_seed

Bits = NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_POISSON: Final = np.cumsum([np.exp(-1) / np.prod(np.arange(1, n + 1)) for n in range(16)])


def key_of(*what: int | str) -> Bits:
    """A key for something, (1,), such as `(seed, "tree", 3)`."""
    return np.array([derived_seed(*what)], dtype=np.uint64)


def hashed(key: Bits, counter: ArrayLike) -> Bits:
    """64 random bits for each counter, whole numbers from 0; key and counter broadcast."""
    count = np.atleast_1d(np.asarray(counter, dtype=np.uint64))  # Arrays wrap, scalars warn.
    bits = key + (count + np.uint64(1)) * _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    mixed: Bits = bits ^ (bits >> np.uint64(31))
    return mixed


def uniforms(key: Bits, counter: ArrayLike) -> NDArray[np.float64]:
    """Numbers in [0, 1), multiples of 2**-53."""
    share = (hashed(key, counter) >> np.uint64(11)).astype(np.float64)  # 53 bits: exact
    return share * 2.0**-53


def poisson(key: Bits, counter: ArrayLike) -> NDArray[np.int64]:
    """How often each comes into a bootstrap sample: Poisson with mean 1, at most 16.

    A bootstrap of N from N takes each point about Binomial(N, 1/N) times; in the limit these are
    independent and Poisson, so that one can leave without a change for the others.

    Source: Oza, Russell: Online bagging and boosting, AISTATS 2001.
    """
    return np.searchsorted(_POISSON, uniforms(key, counter), side="right").astype(np.int64)
