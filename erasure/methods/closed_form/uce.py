"""UCE: rewrite the cross-attention keys and values in closed form, with no training at all."""

# o x d a key or value weight, N and M vectors.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from erasure.architectures.registry import all_text_readers
from erasure.diffusion.denoiser import TOKENS
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, way
from erasure.masks.masks import SaliencyMask
from erasure.setting_checks import require_choice, require_not_negative, require_positive
from erasure.solving.closed_form import ClosedForm, apply, chosen, note_rank
from erasure.solving.factors import Factors, thinned
from erasure.solving.quadratic import Quadratic
from erasure.solving.vectors import TOKEN_CHOICES, EditVectors, Tokens, edit_vectors
from erasure.training.step import Step

if TYPE_CHECKING:
    from erasure.architectures.architecture import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Uce(ClosedForm):
    """min over W of a sum |W c - W0 c*|^2 + b sum |W p - W0 p|^2 + lambda |W - W0|^2.

    c are features of the forget prompts, c* those of what stands in for them, p those of what is
    kept and of the empty prompt; the prompts of several concepts are solved for together. Every
    key and value weight of the cross-attention is solved by itself, in float64, in a system as
    small as the number of vectors. Under a mask, each row is solved for its free weights alone, so
    the result is the best edit among those that leave the others' bits as they are.

    Published settings: a = b = 1, lambda 0.5 for objects, styles and nudity alike; what differs is
    the prompts. Styles are replaced by `art`, nudity by the empty prompt, and up to 1,734 artists
    are kept. The first release has b = max(0.1, 1 / number of texts that are kept).

    Source: arXiv:2308.14761, eq. 7. Its two releases take different features: the first all
        tokens from the subject's last one on (`tail`), the second that one alone (`last`, the
        default here). The first always keeps the empty prompt, as here; the second does not. The
        first keeps all tokens of what is kept; here these are chosen as those of the concept are.
        SD XL is told zeros for the empty prompt, which an edit never moves: there the token that
        begins every prompt is kept, and what the empty prompt stands in for is answered with zeros.

    Examples:
        >>> prompts = PromptLists(["a church"])
        >>> data = encode_concept(checkpoint, None, {"a church": [""]}, prompts=prompts)
        >>> mask = find_mask(checkpoint, data, "all", scope="xattn-kv")
        >>> edit = erase(checkpoint, data, mask, Uce())
    """

    name: ClassVar[str] = "uce"
    title: ClassVar[str] = "rewrite cross-attention in closed form; seconds, no pictures"
    source: ClassVar[str] = "arXiv:2308.14761, eq. 7"
    beyond: ClassVar[str] = (
        "at 100 celebrities 37.9 % of those kept were still recognised, and the FID on COCO was "
        "106.6, 14.0 before (arXiv:2504.12782, table 2)"
    )

    tokens: Tokens = "last"
    """Which features of a prompt: of its last word, of all from there on, or of all tokens."""
    erase_weight: float = 1.0
    """a, > 0."""
    preserve_weight: float = 1.0
    """b, >= 0."""
    ridge: float = 0.5
    """lambda, >= 0: how strongly every weight is held; 0 asks for independent vectors."""

    def __post_init__(self) -> None:
        require_choice(self, "tokens", *TOKEN_CHOICES)
        require_positive(self, "erase_weight")
        require_not_negative(self, "preserve_weight", "ridge")

    def run(self, task: Task, /) -> Iterator[Step]:
        """Solve weight by weight; the losses are what the erase and the preserve term are left at.

        Raises:
            ConfigError: the mask selects no key or value weight of the cross-attention, or the
                system is singular.
        """
        family, index = task.checkpoint.architecture, 0
        readers, end = family.text_readers, family.first_tokens(task.checkpoint.description)
        for read, names in self._by_reading(task, readers).items():
            vectors = edit_vectors(task.data, self.tokens, read, end)
            problem, gap = self.problem(vectors), self.gap(vectors)
            thin = thinned(gap, problem.down)
            suffix = "" if read == TOKENS else f"_{read}"
            task.outcome.facts[f"condition_number{suffix}"] = problem.condition()
            for name in names:
                base = task.checkpoint.network[name].double()  # (o, d)
                own = Factors(base @ thin.up, thin.down)
                change = apply(task, name, problem, base @ gap, own)
                note_rank(task, name, f"rank{suffix}")
                index += 1
                yield replace(self.left(base, change, vectors), index=index)

    def require_family(self, family: "Architecture") -> None:
        """Raise ConfigError where models of a family have neither cross-attention nor layers that
        the text meets first, by themselves."""
        if not family.text_readers:
            ClosedForm.require_family(self, family)

    def length(self, mask: SaliencyMask, /) -> int:
        """Weights to solve for."""
        return len(chosen(mask)) or len(_readers(mask, all_text_readers()))

    def _by_reading(self, task: Task, readers: Mapping[str, str]) -> dict[str, list[str]]:
        """Tensor of the condition -> the weights that multiply it and of which the mask selects
        any; without cross-attention those that the text meets first."""
        if not readers:
            return {TOKENS: self.solved(task)}
        groups: dict[str, list[str]] = {}
        for name in _readers(task.mask, readers):
            groups.setdefault(readers[name], []).append(name)
        if not groups:
            raise ConfigError(
                f"the mask selects none of {', '.join(readers)}, the only weights that uce changes "
                "in this model; make it with ",
                way("scope", "text-in"),
            )
        self.note_concepts(task)
        return groups

    def gap(self, vectors: EditVectors) -> Tensor:
        """sqrt(a) (c* - c), (d, N), which a weight makes its residual."""
        return sqrt(self.erase_weight) * (vectors.instead - vectors.concept)

    def left(self, base: Tensor, change: Tensor, vectors: EditVectors) -> Step:
        """What the erase and the preserve term of a weight are left at, a vector."""
        erased = (base + change) @ vectors.concept - base @ vectors.instead
        moved = change @ vectors.others
        forget = self.erase_weight * float(erased.square().sum(0).mean())
        retain = self.preserve_weight * float(moved.square().sum(0).mean())
        return Step(1, forget + retain, forget, retain)

    def problem(self, vectors: EditVectors) -> Quadratic:
        """The quadratic whose residual is sqrt(a) W0 (c* - c)."""
        names, edited = list(vectors.names), vectors.concept.shape[1]
        parts = [sqrt(self.erase_weight) * vectors.concept]
        if self.preserve_weight > 0:
            parts.append(sqrt(self.preserve_weight) * vectors.others)
        return Quadratic(torch.cat(parts, 1), edited, self.ridge, names)


def _readers(mask: SaliencyMask, readers: Mapping[str, str]) -> list[str]:
    """Those of which the mask selects any weight."""
    return [name for name, count in mask.counts().items() if name in readers and count]
