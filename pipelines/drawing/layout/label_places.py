"""Where the names of a chart's dots go, so that all can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LETTER: Final = (0.0185, 0.05)
"""Width of a letter and height of a line of a label, as shares of the panel."""
_SHIFTS: Final = tuple(
    sorted(
        ((lines * sign, column) for lines in range(16) for sign in (1, -1) for column in range(4)),
        key=lambda shift: abs(shift[0]) + 4 * shift[1],
    )
)
"""Lines up or down, and columns away from its dot, to try for a label, the nearest first."""


@dataclass(frozen=True, slots=True)
class Label:
    """Where a dot's name goes, all in shares of the panel."""

    text: str
    dot: tuple[float, float]
    left: float
    middle: float
    size: tuple[float, float] = LETTER
    """Width of a letter and height of a line."""

    def hits(self, other: "Label") -> bool:
        """Whether the two names, or this name and the other's dot, lie on each other."""
        width, height = self.size
        apart = (
            self.left >= other.left + width * len(other.text)
            or other.left >= self.left + width * len(self.text)
            or abs(self.middle - other.middle) >= height
        )
        x, y = other.dot
        on_dot = self.left - 0.01 <= x <= self.left + width * len(self.text)
        return not apart or (on_dot and abs(y - self.middle) < 0.8 * height)


def place_labels(
    dots: Sequence[tuple[str, float, float]], size: tuple[float, float] = LETTER
) -> list[Label]:
    """Names to the right of their dots, or left at the edge, moved up, down or away until none
    collide.

    Args:
        dots: name, and place in shares of the panel.
        size: width of a letter and height of a line, likewise.
    """
    placed: list[Label] = []
    marks = [Label("", (x, y), x, y, size) for _, x, y in dots]
    column = size[0] * (2 + max((len(text) for text, _, _ in dots), default=0))
    for text, x, y in sorted(dots, key=lambda dot: dot[2]):
        width, apart = size[0] * len(text), max(0.02, 1.4 * size[0])
        right = x + apart + width <= 1
        left, away = (x + apart, column) if right else (x - apart - width, -column)
        tries = [
            Label(text, (x, y), left + n * away, y + lines * size[1], size)
            for lines, n in _SHIFTS
            if 0.02 <= y + lines * size[1] <= 0.98 and 0 <= left + n * away <= 1 - width
        ]
        others = [*placed, *(mark for mark in marks if mark.dot != (x, y))]
        free = (label for label in tries if not any(label.hits(other) for other in others))
        placed.append(next(free, Label(text, (x, y), left, y, size)))
    return placed
