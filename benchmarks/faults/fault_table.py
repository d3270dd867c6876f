"""The table of a benchmark of faults: a row a job, and below them the sums of all."""

from collections.abc import Mapping, Sequence

from pipelines.words.markdown import head, row


def table(heads: Sequence[str], rows: Mapping[str, Sequence[int]]) -> list[str]:
    """Lines of Markdown.

    Args:
        heads: of all columns, the first one of names.
        rows: name -> a count for each further column.
    """
    sums = tuple(map(sum, zip(*rows.values(), strict=True)))
    every = {**rows, "all": sums}.items()
    return [*head(heads), *(row([name, *map(str, counts)]) for name, counts in every)]
