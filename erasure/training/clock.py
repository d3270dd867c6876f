"""How a learning rate changes as a training goes on; its ticks are steps or epochs."""

import math


def warming(rate: float, tick: int, ticks: int) -> float:
    """The rate at a tick of a linear warm-up, from 0; the tick after `ticks` has the full rate."""
    return rate * (tick + 1) / (ticks + 1)


def cosine(rate: float, angle: float) -> float:
    """The rate on half a cosine: full at the angle 0, zero at pi.

    The trainings differ in where pi lies, in the last tick or in the one after it, and in how they
    round the angle, which decides the last bits of a run: so they give the angle.
    """
    return rate * 0.5 * (1 + math.cos(angle))


def stairs(rate: float, tick: int, ticks: int) -> float:
    """The rate that is divided by 10 after 1/2 of the ticks and again after 3/4."""
    passed = (2 * tick >= ticks) + (4 * tick >= 3 * ticks)
    return rate * 0.1**passed
