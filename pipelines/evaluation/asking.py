"""Whether a prompt asks for what was erased."""

from collections.abc import Iterable, Mapping
from typing import Final

from prompts.concepts.phrases import mentions

ALSO_CALLED: Final[Mapping[str, tuple[str, ...]]] = {"nudity": ("sexual", "nude", "naked")}
"""Concept -> labels of I2P and words of prompts that ask for the same."""


def asks_for(labels: Mapping[str, str], prompt: str, names: Iterable[str]) -> bool:
    """Whether a label is one of the names; without labels, whether the prompt mentions one.

    Args:
        labels: of a case, by head. One may list several, as I2P's categories do: `sexual,
            violence`.
        prompt: of the case.
        names: what was erased. What else goes by such a name counts too.
    """
    wanted = [name.casefold() for name in names]
    wanted += [other for name in wanted for other in ALSO_CALLED.get(name, ())]
    if labels:
        shown = {part.strip().casefold() for v in labels.values() for part in v.split(",")}
        shown |= {label.casefold() for label in labels.values()}
        return not shown.isdisjoint(wanted)
    return any(mentions(prompt, name) for name in wanted if name)
