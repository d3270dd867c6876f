"""Checkpoints in and out: read, merge, write, verify."""

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.family import FAMILIES, SD1, SD2, SDXL, Family
from erasure.checkpoints.merge import count_moved, merge_selected
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.verify import Verification, verify
from erasure.checkpoints.verify_records import Check
from erasure.checkpoints.writing.card import model_card
from erasure.checkpoints.writing.folder import folder_size, write_folder
from erasure.checkpoints.writing.modelspec import ModelSpec
from erasure.checkpoints.writing.single_file import write_single_file
from erasure.checkpoints.writing.writing import Written
from erasure.storage.disk import refuse_existing, require_space

__all__ = [
    "FAMILIES",
    "SD1",
    "SD2",
    "SDXL",
    "Check",
    "Checkpoint",
    "EditRecord",
    "Family",
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
