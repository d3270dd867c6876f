"""Which weights may be selected at all: an architecture names its scopes, and this looks one up."""

import difflib
from collections.abc import Callable, Iterable, Mapping

from erasure.errors import ConfigError

Predicate = Callable[[str], bool]


def in_scope(names: Iterable[str], scope: str, scopes: Mapping[str, Predicate]) -> list[str]:
    """The names that `scope` lets in, in the given order.

    Args:
        names: of weights.
        scope: key into `scopes`.
        scopes: those of the architecture that the weights are of.

    Raises:
        ConfigError: `scope` is unknown, or lets in none of the names.
    """
    if scope not in scopes:
        near = difflib.get_close_matches(scope, scopes, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"scope {scope!r} is unknown; {hint}known are {', '.join(scopes)}")
    chosen = [name for name in names if scopes[scope](name)]
    if not chosen:
        raise ConfigError(
            f"scope {scope!r} selects none of this model's parameters; use 'full' or another scope"
        )
    return chosen
