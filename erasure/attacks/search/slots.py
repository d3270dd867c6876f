"""Prompts with open places, which hold no word but vectors or words that a search chooses."""

# P prompts, M rows of them, L tokens, E embedding features, D text features, k open places.

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.encoders import PromptEncoder
from erasure.architectures.text.text_encoders import (
    POOLED,
    TokenIds,
    encode_with,
    with_size,
)
from erasure.attacks.search.vocabulary import Vocabulary
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError

OPEN: Final = "{}"
"""Where a template's open places are."""


def opened(prompt: str, *names: str) -> str:
    """The prompt with its open places where it first names the concept, in any case and number.

    A prompt that does not name it has them at its front.
    """
    longest_first = sorted((re.escape(name) for name in names if name), key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(longest_first)})(?:s|es)?\b", re.IGNORECASE)
    if not longest_first or not pattern.search(prompt):
        return f"{OPEN} {prompt}".strip()
    return pattern.sub(OPEN, prompt, count=1)


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Prompts that are cut into tokens once, and the places in them that are open."""

    text: PromptEncoder
    prompts: tuple[str, ...]
    """P texts with a stand-in word at each open place: what is drawn with vectors in its place."""
    tokens: tuple[TokenIds, ...]
    """One (P, L) for each text encoder."""
    places: Tensor
    """(P, k) int64, where the open places are among the tokens."""
    ends: Tensor
    """(P,) int64, place of the mark that ends each prompt."""
    size: tuple[int, int]
    """Height and width of the pictures in pixels, which SD XL is told."""

    @property
    def open_places(self) -> int:
        """How many there are in each prompt."""
        return self.places.shape[1]

    @property
    def limits(self) -> list[float]:
        """The length of the longest row of each text encoder's table."""
        return [
            float(network.get_input_embeddings().weight.detach().float().norm(dim=1).max())
            for _, network in self.text.towers
        ]

    def told(self, rows: Sequence[Tensor], which: Tensor) -> Condition:
        """What the model is told of some prompts with vectors at their open places.

        Args:
            rows: one (M, k, E) for each text encoder; gradients reach them.
            which: (M,) int64 rows of the prompts.

        Returns:
            The condition of M samples on the text encoder's device.
        """
        tokens = [TokenIds(part.ids[which], part.attended[which]) for part in self.tokens]
        return with_size(encode_with(self.text, tokens, self.places[which], rows), *self.size)

    def filled(self, vocabulary: Vocabulary, chosen: Tensor, which: Tensor) -> Condition:
        """The same with words of a vocabulary, whose rows `chosen` are: (M, k) int64."""
        rows = [table[chosen.to(table.device)] for table in vocabulary.tables]
        return self.told(rows, which)

    def pooled(self, condition: Condition, which: Tensor) -> Tensor:
        """The features at the end mark, (M, D), and for SD XL the projected ones beside them."""
        at = self.ends[which].to(condition.tokens.device)
        last = condition.tokens[torch.arange(len(which), device=at.device), at]
        if POOLED not in condition.tensors:
            return last
        return torch.cat([last, condition.tensors[POOLED]], dim=-1)


def slots_of(
    text: PromptEncoder,
    templates: Sequence[str],
    count: int,
    vocabulary: Vocabulary,
    *,
    size: tuple[int, int] = (512, 512),
) -> Slots:
    """Cut templates into tokens.

    Args:
        templates: P texts, each with one `{}`, behind which the prompt's end may be cut off.
        count: k, open places at each `{}`; 0 or more.
        vocabulary: gives the stand-in word.

    Raises:
        ConfigError: a template has no `{}` or more than one, its open places lie behind what the
            text encoder reads, or the vocabulary has no word that could stand in.
    """
    for template in templates:
        if template.count(OPEN) != 1:
            raise ConfigError(
                f"template {template!r} has {template.count(OPEN)} open places; give one {OPEN}"
            )
    word, number = _stand_in(vocabulary, templates)
    filling = " ".join([word] * count)
    prompts = tuple(" ".join(t.replace(OPEN, f" {filling} ").split()) for t in templates)
    tokens = tuple(text.tokenize(prompts))
    places = []
    for template, ids in zip(templates, tokens[0].ids, strict=True):
        numbers = (ids == number).nonzero().flatten().tolist()
        if len(numbers) != count:
            raise ConfigError(
                f"template {template!r} leaves {len(numbers)} of {count} open places inside the "
                f"{len(ids)} tokens that the text encoder reads; take fewer, or shorten what "
                "stands before them"
            )
        places.append(numbers)
    ends = torch.tensor([len(row) - 1 for row in _cut(text.towers[0][0], prompts)])
    at = torch.tensor(places, dtype=torch.int64).reshape(len(prompts), count)
    return Slots(text, prompts, tokens, at, ends, size)


def _stand_in(vocabulary: Vocabulary, templates: Sequence[str]) -> tuple[str, int]:
    """A word of one piece that no template has, with its number."""
    used = {number for template in templates for number in vocabulary.cut(template)}
    for word, number in zip(vocabulary.words, vocabulary.ids.tolist(), strict=True):
        alone = word.isalpha() and number not in used
        if alone and vocabulary.cut(f"{word} {word}") == [number] * 2:
            return word, number
    raise ConfigError("the vocabulary has no word that could stand at an open place; give 'words'")


def _cut(tokenizer: object, prompts: Sequence[str]) -> list[list[int]]:
    """Token numbers of each prompt with both marks, cut to the window and not filled up."""
    made = tokenizer(list(prompts), truncation=True)  # type: ignore[operator]
    return [list(row) for row in made.input_ids]
