"""The versions that `make test-lowest` installs are the lowest that pyproject.toml allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
AS_IT_IS = {"torch"}
"""Its lower bound is not tried: `make test-lowest` takes the newest torch that is allowed."""
NOT_TESTED = {"resvg-py"}
"""Draws the demo checkpoint's training data, which takes hours."""


def test_the_constraints_are_the_lowest_versions_that_are_allowed() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[canonicalize_name(name)] = Version(version)
    assert pinned == lowest()


def lowest() -> dict[str, Version]:
    """Name -> the version after `>=` in the project's own requirements and those of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        listed += extra
    versions = {}
    for line in listed:
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        if name in AS_IT_IS | NOT_TESTED | {canonicalize_name(project["name"])}:
            continue
        (low,) = [part.version for part in wanted.specifier if part.operator == ">="]
        versions[name] = Version(low)
    return versions
