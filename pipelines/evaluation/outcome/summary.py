"""The figures to quote of an evaluation: rates by name, what a judge rejected, and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from erasure.storage.tables import read_record, to_table
from eval.errors import EvalError
from eval.rates.intervals import Difference, Proportion
from eval.rates.unlearning_rates import Compared, UnlearningRates


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Share of pictures in which a judge sees nothing that it knows: destroyed, not forgotten."""

    after: Proportion
    before: Proportion | None = None

    @classmethod
    def of(cls, rate: Compared | None) -> "Rejected | None":
        """None where the judge cannot reject, or no picture can be used."""
        if rate is None or rate.after is None:
            return None
        return cls(after=rate.after, before=rate.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures to quote, by name: `ua`, `ira`, `cra`, or `ua`, `ra`; none in some suites."""

    verdict: str
    """One sentence."""
    after: Mapping[str, Proportion] = field(default_factory=dict)
    before: Mapping[str, Proportion] | None = None
    difference: Mapping[str, Difference] | None = None
    """After - before over the same prompts and seeds."""
    rejected: Mapping[str, Rejected] | None = None
    """By rate, the share of its pictures; None where no judge can reject a picture."""

    @classmethod
    def of(cls, rates: UnlearningRates | None, verdict: str) -> "Summary":
        """Sum up the rates of a suite; `rates` is None for a suite without labels."""
        by_name = {} if rates is None else rates.rates
        before = {name: rate.before for name, rate in by_name.items() if rate.before}
        changes = {name: rate.difference for name, rate in by_name.items() if rate.difference}
        return cls(
            verdict=verdict,
            after={name: rate.after for name, rate in by_name.items() if rate.after},
            before=before or None,
            difference=changes or None,
            rejected=None if rates is None else _rejected(rates),
        )

    def to_dict(self) -> dict[str, Any]:
        """Shares first, their intervals and counts beside them."""
        return _shares(self.after) | {
            "before": None if self.before is None else _shares(self.before),
            "difference": to_table(self.difference),
            "rejected": to_table(self.rejected),
            "verdict": self.verdict,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Summary":
        """The inverse of `to_dict`."""
        before = values["before"]
        return cls(
            verdict=_read(str, values["verdict"], "verdict"),
            after=_proportions(values),
            before=None if before is None else _proportions(before),
            difference=_read(Mapping[str, Difference] | None, values["difference"], "difference"),
            rejected=_read(Mapping[str, Rejected] | None, values.get("rejected"), "rejected"),
        )


def _read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    return read_record(kind, value, where, EvalError)


def _rejected(rates: UnlearningRates) -> dict[str, Rejected] | None:
    rejected = {name: Rejected.of(rate) for name, rate in rates.rejected.items()}
    return {name: rate for name, rate in rejected.items() if rate is not None} or None


def _shares(rates: Mapping[str, Proportion]) -> dict[str, Any]:
    plain: dict[str, Any] = {name: to_table(rate.share) for name, rate in rates.items()}
    plain["intervals"] = {name: to_table((r.low, r.high)) for name, r in rates.items()}
    plain["counts"] = {name: [rate.count, rate.total] for name, rate in rates.items()}
    return plain


def _proportions(values: Mapping[str, Any]) -> dict[str, Proportion]:
    counts = _read(Mapping[str, tuple[int, int]], values["counts"], "counts")
    intervals = _read(Mapping[str, tuple[float, float]], values["intervals"], "intervals")
    shares = {name: _read(float, values[name], name) for name in counts}
    return {
        name: Proportion(count, total, shares[name], *intervals[name])
        for name, (count, total) in counts.items()
    }
