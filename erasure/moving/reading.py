"""A model whose prompts are read anew in every pass, so that gradients reach a text encoder.

A condition then holds what the text encoders read beside what they once made of it: the tokens of
each prompt, and where an attack put vectors in the place of words, these and their places.
"""

# P prompts, B samples, L tokens, E embedding features, k places, C x H x W latents.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.encoders import PromptEncoder
from erasure.architectures.text.text_encoders import TokenIds, encode_with
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.errors import ConfigError
from erasure.work import Tally

ROW: Final = "row"
"""(B,) int64 row of each prompt in the prompt table."""
PLACES: Final = "places"
"""(B, k) int64 places among the tokens where vectors stand."""
_UNGUIDED: Final = "unguided"
"""(B,) int64, 1 for the empty prompt, of which some models are told zeros."""
_IDS: Final = "ids"
_ATTENDED: Final = "attended"
_VECTORS: Final = "vectors"
"""With the number of a text encoder behind each."""


def readable(data: ConceptData, text: PromptEncoder) -> ConceptData:
    """The same data, whose prompts can be read anew.

    Raises:
        ConfigError: the prompts are not known as text.
    """
    if not data.words:
        raise ConfigError(
            "what trains a text encoder needs the concept's prompts as text; give data that "
            "encode_concept made"
        )
    rows = torch.arange(len(data.prompts))
    tensors = {ROW: rows, _UNGUIDED: (rows == 0).long(), **_named(text.tokenize(data.words))}
    return replace(data, prompts=data.prompts.having(**tensors))


def having_vectors(
    condition: Condition, tokens: Sequence[TokenIds], places: Tensor, vectors: Sequence[Tensor]
) -> Condition:
    """The same samples, told other prompts with vectors in them.

    Args:
        tokens: one (B, L) for each text encoder.
        places: (B, k) among them.
        vectors: one (B, k, E) for each text encoder; gradients reach them.
    """
    device = condition.named(ROW).device
    tensors = {PLACES: places, **_named(tokens)}
    moved = {name: value.to(device) for name, value in tensors.items()}
    named = {f"{_VECTORS}.{n}": value for n, value in enumerate(vectors)}
    return condition.having(**moved, **named)


def _named(tokens: Sequence[TokenIds]) -> dict[str, Tensor]:
    ids = {f"{_IDS}.{n}": words.ids for n, words in enumerate(tokens)}
    return ids | {f"{_ATTENDED}.{n}": words.attended for n, words in enumerate(tokens)}


@dataclass(frozen=True, slots=True)
class ReadingDenoiser:
    """A main component behind the text encoders that read its prompts."""

    denoise: Denoiser
    text: PromptEncoder
    tally: Tally | None = None
    """Counts the prompts, one a sample, where somebody wants to know."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W)."""
        return self.denoise(x_t, t, self.read(condition))

    def read(self, condition: Condition) -> Condition:
        """What the main component is told, by the text encoders as they are; with its gradient."""
        held = condition.tensors
        if ROW not in held:
            return condition  # encoded before, and not to be read anew
        if self.tally is not None:
            self.tally.count(text=len(condition))
        count = len(self.text.towers)
        tokens = [TokenIds(held[f"{_IDS}.{n}"], held[f"{_ATTENDED}.{n}"]) for n in range(count)]
        if PLACES in held:
            vectors = [held[f"{_VECTORS}.{n}"] for n in range(count)]
            made = encode_with(self.text, tokens, held[PLACES], vectors)
        else:
            made = self._each_once(tokens, held[ROW])
        read = self._unguided(made, held[_UNGUIDED]).tensors
        left = {name: value for name, value in held.items() if not _is_read(name)}
        return Condition({**left, **read})

    def _each_once(self, tokens: Sequence[TokenIds], rows: Tensor) -> Condition:
        """Many samples have the same prompt, the empty one above all."""
        each, which = rows.unique(return_inverse=True)
        first = torch.stack([(rows == row).nonzero()[0, 0] for row in each])
        parts = [TokenIds(words.ids[first], words.attended[first]) for words in tokens]
        return self.text.encode(parts)[which]

    def _unguided(self, made: Condition, empty: Tensor) -> Condition:
        """With what guidance leads away from in the rows of the empty prompt."""
        other = self.text.unguided(made)
        if other is made or not bool(empty.any()):
            return made
        tensors = {}
        for name, value in made.tensors.items():
            at = (empty > 0).view(-1, *[1] * (value.ndim - 1)).to(value.device)
            tensors[name] = torch.where(at, other.tensors[name], value)
        return Condition(tensors)


def _is_read(name: str) -> bool:
    names = (ROW, PLACES, _UNGUIDED)
    return name in names or name.partition(".")[0] in (_IDS, _ATTENDED, _VECTORS)
