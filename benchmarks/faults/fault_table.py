"""The table of a benchmark of faults: a row a job, and below them the sums of all."""

from collections.abc import Mapping, Sequence


def table(heads: Sequence[str], rows: Mapping[str, Sequence[int]]) -> list[str]:
    """Lines of Markdown.

    Args:
        heads: of all columns, the first one of names.
        rows: name -> a count for each further column.
    """
    sums = tuple(map(sum, zip(*rows.values(), strict=True)))
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * len(heads))} |"]
    for name, counts in {**rows, "all": sums}.items():
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    return lines
