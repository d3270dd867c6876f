"""What must be equal for two results to be compared, and what is said where it is not."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from erasure.storage.tables import to_table
from eval.errors import EvalError
from pipelines.comparison.sources import Compared, Evaluation
from pipelines.evaluation.outcome.results import Results

_NOT_COMPARED: Final = ("batch_size", "versions")
"""A picture is the same in any batch; versions are told beside the table instead."""


def require_one_protocol(evaluations: Sequence[Evaluation]) -> None:
    """Refuse evaluations of different suites, prompts, seeds, judges or ways of drawing.

    Raises:
        EvalError: the first field that differs, with both values.
    """
    for other in evaluations[1:]:
        first = evaluations[0]
        _require_same(first.folder, first.results, other.folder, other.results)


def remarks(rows: Sequence[Compared]) -> Iterator[str]:
    """Differences that do not forbid a comparison, a sentence each: versions, other bases."""
    results = [row.evaluation.results for row in rows if row.evaluation is not None]
    for package in dict.fromkeys(chain(*(r.protocol.versions for r in results))):
        versions = dict.fromkeys(r.protocol.versions.get(package, "unknown") for r in results)
        if len(versions) > 1:
            yield f"{package} differs: {', '.join(versions)}"
    bases: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.base is not None:
            bases.setdefault(row.base, []).append(row.name)
    if len({code for _, code in bases}) > 1:
        held = (
            f"{', '.join(names)} against {base} ({code[:8]})"
            for (base, code), names in bases.items()
        )
        yield (
            "the models before are different ones, so that what is before, and changes from it, "
            f"cannot be compared: {'; '.join(held)}"
        )


def _require_same(path: Path, one: Results, other_path: Path, other: Results) -> None:
    """Refuse different protocols; the field that says most comes first."""
    ours, theirs = dict(_protocol(one)), dict(_protocol(other))
    for name in dict.fromkeys(chain(ours, theirs)):
        first, second = ours.get(name, "absent"), theirs.get(name, "absent")
        if first != second:
            raise EvalError(
                f"{path} and {other_path} cannot be compared: {name} is {first!r} in the first "
                f"and {second!r} in the second; evaluate one of them again by the other's protocol"
            )


def _protocol(results: Results) -> Iterator[tuple[str, Any]]:
    yield "suite.name", results.suite.name
    protocol = to_table(results.protocol)
    for name, value in protocol.items():
        if name not in _NOT_COMPARED:
            yield from flat(name, value)
    yield "suite.cases", results.suite.cases
    yield "suite.prompts_hash", results.suite.prompts_hash


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Each value of nested tables, by the dotted path to it."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(f"{name}.{key}", inner)
    else:
        yield name, value
