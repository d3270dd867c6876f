"""Make one cell: erase, draw and judge, and say what it cost; each part by itself."""

import errno
import logging
import shutil
import time
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import DiskError, ErasureError, InUseError
from erasure.patches.checkpoint_patch import checkpoint_patches
from erasure.patches.patch_file import save_patches
from erasure.storage.files import atomic
from eval.errors import EvalError
from pipelines.bench.cell import ERASE, EVALUATED, Cell, Place
from pipelines.bench.extras import (
    AUDIT,
    DISTANCE,
    PATCH,
    RUN,
    attack,
    lacks_attacks,
    measure,
    wanted,
)
from pipelines.bench.neighbours import nearest_labels, write_prompts
from pipelines.bench.rows import Kind, models_of
from pipelines.bench.settings import INTERSECTION
from pipelines.bench.world import World, versions
from pipelines.evaluation.run import run_evaluation
from pipelines.jobs.intersected_mask import with_intersected_mask
from pipelines.process.peak_memory import peak_of
from pipelines.process.progress import Reporter
from pipelines.run.erasing import run_erasure
from pipelines.run.run_folder import MODEL, RECORD
from prompts.errors import PromptError

log = logging.getLogger(__name__)
EVALUATION: Final = "evaluation"
NEIGHBOURS: Final = "neighbours"
INTERSECTED: Final = "intersection.safetensors"
"""The mask of a row whose mask no run of `erasure erase` makes by itself."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PROTOCOL: Final = ("scheduler", "steps", "guidance", "precision", "batch_size")
"""What the pictures of neighbours have in common with those of the suite."""


@dataclass(slots=True)
class _Draft:
    """A cell in work."""

    parts: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    peak: int | None = None
    exported: int | None = None


@dataclass(frozen=True)
class Maker:
    """Makes cells of one benchmark."""

    world: World
    reporter: Reporter
    _nearest: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)
    """Keys of the cells that were left to another process."""
    _retried: set[str] = field(default_factory=set)
    """Keys of the cells that were looked at again; concepts of a kind share the trials of a search.
    """

    def make(self, place: Place) -> Cell:
        """Make a cell and write it; what a method or a judge refuses or breaks becomes the cell.

        A cell that was cut is begun again, but for the pictures that it has drawn.

        Raises:
            DiskError: the disk refuses.
        """
        began = time.monotonic()
        draft = _Draft()
        row, folder = place.row, place.folder
        model = self._model(place, draft)
        if model is not None:
            guard = row.name if row.kind == "guard" else None
            with _part(EVALUATED, draft, folder):
                recipe = self.world.evaluation(model, place.concept, guard=guard)
                run_evaluation(recipe, folder / EVALUATION, force=True, reporter=self._quiet())
            if self.world.recipe.neighbours:
                with _part(NEIGHBOURS, draft, folder):
                    self._neighbours(place, model, guard)
            self._more(place, draft)
        cell = Cell(
            key=place.key,
            kind=row.kind,
            row=row.name,
            mask=row.mask,
            concept=place.concept,
            seed=place.seed,
            recipe=self._recipe(place),
            seconds={name: round(spent, 3) for name, spent in draft.seconds.items()},
            processor={name: round(spent, 3) for name, spent in draft.processor.items()},
            whole_seconds=round(time.monotonic() - began, 1),
            peak=draft.peak,
            device=self.world.device.type,
            exported=draft.exported,
            parts=tuple(draft.parts),
            errors=draft.errors,
            versions=versions(),
        )
        cell.write(folder)
        _drop_model(folder)
        return cell

    def leave(self, place: Place, err: InUseError) -> None:
        """Say once that a cell is left to the process that has it in work."""
        if place.key not in self._left:
            self._left.add(place.key)
            log.warning("%s is left to another process: %s", place.said, err)

    def may_retry(self, place: Place) -> bool:
        """Whether what failed of a cell may be made again, which is once."""
        first = place.key not in self._retried
        self._retried.add(place.key)
        return first

    def missing(self, place: Place, cell: Cell) -> tuple[str, ...]:
        """The parts that the recipe asks for and a finished cell has not tried, or not wholly."""
        if cell.failure:
            return ()
        tried = {*cell.parts, *cell.errors}
        if AUDIT in cell.parts and lacks_attacks(self.world, place.folder):
            tried.remove(AUDIT)
        return tuple(part for part in wanted(self.world, place) if part not in tried)

    def extend(self, place: Place, cell: Cell, again: Collection[str] = ()) -> Cell:
        """Add the parts that are missing to a finished cell, and make those of `again` once more;
        DiskError where the disk refuses."""
        parts = [part for part in cell.parts if part not in again]
        errors = {part: why for part, why in cell.errors.items() if part not in again}
        draft = _Draft(parts=parts, errors=errors)
        began = time.monotonic()
        self._more(place, draft)
        longer = replace(
            cell,
            parts=tuple(draft.parts),
            errors=draft.errors,
            versions=_together(cell.versions, versions()),
            whole_seconds=round(cell.whole_seconds + time.monotonic() - began, 1),
        )
        longer.write(place.folder)
        _drop_model(place.folder)
        return longer

    def _more(self, place: Place, draft: _Draft) -> None:
        """Attacks and distances, where they are asked for; distances read the attacks' curves."""
        work = {AUDIT: attack, DISTANCE: measure}
        for name in wanted(self.world, place):
            if name not in draft.parts:
                with _part(name, draft, place.folder):
                    work[name](self.world, place)

    def _model(self, place: Place, draft: _Draft) -> str | None:
        """The model that is drawn; None where the erasure failed."""
        kind: Kind = place.row.kind
        if kind == "guard":
            return self.world.recipe.model
        if kind != "method":
            return models_of(self.world.recipe, place.concept)[kind]
        with _part(ERASE, draft, place.folder):
            self._erase(place, draft)
        return None if ERASE in draft.errors else str(place.folder / RUN)

    def _erase(self, place: Place, draft: _Draft) -> None:
        recipe = self.world.erasure(place.row, place.concept, place.seed)
        reporter, run = self._quiet(), place.folder / RUN
        with peak_of(self.world.device) as peak:
            if place.row.mask == INTERSECTION:
                path = place.folder / INTERSECTED
                recipe = with_intersected_mask(recipe, self.world.base, path, reporter=reporter)
            run_erasure(recipe, self.world.base, run, force=run.exists(), reporter=reporter)
        draft.peak, draft.seconds = peak.size, dict(reporter.seconds)
        draft.processor = dict(reporter.processor)
        patches = checkpoint_patches(self.world.base, read_checkpoint(run / MODEL))
        path = place.folder / PATCH
        save_patches(path, patches)
        draft.exported = path.stat().st_size
        with atomic(place.folder / RECORD) as part:
            shutil.copyfile(run / RECORD, part)

    def _neighbours(self, place: Place, model: str, guard: str | None) -> None:
        labels = self.labels(place.concept)
        table = place.folder / f"{NEIGHBOURS}.csv"
        kind = self.world.plan(place.concept).kind
        write_prompts(labels, kind, self.world.recipe.neighbours, table)
        drawn = self.world.evaluation(model, place.concept)
        recipe = self.world.evaluation(
            model,
            place.concept,
            suite="csv",
            prompts=str(table),
            erased=None,
            limit=None,
            judges=self.world.recipe.judges or ("canvas",),
            **{name: getattr(drawn, name) for name in _PROTOCOL},
            guard=guard,
            guard_text=None if guard is None else place.concept,
        )
        run_evaluation(recipe, place.folder / NEIGHBOURS, force=True, reporter=self._quiet())

    def labels(self, concept: str) -> tuple[str, ...]:
        """The labels nearest to a concept, ranked once."""
        if concept not in self._nearest:
            self._nearest[concept] = nearest_labels(self.world, concept)
        return self._nearest[concept]

    def _recipe(self, place: Place) -> str:
        if place.row.kind != "method":
            return ""
        return self.world.erased_by(place.row, place.concept, place.seed).strip()

    def _quiet(self) -> Reporter:
        """Counts seconds of its own."""
        return Reporter(quiet=True)


