"""SISA's checkpoints on disk: one file for each shard and slice, and none for what must go."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from erasure.classifiers.exact.exact_file import read_exact, save_exact
from erasure.classifiers.exact.sisa.sisa_plan import Stage
from erasure.classifiers.progress import SPENT, kept_seconds
from erasure.errors import CheckpointError
from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json

METHOD: Final = "sisa checkpoint"


@dataclass(frozen=True, slots=True)
class SisaStore:
    """`folder/shard-000/slice-00.safetensors` and so on."""

    folder: Path
    run: str
    """Hash of the settings and first weights; files of others are refused."""

    def path(self, stage: Stage) -> Path:
        """The state after a stage."""
        return self._shard(stage.shard) / f"slice-{stage.part:02d}.safetensors"

    def partial(self, stage: Stage) -> Path:
        """The last whole epoch of a stage in training.

        The points that take part are in its name, so that it is not continued with others.
        """
        points = stage.lineage
        if stage.data:
            points = hashlib.sha256(f"{points}{stage.data}".encode()).hexdigest()
        return self._shard(stage.shard) / f"slice-{stage.part:02d}.{points[:16]}.partial"

    def drop_stale(self, stages: Sequence[Stage]) -> int:
        """Delete every file of a shard in which other points had a part.

        Args:
            stages: all of the shard.

        Returns:
            How many stages, from the first, are done and stay.

        Raises:
            CheckpointError: a file belongs to other settings; nothing is deleted then.
            DiskError: the disk refuses.
        """
        done = 0
        while done < len(stages) and self._is_of(stages[done]):
            done += 1
        stay = {self.path(stage) for stage in stages[:done]}
        stay |= {self.partial(stage) for stage in stages[done : done + 1]}
        for path in self._files(stages[0].shard):
            if path not in stay:
                with disk_errors(path):
                    path.unlink()
        return done

    def save(self, stage: Stage, state: Mapping[str, Tensor]) -> None:
        """Write the state after a stage atomically; the file of its epochs goes."""
        tensors = {name: value.detach().cpu() for name, value in state.items()}
        config = {"run": self.run, "lineage": stage.lineage, "data": stage.data}
        save_exact(self.path(stage), METHOD, config, tensors)
        self.partial(stage).unlink(missing_ok=True)

    def add_seconds(self, seconds: float) -> None:
        """Keep what a stage took beside what those before it did, until `end`."""
        path = self.folder / SPENT
        earlier = kept_seconds(path)
        write_json(path, {"seconds": earlier + seconds})

    def end(self) -> None:
        """Keep no times any more: a folder tells nothing of how it came about."""
        with disk_errors(self.folder):
            (self.folder / SPENT).unlink(missing_ok=True)

    def load(self, stage: Stage) -> Mapping[str, Tensor]:
        """The state after a stage.

        Raises:
            CheckpointError: the file is damaged, or belongs to other settings or points.
        """
        saved = read_exact(self.path(stage), METHOD)
        if saved.config.get("run") != self.run or not _same_points(saved.config, stage):
            raise CheckpointError(f"{self.path(stage)} belongs to other points; train again")
        return saved.tensors

    def everything(self, stages: Sequence[Stage]) -> dict[str, Tensor]:
        """Every file of a shard by name, none left out, and its tensors if it can be read."""
        known = {self.path(stage): stage for stage in stages}
        tensors: dict[str, Tensor] = {}
        for path in self._files(stages[0].shard):
            label = f"{path.parent.name}/{path.name}"
            tensors[label] = torch.zeros(0)
            state: Mapping[str, Tensor] = {}
            if path in known:
                with suppress(CheckpointError):
                    state = self.load(known[path])
            tensors |= {f"{label} {name}": value for name, value in state.items()}
        return tensors

    def _shard(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:03d}"

    def _files(self, shard: int) -> list[Path]:
        folder = self._shard(shard)
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _is_of(self, stage: Stage) -> bool:
        """Whether a stage's file is there, whole, and of its points."""
        path = self.path(stage)
        if not path.exists():
            return False
        try:
            config: Mapping[str, Any] = read_exact(path, METHOD).config
        except CheckpointError:
            return False
        if config.get("run") != self.run:
            raise CheckpointError(
                f"{path} belongs to a training with other settings or first weights; give another "
                "folder, or the settings of that training"
            )
        return _same_points(config, stage)


def _same_points(config: Mapping[str, Any], stage: Stage) -> bool:
    """Whether a file is of these points; one side that does not know what they are, as files of
    before this was written, is believed."""
    data = config.get("data")
    return config.get("lineage") == stage.lineage and (
        not data or not stage.data or data == stage.data
    )
