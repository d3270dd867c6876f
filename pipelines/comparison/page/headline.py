"""What stands at the head of a comparison: how many runs, of what, and what is not there."""

from erasure.checkpoints.wording import listed
from pipelines.comparison.table import ComparedRuns


def headline(table: ComparedRuns) -> str:
    """One sentence, such as `3 runs: church by salun and uce, dog by salun`."""
    methods: dict[str, dict[str, None]] = {}
    for row in table.rows:
        concept = ", ".join(row.erased) or "nothing named"
        methods.setdefault(concept, {})[row.method or "a method that is not named"] = None
    parts = [f"{concept} by {listed(ways)}" for concept, ways in methods.items()]
    return f"{len(table.rows)} runs: {', '.join(parts)}"
