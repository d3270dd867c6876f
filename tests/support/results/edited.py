"""Records of edits that nobody made, for what reads them."""

from typing import Any

from erasure.checkpoints.edit_record import EditRecord


def edit_record(concept: str = "church", **more: Any) -> EditRecord:  # noqa: ANN401
    """The record of an edit of one weight of a UNet, of which nothing matters but what is given."""
    usual: dict[str, Any] = {
        "base_hash": "ab" * 32,
        "objective": "a test",
        "config": {},
        "density": 0.5,
        "selected": 1,
        "moved": 1,
        "total": 2,
        "version": "0",
    }
    return EditRecord(concept=concept, **(usual | more))