def _together(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The versions of a cell whose parts were made at two times."""
    both = {**now, **before}
    for name, text in now.items():
        if text not in both[name].split(" and "):
            both[name] = f"{both[name]} and {text}"
    return both


@contextmanager
def _part(name: str, draft: _Draft, folder: Path) -> Iterator[None]:
    """Run one part of a cell; what it raises is noted, and the table goes on.

    Raises:
        DiskError: the disk refuses, which is no fault of the row.
    """
    # A method may be the user's own and raise anything, and one row of hundreds must not end the
    # others, so this is wider than the errors of the packages; the whole trace stays on the disk.
    try:
        yield
    except Exception as err:
        if isinstance(err, DiskError):
            raise
        if isinstance(err, OSError) and err.errno in _FULL:
            raise DiskError(
                f"cannot write {folder}: the disk is full; free some space and give the same "
                "command again, the cells that are done stay"
            ) from err
        own = isinstance(err, (ErasureError, EvalError, PromptError))
        said = str(err) if own else f"it raised {type(err).__name__}: {err}"
        log.warning("%s: %s", folder.name, said)
        draft.errors[name] = said
        with atomic(folder / f"{name}.error.txt") as part:
            part.write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
    else:
        draft.parts.append(name)


def _drop_model(folder: Path) -> None:
    """The model of a cell that is done: its patch makes it again."""
    shutil.rmtree(folder / RUN / MODEL, ignore_errors=True)
