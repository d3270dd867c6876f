"""Checkpoints in and out: read, merge, write, verify."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.edit_record import EditRecord
    from erasure.checkpoints.merge import count_moved, merge_selected
    from erasure.checkpoints.provenance import Provenance
    from erasure.checkpoints.reading.reading import read_checkpoint
    from erasure.checkpoints.verification import Verification, verify
    from erasure.checkpoints.verify_records import Check
    from erasure.checkpoints.writing.card import model_card
    from erasure.checkpoints.writing.folder import folder_size, write_folder
    from erasure.checkpoints.writing.modelspec import ModelSpec
    from erasure.checkpoints.writing.single_file import write_single_file
    from erasure.checkpoints.writing.writing import Written
    from erasure.storage.disk import refuse_existing, require_space

__all__ = [
    "Check",
    "Checkpoint",
    "EditRecord",
    "ModelSpec",
    "Provenance",
    "Verification",
    "Written",
    "count_moved",
    "folder_size",
    "merge_selected",
    "model_card",
    "read_checkpoint",
    "refuse_existing",
    "require_space",
    "verify",
    "write_folder",
    "write_single_file",
]

_HOMES = {
    "Checkpoint": "erasure.checkpoints.checkpoint",
    "EditRecord": "erasure.checkpoints.edit_record",
    "count_moved": "erasure.checkpoints.merge",
    "merge_selected": "erasure.checkpoints.merge",
    "Provenance": "erasure.checkpoints.provenance",
    "read_checkpoint": "erasure.checkpoints.reading.reading",
    "Verification": "erasure.checkpoints.verification",
    "verify": "erasure.checkpoints.verification",
    "Check": "erasure.checkpoints.verify_records",
    "model_card": "erasure.checkpoints.writing.card",
    "folder_size": "erasure.checkpoints.writing.folder",
    "write_folder": "erasure.checkpoints.writing.folder",
    "ModelSpec": "erasure.checkpoints.writing.modelspec",
    "write_single_file": "erasure.checkpoints.writing.single_file",
    "Written": "erasure.checkpoints.writing.writing",
    "refuse_existing": "erasure.storage.disk",
    "require_space": "erasure.storage.disk",
}
"""Public name -> its module, imported when the name is first asked for: an architecture is made of
checks and layouts of this package, and most of the package asks architectures in turn."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
