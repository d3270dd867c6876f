"""One picture to draw, and a set of them."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from prompts.errors import PromptError

MOST_SEEDS: Final = 2**63
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCase:
    """One picture to draw.

    Raises:
        PromptError: on creation, where a value is out of its range.
    """

    case: str
    """Unique in its set and safe as the stem of a file: 1 to 100 of `A-Z a-z 0-9 . _ -`."""
    prompt: str
    seed: int
    """In [0, 2**63)."""
    guidance: float | None = None
    """Scale of classifier-free guidance, finite, 0 or more; None for the run's own."""
    width: int | None = None
    """Pixels, a multiple of 8; None for the model's own."""
    height: int | None = None
    """Pixels, a multiple of 8; None for the model's own."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the picture should show: head -> name, such as `{"object": "church"}`."""

    def __post_init__(self) -> None:
        if not _SAFE.fullmatch(self.case):
            raise PromptError(
                f"the id {self.case[:120]!r} cannot name a file; use 1 to 100 letters, digits and "
                "any of . _ -"
            )
        if not 0 <= self.seed < MOST_SEEDS:
            raise PromptError(f"the seed is {self.seed}; give one from 0 to 2**63 - 1")
        if self.guidance is not None and not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise PromptError(f"the guidance is {self.guidance}; give 0 or more, such as 7.5")
        for name, pixels in (("width", self.width), ("height", self.height)):
            if pixels is not None and (pixels < 8 or pixels % 8):
                raise PromptError(f"the {name} is {pixels}; give a multiple of 8, such as 512")
        for text in (self.prompt, *self.labels.values()):
            if not (text.isascii() or _is_unicode(text)):
                raise PromptError(f"the text {text[:40]!r} is not Unicode; take out its \\ud...")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """The pictures of one evaluation."""

    name: str
    """Name of the suite: `imagenette`, `i2p`, `canvas`, `unlearncanvas`, `captions` or `csv`."""
    source: str
    """Path, id on the hub, or `built in`."""
    cases: Iterable[PromptCase]
    """Read as they are asked for; may be iterated again."""
    heads: tuple[str, ...]
    """Those keys of the labels that a judge can be checked against; empty for none."""


@dataclass(frozen=True, slots=True)
class LazyCases:
    """Cases that are made anew each time they are iterated, so that none are kept."""

    make: Callable[[], Iterator[PromptCase]]

    def __iter__(self) -> Iterator[PromptCase]:
        return self.make()


def repeated(
    case: PromptCase, *, seeds: Sequence[int] | None, samples: int | None
) -> Iterator[PromptCase]:
    """The same prompt by several seeds, ids followed by `_` and the seed.

    Args:
        case: by its own seed.
        seeds: in place of its own seed; None to keep that.
        samples: number of pictures where there are no `seeds`: the case's own seed + 0, 1, 2...
            None for the case as it is, with its id.
    """
    if seeds is None and samples is None:
        yield case
        return
    for seed in seeds if seeds is not None else range(case.seed, case.seed + (samples or 1)):
        yield replace(case, case=f"{case.case}_{seed}", seed=seed)


def file_stem(name: str) -> str:
    """A name as part of a case's id: `fuel pump` -> `fuel-pump`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _is_unicode(text: str) -> bool:
    """Without half a character, as JSON can spell one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
