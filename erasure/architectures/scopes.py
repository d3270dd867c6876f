"""Which weights may be selected at all: an architecture names its scopes, and this looks one up."""

from collections.abc import Callable, Iterable, Mapping

from erasure.errors import ConfigError
from erasure.known_names import looked_up

Predicate = Callable[[str], bool]


def in_scope(
    names: Iterable[str],
    scope: str,
    scopes: Mapping[str, Predicate],
    hints: Mapping[str, str] | None = None,
) -> list[str]:
    """The names that `scope` lets in, in the given order.

    Args:
        names: of weights.
        scope: key into `scopes`.
        scopes: those of the architecture that the weights are of.
        hints: scope of other architectures -> what to take in its place.

    Raises:
        ConfigError: `scope` is unknown, or lets in none of the names.
    """
    if scope not in scopes and hints and scope in hints:
        raise ConfigError(f"scope {scope!r} is of other models: {hints[scope]}")
    lets_in = looked_up("scope", scope, scopes)
    chosen = [name for name in names if lets_in(name)]
    if not chosen:
        raise ConfigError(
            f"scope {scope!r} selects none of this model's parameters; use 'full' or another scope"
        )
    return chosen
