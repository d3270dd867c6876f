"""Where the page may read and write: the folder of runs and the folders of models, nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os.path import isfile  # that of Path raises where a folder may not be entered
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from erasure.storage.bare_names import is_bare
from erasure.storage.links import resolved
from pipelines.early import EMBEDDED

_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders that were given when the page was started."""

    runs: Path
    """Where runs are written; also what the list of runs shows."""
    models: tuple[Path, ...] = ()
    """Folders in which models lie."""

    def new_run(self, name: str) -> Path:
        """The folder of a run that is to be made.

        Raises:
            ConfigError: the name is no bare name, or a link's.
        """
        if not _BARE.fullmatch(name):
            raise ConfigError(
                f"the name {name[:80]!r} is not one of letters, digits, dots, dashes and "
                "underscores that begins with a letter or a digit; choose another"
            )
        return self.written(self.runs / name)

    def run(self, name: str) -> Path:
        """The folder of a run that is there, whatever the command line has called it.

        Raises:
            ConfigError: there is no such run.
        """
        folder = self.runs / name
        if not may_name_a_run(name) or not folder.is_dir() or folder.is_symlink():
            raise ConfigError(
                f"there is no run {name[:80]!r} in {self.runs.name}; reload the list of runs"
            )
        return folder

    def beside(self, name: str, ending: str) -> Path:
        """What lies beside a run that is there, or is to be written there: NAME and an ending.

        Raises:
            ConfigError: there is no such run.
        """
        return self.runs / f"{self.run(name).name}{ending}"

    def written(self, place: Path) -> Path:
        """The place itself, which lies among the runs and is to be written.

        Raises:
            ConfigError: a link would lead what is written elsewhere.
        """
        here = place
        while here != self.runs:
            if here.is_symlink():
                raise ConfigError(
                    f"{here.relative_to(self.runs).as_posix()!r} is a link, and the page writes "
                    "into the folder of runs alone; move the link away, or give the command in a "
                    "terminal"
                )
            here = here.parent
        return place

    def file(self, name: str, path: str) -> Path:
        """A file of a run, by its path within the run's folder.

        Raises:
            ConfigError: there is none, or the path leads out of the folder.
        """
        folder = self.run(name).resolve()
        try:
            file = resolved(folder / path)
        except (OSError, ValueError) as err:
            raise ConfigError(f"the run {name!r} has no file of that name") from err
        if not file.is_relative_to(folder) or not file.is_file():
            raise ConfigError(f"the run {name!r} has no file {path[:80]!r}")
        return file

    def known_models(self) -> Iterator[str]:
        """What may stand in the field of the model: the embedded, and what lies in the folders."""
        yield from EMBEDDED
        for folder in self.models:
            for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
                if entry.suffix == ".safetensors" or isfile(entry / "model_index.json"):
                    yield str(entry)
        for folder in sorted(self.runs.iterdir()) if self.runs.is_dir() else ():
            if isfile(folder / "model" / "model_index.json"):
                yield str(folder)

    def model(self, asked: str) -> str:
        """The model that was asked for.

        Raises:
            ConfigError: it is neither the demo nor in one of the folders nor an id on the hub.
        """
        if asked in self.known_models():
            return asked
        if _HUB_ID.fullmatch(asked) and not Path(asked).exists():
            return asked
        raise ConfigError(
            f"{asked[:80]!r} is not demo, not a model in the folders that the page was started "
            "with, and no id of the hub; start the page with --models FOLDER to add a folder"
        )


def may_name_a_run(name: str) -> bool:
    """Whether a folder of this name may be shown as a run: it is not hidden, and can be asked for
    by its name alone."""
    return is_bare(name) and not name.startswith(".")
