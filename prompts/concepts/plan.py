"""What to forget, what to see in its place, and what to keep."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from prompts.concepts.phrases import mentions
from prompts.errors import PromptError
from prompts.trainer_rows import TrainerRow

Kind = Literal["object", "style", "class", "nudity", "label", "general"]
"""`object` and `style` of the canvas, `class` of ImageNette, `nudity`, `label` of a model that is
told classes by number, or any other."""


@dataclass(frozen=True, slots=True)
class ConceptPlan:
    """The prompts of one erasure. The lists may be long: sample from them."""

    concept: str
    """As the user named it, tidied."""
    kind: Kind
    forget: tuple[str, ...]
    """Prompts that show the concept; no repeats."""
    replacement: Mapping[str, tuple[str, ...]]
    """Forget prompt -> what may stand in for it; where there are several, draw one a sample."""
    retain: tuple[str, ...]
    """Prompts that must go on working; empty where the user wants none."""
    erased: tuple[str, ...]
    """What a judge should see no more: objects or styles of the canvas, class names, or the
    concept itself."""
    rows: tuple[TrainerRow, ...] = ()
    """Prompts with what becomes of each, from a file of the trainers; in place of the concept's
    own, for the method that reads them."""
    parts: "tuple[ConceptPlan, ...]" = ()
    """The plans of several concepts that are forgotten together; they retain nothing."""
    earlier: "tuple[ConceptPlan, ...]" = ()
    """Those of what the model forgot before."""

    @property
    def each(self) -> "tuple[ConceptPlan, ...]":
        """The plan of every concept by itself."""
        return self.parts or (self,)

    def owner(self, prompt: str) -> int:
        """Which concept a prompt is of: the one that forgets it, or else the first it names.

        Raises:
            PromptError: there are several, and it names none.
        """
        for number, part in enumerate(self.each):
            if prompt in part.replacement:
                return number
        for number, part in enumerate(self.each):
            if any(mentions(prompt, name) for name in part.erased):
                return number
        if self.parts:
            raise PromptError(
                f"the caption {prompt[:80]!r} names none of {self.concept}, so it is not known "
                "which of them the picture shows; name one in it"
            )
        return 0

    def shown_in(self, prompt: str) -> str | None:
        """The name by which a prompt shows what is erased; None where it shows none of it.

        A class that is told by number has a whole name, which others may have in theirs.
        """
        for part in self.each:
            if prompt in part.replacement:
                return part.concept
            if part.kind == "label":
                continue
            for name in part.erased:
                if mentions(prompt, name):
                    return name
        return None

    def __post_init__(self) -> None:
        forget = set(self.forget)
        if not all(forget):
            raise PromptError("a prompt to forget is empty; that would unlearn the model itself")
        for prompt, stand_ins in self.replacement.items():
            if taken := forget.intersection(stand_ins):
                raise PromptError(
                    f"{min(taken)!r} is to be forgotten, so it cannot stand in for {prompt!r}; "
                    "name another anchor"
                )
        if both := forget.intersection(self.retain):
            raise PromptError(
                f"{min(both)!r} is both to be forgotten and to be retained; take it out of one list"
            )


def assemble(
    concept: str,
    kind: Kind,
    replacement: Mapping[str, tuple[str, ...]],
    *,
    extra: Mapping[str, tuple[str, ...]],
    retain: tuple[str, ...] | None,
    neighbours: Iterable[str],
    erased: tuple[str, ...],
) -> ConceptPlan:
    """Put a plan together from what a family knows and what the user adds.

    Args:
        concept: as the user named it.
        kind: of the concept.
        replacement: the family's own forget prompts and what stands in for each.
        extra: the same for the user's own forget prompts; what the family has too stays as it is.
        retain: the user's list, or None for `neighbours` without what is to be forgotten.
        neighbours: the family's list of what to retain.
        erased: what a judge should see no more.
    """
    both = dict(replacement)
    for prompt, stand_ins in extra.items():
        both.setdefault(prompt, stand_ins)
    retained = retain if retain is not None else tuple(p for p in neighbours if p not in both)
    return ConceptPlan(concept, kind, tuple(both), both, retained, erased)
