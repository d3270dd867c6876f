"""The screen of tuning data: nothing that names the concept may be among it."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from erasure.attacks.target import Material

_SHORTEST = 3
"""Letters of a stem from which on a word that begins with it counts as naming the concept."""
_ENDINGS = ("'s", "ies", "es", "s", "y", "e")


def stem(word: str) -> str:
    """The word in small letters, without marks and the commonest endings."""
    letters = unicodedata.normalize("NFKD", word)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
    for ending in _ENDINGS:
        if plain.endswith(ending) and len(plain) - len(ending) >= _SHORTEST:
            plain = plain.removesuffix(ending)
            break
    return f"{plain[:-1]}f" if plain.endswith("v") else plain  # wolves, knives


def names_concept(prompt: str, names: Sequence[str]) -> bool:
    """Whether the prompt has a name of the concept, in any case and inflection.

    It would rather turn away too much: any word that begins with a name's stem counts, so that
    `churchyard`, `churches` and `church-like` all name a church. A name of several words counts
    where all of them stand in the prompt.
    """
    words = [stem(word) for word in re.findall(r"[^\W_]+(?:'s)?", prompt)]

    def has(part: str) -> bool:
        root = stem(part)
        return any(
            word == root or (len(root) >= _SHORTEST and word.startswith(root)) for word in words
        )

    return any(
        parts and all(has(part) for part in parts)
        for parts in (re.findall(r"[^\W_]+(?:'s)?", name) for name in names)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What passed, and how much did not."""

    material: Material
    read: int
    """Pictures before the screen."""
    named: tuple[str, ...]
    """Prompts that were turned away as they name the concept."""

    def report(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "read": self.read,
            "kept": len(self.material),
            "prompts that name the concept": sorted(set(self.named)),
        }


def screened(material: Material, names: Sequence[str], *, whole: bool = False) -> Screened:
    """Turn away the pictures whose prompts name the concept.

    It reads prompts alone: that no picture shows the concept is for a judge to say.

    Args:
        whole: whether a prompt is a class, which names the concept only where it is the same: a
            `T-shirt` is no `shirt`.
    """
    naming = [p in names if whole else names_concept(p, names) for p in material.prompts]
    places = [n for n, whether in enumerate(naming) if not whether]
    left = Material(
        material.mean[places], material.std[places], tuple(material.prompts[n] for n in places)
    )
    named = tuple(p for p, whether in zip(material.prompts, naming, strict=True) if whether)
    return Screened(left, len(material), named)
