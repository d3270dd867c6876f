"""The ten classes that the embedded class-conditional model draws, and their prompt set."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from prompts.suites.case import LazyCases, PromptCase, PromptSet, file_stem

CLOTHES: Final = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
"""Names of the classes of Fashion-MNIST, by their numbers."""
HEAD: Final = "class"
"""What the judge of these pictures calls its answer."""
_SEEDS: Final = tuple(range(50))


def clothes_set(seeds: Sequence[int] | None = None) -> PromptSet:
    """Every class by every seed, one seed after the other; None for seeds 0 to 49."""
    cases = LazyCases(partial(_cases, _SEEDS if seeds is None else tuple(seeds)))
    return PromptSet(name="clothes", source="built in", cases=cases, heads=(HEAD,))


def _cases(seeds: Sequence[int]) -> Iterator[PromptCase]:
    for seed in seeds:
        for name in CLOTHES:
            case = f"{file_stem(name)}-{seed}"
            yield PromptCase(case=case, prompt=name, seed=seed, labels={HEAD: name})
