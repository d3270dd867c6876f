"""LoRA files that are merged into the base before anything else looks at it."""

from collections.abc import Sequence

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.lora.merging import named_part, with_loras
from pipelines.run.model_facts import notice


def merged_base(checkpoint: Checkpoint, loras: Sequence[str]) -> Checkpoint:
    """The model with the files merged, each named as `FILE` or `FILE:STRENGTH`; what was merged
    and what was taken for granted is told.

    Raises:
        CheckpointError: a file is missing, damaged, no LoRA, or one of another family.
        ConfigError: a strength is no number, or 0.
    """
    if not loras:
        return checkpoint
    merged = with_loras(checkpoint, [named_part(text) for text in loras])
    lines = []
    for one in merged.merged[len(checkpoint.merged) :]:
        parts = " and ".join(f"{count} weights of the {c}" for c, count in one["weights"].items())
        lines.append(f"merged {one['file']} at {one['strength']:g} into {parts}")
    notice([*lines, *merged.notes[len(checkpoint.notes) :]])
    return merged
