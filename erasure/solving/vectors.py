"""Which text features a closed form rewrites, with what, and which it keeps."""

# P prompts, L tokens, d text features, N and M vectors.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import torch
from torch import Tensor

from erasure.diffusion.data.concept_data import ConceptData, PromptRows
from erasure.diffusion.denoiser import TOKENS
from erasure.errors import ConfigError

Tokens = Literal["last", "tail", "all"]
"""Which features of a prompt: of its last word, of all tokens from there on, or of all tokens."""
TOKEN_CHOICES: Final[tuple[Tokens, ...]] = ("last", "tail", "all")


@dataclass(frozen=True, slots=True)
class EditVectors:
    """Text features as columns, float64."""

    concept: Tensor
    """(d, N) of what is forgotten."""
    instead: Tensor
    """(d, N) of what stands in for each."""
    others: Tensor
    """(d, M) of what is kept, the empty prompt first. Where that is told as zeros, which nothing
    moves, the token that begins every prompt stands in its place."""
    names: Sequence[str] = field(default=(), compare=False)
    """What messages call the N + M vectors; empty where nobody named them."""


def edit_vectors(
    data: ConceptData, tokens: Tokens, of: str = TOKENS, end: int | None = None
) -> EditVectors:
    """Features of the concepts' prompts, of their first stand-ins and of what is kept.

    Args:
        data: with the prompts of one concept or of several encoded.
        tokens: `last` takes one feature a prompt; `tail` all from the last word on, aligned with
            those of the stand-in as far as both go; `all` every token, aligned by place.
        of: the tensor of the condition; of one that is no tokens, (P, d), the one row of a prompt.
        end: where the tail ends, as another text encoder's tokens stand from there on, whose words
            are at other places; None where no such tokens are there.

    Raises:
        ConfigError: the prompts are not encoded, or a prompt of a concept is among those that are
            kept.
    """
    texts, table = data.require_texts(), data.prompts.named(of)  # (P, L, d)
    if of != TOKENS:
        table, texts = table[:, None], replace(texts, last=torch.zeros_like(texts.last))
    _refuse_kept(texts)
    concept: list[Tensor] = []
    instead: list[Tensor] = []
    others: list[Tensor] = []
    names: list[str] = []
    for row, stand_in in zip(texts.forget.tolist(), texts.replacements[:, 0].tolist(), strict=True):
        one, other = (_chosen(table[n], int(texts.last[n]), tokens, end) for n in (row, stand_in))
        both = min(len(one), len(other))
        concept.append(one[:both])
        instead.append(other[:both])
        names += _named(texts, row, int(texts.last[row]), both, tokens)
    rows = [0, *texts.retain.tolist()]
    if of == TOKENS and not bool(table[0].any()):
        others.append(first_token(data)[None])
        names.append("the token that begins every prompt")
        rows = rows[1:]
    for row in rows:
        others.append(_chosen(table[row], int(texts.last[row]), tokens, end))
        names += _named(texts, row, int(texts.last[row]), len(others[-1]), tokens)
    return EditVectors(_columns(concept), _columns(instead), _columns(others), names)


def first_token(data: ConceptData) -> Tensor:
    """Features (d,) of the token that begins every prompt, which CLIP makes before it reads a word.

    SD XL is told zeros where a prompt is empty, so there they are those of a prompt to forget.
    """
    table = data.prompts.tokens
    row = 0 if bool(table[0].any()) else int(data.require_texts().forget[0])
    return table[row, 0]


def _columns(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).double().T  # (d, N)


def _refuse_kept(texts: PromptRows) -> None:
    both = set(texts.forget.tolist()) & set(texts.retain.tolist())
    if both:
        raise ConfigError(
            f"{texts.word(min(both))} is both to be forgotten and to be kept; take it out of one "
            "list"
        )


def _named(texts: PromptRows, row: int, last: int, count: int, tokens: Tokens) -> Iterator[str]:
    """What the features of a prompt are called, in their order."""
    first = 0 if tokens == "all" else last
    for place in range(first, first + count):
        yield f"token {place} of {texts.word(row)}"


def _chosen(features: Tensor, last: int, tokens: Tokens, end: int | None) -> Tensor:
    """(L, d) -> (n, d)"""
    if tokens == "all":
        return features
    return features[last : end if tokens == "tail" else last + 1]
