"""The words that a search may put into a prompt, and how they become text again."""

# V pieces of the tokenizers, A of them allowed, E embedding features, k places.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from erasure.architectures.encoders import PromptEncoder
from erasure.errors import ConfigError

Pieces = Literal["words", "all"]
_SHORTEST: int = 3
"""Letters of a name from which on every word that contains it counts as naming the concept."""


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The allowed pieces, the same ones for every text encoder of the model."""

    ids: Tensor
    """(A,) int64, what the tokenizers call them; on CPU."""
    words: tuple[str, ...]
    """A texts, each as it is written in a prompt."""
    tables: tuple[Tensor, ...]
    """(A, E) embeddings of them for each text encoder, float32, on its device."""
    tokenizer: Any
    """The first of the model."""
    whole: bool
    """Whether each is a word of its own, so that text made of them is cut into them again."""

    def __len__(self) -> int:
        return len(self.words)

    def text(self, rows: Sequence[int]) -> str:
        """The pieces of some rows of the vocabulary as a text."""
        if self.whole:
            return " ".join(self.words[row] for row in rows)
        return str(self.tokenizer.decode(self.ids[list(rows)].tolist())).strip()

    def cut(self, prompt: str) -> list[int]:
        """What the tokenizer makes of a text, without its marks at both ends."""
        return list(self.tokenizer(prompt, truncation=False, verbose=False).input_ids)[1:-1]

    def comes_back(self, rows: Sequence[int], prompt: str) -> bool:
        """Whether a prompt that begins with `text(rows)` is cut into these pieces first.

        A prompt is drawn as text, so where this is False the search looked at other pieces than
        those that the model reads.
        """
        wanted = self.ids[list(rows)].tolist()
        return self.cut(prompt)[: len(wanted)] == wanted


def has_pieces_of_clip(tokenizer: Any) -> bool:  # noqa: ANN401
    """Whether a tokenizer marks the ends of words as CLIP's does."""
    return any(piece.endswith("</w>") for piece in tokenizer.get_vocab())


def cut_alike(text: PromptEncoder) -> bool:
    """Whether all text encoders cut prompts into the same pieces of CLIP, so that a word or a
    vector has the same place in all; T5 and language models do not, and a model of labels has
    none."""
    tables = [tokenizer.get_vocab() for tokenizer, _ in text.towers]
    return (
        bool(tables)
        and all(table == tables[0] for table in tables)
        and has_pieces_of_clip(text.towers[0][0])
    )


def vocabulary_of(
    text: PromptEncoder, *, pieces: Pieces = "words", without: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary of a model's text encoders.

    Args:
        pieces: `words` are those that, written alone, are cut into themselves; `all` are all but
            the marks of beginning, end and filling.
        without: names whose pieces, and the words that contain them, are left out.

    Raises:
        ConfigError: nothing is left.
    """
    towers = text.towers
    tokenizer = towers[0][0]
    own = dict(tokenizer.get_vocab())
    for other, _ in towers[1:]:
        theirs = other.get_vocab()
        own = {piece: number for piece, number in own.items() if theirs.get(piece) == number}
    size = min(len(network.get_input_embeddings().weight) for _, network in towers)
    marks = set(tokenizer.all_special_ids)
    banned = {n for name in without for n in _pieces_of(tokenizer, name)}
    numbers = sorted(n for n in own.values() if n < size and n not in marks and n not in banned)
    words = [str(tokenizer.decode([number])).strip() for number in numbers]
    rows = [k for k, word in enumerate(words) if not _names(word, without)]
    if pieces == "words":
        rows = [k for k in rows if words[k]]
        alone = tokenizer([words[k] for k in rows]).input_ids if rows else []
        rows = [k for k, ids in zip(rows, alone, strict=True) if list(ids)[1:-1] == [numbers[k]]]
    if not rows:
        raise ConfigError("the vocabulary has no word that a search may use; give pieces 'all'")
    ids = torch.tensor([numbers[k] for k in rows])
    tables = tuple(
        network.get_input_embeddings().weight.detach()[ids.to(network.device)].float()
        for _, network in towers
    )
    return Vocabulary(ids, tuple(words[k] for k in rows), tables, tokenizer, pieces == "words")


def _pieces_of(tokenizer: Any, name: str) -> set[int]:  # noqa: ANN401
    """The pieces of a name, alone and in the plural."""
    lists = tokenizer([name, f"{name}s"]).input_ids
    return {number for ids in lists for number in list(ids)[1:-1]}


def _names(word: str, names: Sequence[str]) -> bool:
    low = word.casefold()
    return any(len(name) >= _SHORTEST and name.casefold() in low for name in names)
