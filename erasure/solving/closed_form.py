"""The family of methods that solve for cross-attention keys and values, with no training."""

# o x d a key or value weight, N edited vectors, r the rank of a change.

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from erasure.architectures.unet.scopes import xattn_kv
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, way
from erasure.masks.masks import MaskKind, SaliencyMask
from erasure.methods.protocol import Need
from erasure.solving.factors import Factors
from erasure.solving.quadratic import Quadratic

if TYPE_CHECKING:
    from erasure.architectures.architecture import Architecture

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosedForm:
    """What such methods have in common; each adds its settings."""

    name: ClassVar[str]
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "xattn-kv"
    joint_scope: ClassVar[str] = "text-in"
    """The same where there is no cross-attention."""
    bears: ClassVar[int] = 10
    """How many concepts it is known to bear in one solve."""
    beyond: ClassVar[str] = ""
    """What was published of it at more concepts."""

    @property
    def needs(self) -> frozenset[Need]:
        """Encoded prompts alone."""
        return frozenset({"prompts"})

    def length(self, mask: SaliencyMask, /) -> int:
        """Weights to solve for."""
        return len(chosen(mask))

    def require_family(self, family: "Architecture") -> None:
        """Raise ConfigError where models of a family have none of the weights that are rewritten.

        It is asked before anything is drawn or written.
        """
        if "xattn-kv" not in family.scopes:
            other = "uce, which rewrites the layers that the text meets first there"
            raise ConfigError(
                f"{family.title} has no cross-attention, which is what {self.name} rewrites; take "
                f"{other if family.text_readers else 'a method that trains, such as salun or esd'}"
            )

    def solved(self, task: Task) -> list[str]:
        """The key and value weights of which the mask selects any; warns of too many concepts.

        Raises:
            ConfigError: the family has no such weights, or the mask selects none.
        """
        self.require_family(task.checkpoint.architecture)
        names = chosen(task.mask)
        if not names:
            raise ConfigError(
                "the mask selects no key or value weight of the cross-attention, the only ones "
                f"that {self.name} changes; make it with ",
                way("scope", "xattn-kv"),
            )
        self.note_concepts(task)
        return names

    def note_concepts(self, task: Task) -> None:
        """Note how many concepts are solved for; warn of more than the method bears, and of
        stand-ins that it does not look at."""
        count = task.data.require_texts().concept_count
        task.outcome.facts["concepts"] = count
        if count > self.bears:
            _log.warning(
                "%s solves for %d concepts at once and is known to bear about %d: %s; look at what "
                "is kept, or erase fewer",
                self.name,
                count,
                self.bears,
                self.beyond,
            )
        self._note_stand_ins(task)

    def _note_stand_ins(self, task: Task) -> None:
        """Say that of several stand-ins the first alone is looked at.

        The mean of all would be the exact minimiser for a draw among them, and an answer that
        none of them gives; `uce` with the first is what was measured (docs/methods.md).
        """
        texts = task.data.require_texts()
        options = [dict.fromkeys(row) for row in texts.replacements.tolist()]
        several = next((n for n, own in enumerate(options) if len(own) > 1), None)
        if several is not None:
            shown, first = int(texts.forget[several]), int(texts.replacements[several, 0])
            _log.warning(
                "%s answers each prompt as the first of its stand-ins, %s as %s, and looks at none "
                "of the %d others; give one alone to choose which",
                self.name,
                texts.word(shown),
                texts.word(first),
                len(options[several]) - 1,
            )


def apply(
    task: Task, name: str, problem: Quadratic, residual: Tensor, thin: Factors | None = None
) -> Tensor:
    """Change a weight by the solution of a problem, and keep its factors where it is free in full.

    Args:
        residual: (o, N), weighted as the problem's vectors are.
        thin: `residual @ problem.down` as factors, where the caller has them.

    Returns:
        The change, (o, d) float64, zero where the mask does not select.
    """
    free = task.mask.entries[name]
    base = task.checkpoint.network[name].double()
    if thin is not None and bool(free.all()):
        change = thin.change()
        task.outcome.factors[name] = thin
    else:
        change = problem.change(residual, free)
    task.change({name: base + change})
    note_change(task, name, change)
    return change


def note_rank(task: Task, name: str, fact: str = "rank") -> None:
    """Note the rank of a weight's change, the largest of all weights; of a weight that the mask
    frees in part, whose change is no thin product, nothing."""
    if name in task.outcome.factors:
        rank = len(task.outcome.factors[name].down)
        task.outcome.facts[fact] = max(rank, task.outcome.facts.get(fact, 0))


def note_change(task: Task, name: str, change: Tensor) -> None:
    """Note the largest change of a weight relative to its norm, and of which weight it is."""
    base = task.checkpoint.network[name].double()
    share = float(change.norm() / base.norm().clamp(min=1e-300))
    if share >= task.outcome.facts.get("largest_change", -1.0):
        task.outcome.facts |= {"largest_change": share, "largest_change_of": name}


def chosen(mask: SaliencyMask) -> list[str]:
    """The key and value weights of which the mask selects any."""
    return [name for name, count in mask.counts().items() if xattn_kv(name) and count]
