"""By which packages the parts of an audit were made.

The keys of cells do not hold versions: a new version of a library seldom changes what is counted,
and cells take hours. So each says by what it was made, and where that differs it is told.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

_PACKAGES: Final = ("torch", "diffusers", "transformers", "diffusion-erasure")
Versions = Mapping[str, str]
"""Package -> version; empty where a version that did not say has made it."""


def versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return {name: version(name) for name in _PACKAGES}


def grouped(parts: Mapping[str, Versions]) -> tuple[dict[str, Any], ...]:
    """Parts that were made by the same versions, together: `versions` and `parts`."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for part, made_by in sorted(parts.items()):
        groups.setdefault(tuple(sorted(made_by.items())), []).append(part)
    return tuple({"versions": dict(made), "parts": names} for made, names in groups.items())


def several(all_versions: Iterable[Versions], what: str) -> tuple[str, ...]:
    """The packages of which there are several versions, a sentence each.

    Args:
        what: what was made by them, such as `cells`.
    """
    by_package: dict[str, set[str]] = {}
    for versions_of_one in all_versions:
        for package, text in versions_of_one.items():
            by_package.setdefault(package, set()).add(str(text))
    return tuple(
        f"The {what} were made by several versions of {package}: {', '.join(sorted(texts))}"
        for package, texts in by_package.items()
        if len(texts) > 1
    )


def read_versions(value: object) -> Versions:
    """What a file says; empty where it is damaged or says nothing."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}
