"""How xdist shares out test files: what starts something costly is kept to one process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadFileScheduling

TESTS: Final = Path(__file__).parents[2]
SHARED: Final[Mapping[str, str]] = {"support.forked": "forks", "ast.parse": "parsed sources"}
"""Words of a test file -> what such files are called together: those that fork would each wait for
a server of forks, and those that read the project's sources would each parse them."""


class SharedFiles(LoadFileScheduling):
    """A file goes to one process, and so do all files that share something costly."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return scope_of(file, TESTS.parent)


def scope_of(file: str, root: Path) -> str:
    """What a test file is shared out with: itself, or the files that share something costly.

    Args:
        file: as in the ids of its tests.
        root: the folder that these begin from.
    """
    path = root / file
    if path not in _SCOPES:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        _SCOPES[path] = next((scope for word, scope in SHARED.items() if word in text), file)
    return _SCOPES[path]


_SCOPES: dict[Path, str] = {}
