"""What stands at the head of a comparison: how many runs, of what, and what is not there."""

from collections.abc import Sequence

from pipelines.comparison.table import ComparedRuns


def headline(table: ComparedRuns) -> str:
    """One sentence, such as `3 runs: church by salun and uce, dog by salun`."""
    methods: dict[str, dict[str, None]] = {}
    for row in table.rows:
        concept = ", ".join(row.erased) or "nothing named"
        methods.setdefault(concept, {})[row.method or "a method that is not named"] = None
    parts = [f"{concept} by {_listed([*ways])}" for concept, ways in methods.items()]
    return f"{len(table.rows)} runs: {', '.join(parts)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
