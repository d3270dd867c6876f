"""UCE: rewrite the cross-attention keys and values in closed form, with no training at all."""

# P prompts, L tokens, d text features, o x d a key or value weight, N and M vectors.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from erasure.architectures.scopes import xattn_kv
from erasure.diffusion.latents import ConceptData
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.masks.masks import MaskKind, SaliencyMask
from erasure.methods.protocol import Need
from erasure.methods.row_solve import solve_rows
from erasure.training.step import Step

Tokens = Literal["last", "tail", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Uce:
    """min over W of a sum |W c - W0 c*|^2 + b sum |W p - W0 p|^2 + lambda |W - W0|^2.

    c are features of the forget prompts, c* those of what stands in for them, p those of what is
    kept and of the empty prompt. Every key and value weight of the cross-attention is solved by
    itself, in float64. Under a mask, each row is solved for its free weights alone, so the result
    is the best edit among those that leave the others' bits as they are.

    Source: arXiv:2308.14761, eq. 7. Its two releases take different features: the first all
        tokens from the subject's last one on (`tail`), the second that one alone (`last`, the
        default here). The first always keeps the empty prompt, as here; the second does not.
    """

    name: ClassVar[str] = "uce"
    title: ClassVar[str] = "rewrite cross-attention in closed form; seconds, no pictures"
    source: ClassVar[str] = "arXiv:2308.14761, eq. 7"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn-kv"

    tokens: Tokens = "last"
    """Which features of a prompt: of its last word, of all from there on, or of all tokens."""
    erase_weight: float = 1.0
    """a, > 0."""
    preserve_weight: float = 1.0
    """b, >= 0."""
    ridge: float = 0.5
    """lambda, > 0: how strongly every weight is held."""

    def __post_init__(self) -> None:
        if self.tokens not in ("last", "tail", "all"):
            raise ConfigError(f"tokens is {self.tokens!r}; give 'last', 'tail' or 'all'")
        for name in ("erase_weight", "ridge"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; give more than 0")
        if not 0 <= self.preserve_weight < float("inf"):
            raise ConfigError(f"preserve_weight is {self.preserve_weight}; give 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        """Encoded prompts alone."""
        return frozenset({"prompts"})

    def length(self, mask: SaliencyMask, /) -> int:
        """Weights to solve for."""
        return len(_solved(mask))

    def run(self, task: Task, /) -> Iterator[Step]:
        """Solve weight by weight; the losses are what the erase and the preserve term are left at.

        Raises:
            ConfigError: the mask selects no key or value weight of the cross-attention.
        """
        names = _solved(task.mask)
        if not names:
            raise ConfigError(
                "the mask selects no key or value weight of the cross-attention, the only ones "
                "that uce changes; make it with --scope xattn-kv"
            )
        vectors = edit_vectors(task.data, self.tokens)
        system, shift = self._system(vectors)
        task.outcome.facts["condition_number"] = float(torch.linalg.cond(system))
        task.outcome.facts["rank"] = int(torch.linalg.matrix_rank(shift))
        for index, name in enumerate(names):
            base = task.checkpoint.network[name].double()  # (o, d)
            free = task.mask.entries[name]
            change = solve_rows(system, base @ shift, None if free.all() else free)
            task.change({name: base + change})
            erased = (base + change) @ vectors.concept - base @ vectors.instead
            moved = change @ vectors.others
            forget = self.erase_weight * float(erased.square().sum(0).mean())
            retain = self.preserve_weight * float(moved.square().sum(0).mean())
            yield Step(index + 1, forget + retain, forget, retain)

    def _system(self, vectors: "EditVectors") -> tuple[Tensor, Tensor]:
        """A = lambda I + a C C^T + b P P^T, and a (C* - C) C^T, which W0 makes the right-hand side;
        both (d, d) float64."""
        identity = torch.eye(len(vectors.concept), dtype=torch.float64)
        erase = self.erase_weight * vectors.concept @ vectors.concept.T
        keep = self.preserve_weight * vectors.others @ vectors.others.T
        shift = self.erase_weight * (vectors.instead - vectors.concept) @ vectors.concept.T
        return self.ridge * identity + erase + keep, shift


def _solved(mask: SaliencyMask) -> list[str]:
    """The key and value weights of which the mask selects any."""
    return [name for name, entry in mask.entries.items() if xattn_kv(name) and entry.any()]


@dataclass(frozen=True, slots=True)
class EditVectors:
    """Text features as columns, float64."""

    concept: Tensor
    """(d, N) of what is forgotten."""
    instead: Tensor
    """(d, N) of what stands in for each."""
    others: Tensor
    """(d, M) of what is kept."""


def edit_vectors(data: ConceptData, tokens: Tokens) -> EditVectors:
    """Features of the concept's prompts, of their first stand-ins and of what is kept.

    Args:
        data: with the concept's prompts encoded.
        tokens: `last` takes one feature a prompt; `tail` all from the last word on, aligned with
            those of the stand-in as far as both go; `all` every token, aligned by place.

    Raises:
        ConfigError: the prompts are not encoded.
    """
    texts, table = data.require_texts(), data.prompts.tokens  # (P, L, d)
    concept, instead = [], []
    for row, stand_in in zip(texts.forget.tolist(), texts.replacements[:, 0].tolist(), strict=True):
        one, other = (_chosen(table[n], int(texts.last[n]), tokens) for n in (row, stand_in))
        both = min(len(one), len(other))
        concept.append(one[:both])
        instead.append(other[:both])
    others = [_chosen(table[n], int(texts.last[n]), tokens) for n in (0, *texts.retain.tolist())]
    return EditVectors(*(torch.cat(part).double().T for part in (concept, instead, others)))


def _chosen(features: Tensor, last: int, tokens: Tokens) -> Tensor:
    """(L, d) -> (n, d)"""
    if tokens == "all":
        return features
    return features[last:] if tokens == "tail" else features[last : last + 1]
