"""Which members of a parametrised test the default run takes; `make test-slow` takes the others.

CONTRIBUTING.md has the rule: a method, a family or a setting that many tests go through occurs in
the default run at least once, in a member that is cheap.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pytest


def thin_out(items: Iterable[pytest.Item]) -> None:
    """Mark slow the members of a test that the default run does without.

    Of a test marked `crossed` it takes each value of each parameter once, and so about as many
    members as the longest list has values. Of a test marked `default("a", "b")` it takes the
    members whose names hold one of these values, and all where none does.
    """
    tests: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for members in tests.values():
        chosen = set(members)
        if members[0].get_closest_marker("crossed"):
            chosen = _covering(members)
        elif marker := members[0].get_closest_marker("default"):
            chosen = {item for item in members if _names(item, marker.args)} or chosen
        for item in set(members) - chosen:
            item.add_marker(pytest.mark.slow)


def _names(item: pytest.Function, values: Sequence[str]) -> bool:
    """Whether one of the values is a part of the name of a member."""
    return any(f"-{value}-" in f"-{item.callspec.id}-" for value in values)


def _covering(members: Sequence[pytest.Function]) -> set[pytest.Function]:
    """Members that have every value of every parameter, few of them and early ones."""
    # A value is the same object in all members of a product, and need not be hashable.
    values = {
        item: {(name, id(value)) for name, value in item.callspec.params.items()}
        for item in members
    }
    open_values = set().union(*values.values())
    chosen = set()
    while open_values:
        best = max(members, key=lambda item: len(values[item] & open_values))
        chosen.add(best)
        open_values -= values[best]
    return chosen
