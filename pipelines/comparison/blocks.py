"""Where in the network a run's mask lies, and where weights moved, block by block."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from erasure.architectures.registry import layers_of, title_of
from erasure.checkpoints.edit_record import EditRecord
from erasure.errors import ErasureError
from erasure.masks.mask_file import load_mask, mask_hash
from erasure.masks.mask_report import mask_report
from erasure.training.weights.selected import differing
from pipelines.comparison.run_facts import RunFacts, base_of
from pipelines.early import DEMO
from pipelines.run.models import open_model
from pipelines.run.run_folder import MASK


@dataclass(frozen=True, slots=True)
class Block:
    """One part of the component that was edited."""

    name: str
    """`in`, `time`, `down.0`, ..., `mid`, `up.0`, ..., `out`."""
    total: int
    """Weights."""
    selected: int | None
    """Weights that were free to move; None where the mask is not at hand, 0 where the mask does not
    cover the block."""
    moved: int | None
    """Weights that differ from the base; None where one of both models is not at hand."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one run, in the order of the signal."""

    component: str
    """What was edited, as a sentence calls it."""
    rows: tuple[Block, ...]
    notes: tuple[str, ...]
    """What could not be counted, and why: a sentence each."""

    @property
    def selected(self) -> int | None:
        """All weights that were free to move."""
        return _sum([row.selected for row in self.rows])

    @property
    def moved(self) -> int | None:
        """All weights that moved."""
        return _sum([row.moved for row in self.rows])


def blocks_of(run: RunFacts) -> Blocks:
    """Count the newest edit of a run: its mask from the mask's file, what moved from the weights.

    The base is opened where it is the demo or lies on this machine, and is never downloaded.
    """
    notes: list[str] = []
    selected = _selected(run, notes)
    moved = _moved(run, notes)
    names = list(dict.fromkeys((*moved, *selected)))
    rows = [
        Block(
            name=name,
            total=moved[name][1] if name in moved else selected[name][1],
            selected=selected.get(name, (0, 0))[0] if selected else None,
            moved=moved.get(name, (0, 0))[0] if moved else None,
        )
        for name in names
    ]
    return Blocks(title_of(run.last.component), tuple(rows), tuple(notes))


def _selected(run: RunFacts, notes: list[str]) -> dict[str, tuple[int, int]]:
    """Block -> weights in the mask, of how many that it covers."""
    file = run.folder / MASK
    if not file.is_file():
        notes.append("it has no file of a mask")
        return {}
    try:
        mask = load_mask(file)
    except ErasureError:  # in full by `erasure verify`; its words may name folders
        notes.append(f"its {MASK} is damaged")
        return {}
    if run.last.mask_hash and mask_hash(mask) != run.last.mask_hash:
        notes.append(f"its {MASK} is another mask than the one that the run was made with")
        return {}
    return {row.part: (row.selected, row.total) for row in mask_report(mask).blocks}


def _moved(run: RunFacts, notes: list[str]) -> dict[str, tuple[int, int]]:
    """Block -> weights that differ from the base, of all."""
    base = base_of(run.folder)
    if base != DEMO and not os.path.exists(os.path.expanduser(base or " ")):
        where = f"the base {Path(base).name}" if base else "the base"
        notes.append(f"{where} is not on this machine, so what moved is not counted by block")
        return {}
    try:
        before = _weights(base, run.last, run.last.base_hash, "base")
        after = _weights(str(run.folder), run.last, run.last.result_hash, "model of the run")
        return _differing_by_block(before, after)
    except _Unlike as err:
        notes.append(f"what moved is not counted by block: {err}")
    except ErasureError:
        notes.append("what moved is not counted by block: a model cannot be read")
    return {}


def _weights(model: str, edit: EditRecord, code: str, what: str) -> Mapping[str, Tensor]:
    checkpoint = open_model(model)
    if edit.component not in checkpoint.components:
        raise _Unlike(f"the {what} has no {edit.component}")
    if checkpoint.hash_of(edit.component) != code:
        raise _Unlike(f"the {what} holds other weights than the record of the run names")
    return checkpoint.components[edit.component]


class _Unlike(ErasureError):
    """Two models cannot be held against each other."""


def _differing_by_block(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    layers = layers_of(before)
    sums: dict[str, tuple[int, int]] = {}
    for name in before:
        old, new = before[name], after.get(name)
        if new is None or (old.shape, old.dtype) != (new.shape, new.dtype):
            raise _Unlike(f"{name} is of another type or shape in the model of the run")
        moved, total = sums.get(layers.block_of(name), (0, 0))
        count = 0 if old is new else int(differing(old, new).sum())
        sums[layers.block_of(name)] = (moved + count, total + old.numel())
    return {name: sums[name] for name in sorted(sums, key=layers.block_order)}


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
