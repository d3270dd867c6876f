"""How reports cut a network into blocks and kinds of layer, by the names of its weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

OTHER: Final = "other"
"""Block of a weight whose name tells none."""


@dataclass(frozen=True, slots=True)
class LayerNames:
    """The naming of one kind of network."""

    block_of: Callable[[str], str]
    """Gives the block of a weight; `OTHER` where its name tells none."""
    block_order: Callable[[str], tuple[int, int]]
    """Gives the sort key that puts blocks in the order the signal passes them."""
    kind_of: Callable[[str], str]
    """Gives the kind of layer, one of `kinds`."""
    kinds: tuple[str, ...]
    """All kinds, in the order reports list them."""
