"""The pictures of both models side by side, and only those pairs of which both can be used."""

# N pairs, D features.

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from eval.errors import EvalError
from eval.judges.judge import Judgement
from pipelines.audit.damage.looks import Looks
from pipelines.audit.damage.questions import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """One part by the base and by the audited model, picture by picture."""

    asks: tuple[Ask, ...]
    before: tuple[Judgement, ...]
    after: tuple[Judgement, ...]
    old: Tensor | None
    """(N, D) features of the base's pictures; None where nothing measures them."""
    new: Tensor | None

    def seen(self, shows: Callable[[Judgement, Ask], bool]) -> tuple[list[bool], list[bool]]:
        """Whether each picture shows what was asked for, before and after."""
        old, new = (
            [shows(one, ask) for one, ask in zip(side, self.asks, strict=True)]
            for side in (self.before, self.after)
        )
        return old, new

    def chosen(self, places: Sequence[int]) -> "Pairs":
        """Some of them."""
        rows = list(places)
        return Pairs(
            asks=tuple(self.asks[n] for n in rows),
            before=tuple(self.before[n] for n in rows),
            after=tuple(self.after[n] for n in rows),
            old=None if self.old is None else self.old[rows],
            new=None if self.new is None else self.new[rows],
        )

    def features(self) -> tuple[Tensor, Tensor]:
        """Both sides, (N, D) each.

        Raises:
            EvalError: there are none.
        """
        if self.old is None or self.new is None:
            raise EvalError("nothing measures how far pictures lie apart")
        return self.old, self.new


def paired(asks: Sequence[Ask], base: Looks, audited: Looks) -> Pairs:
    """Leave out the pairs of which one picture has values that are not finite."""
    rows = [
        (n, before, after)
        for n, (before, after) in enumerate(zip(base.judgements, audited.judgements, strict=True))
        if before is not None and after is not None
    ]
    places = [n for n, _, _ in rows]
    both = base.features is not None and audited.features is not None
    return Pairs(
        asks=tuple(asks[n] for n in places),
        before=tuple(before for _, before, _ in rows),
        after=tuple(after for _, _, after in rows),
        old=base.features[places] if both and base.features is not None else None,
        new=audited.features[places] if both and audited.features is not None else None,
    )
