"""Which prompts lie near each other, for the model that reads them."""

# D features of a prompt.

from collections.abc import Mapping

from torch import Tensor

from erasure.architectures.labels.label_encoder import LABELS
from erasure.architectures.text.text_encoders import POOLED
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.denoiser import TOKENS, Condition
from eval.damage.neighbours import Neighbour, ranked_by_text
from pipelines.drawing.generation import Painter


def ranked_labels(
    painter: Painter, checkpoint: Checkpoint, plain: str, others: Mapping[str, str]
) -> tuple[Neighbour, ...]:
    """Rank labels by how near their prompts lie to the concept's, nearest first.

    Args:
        painter: of the checkpoint; its text encoder reads the prompts.
        checkpoint: of the model that says what is near.
        plain: a prompt of the concept.
        others: label -> the prompt of it in the same wording.
    """

    def vector(prompt: str) -> Tensor:
        return _vector(painter.text([prompt]), checkpoint)

    return ranked_by_text(vector(plain), {label: vector(one) for label, one in others.items()})


def _vector(condition: Condition, checkpoint: Checkpoint) -> Tensor:
    """What stands for one prompt, (D,)."""
    if LABELS in condition.tensors:
        return _row(checkpoint, int(condition.named(LABELS)[0]))
    if POOLED in condition.tensors:
        return condition.named(POOLED)[0]
    # The last position has seen all of the text, in each of these encoders.
    return condition.named(TOKENS)[0, -1]


def _row(checkpoint: Checkpoint, label: int) -> Tensor:
    """The row of a class in the network's own table."""
    is_table = checkpoint.architecture.class_table
    assert is_table is not None
    table = next(weight for name, weight in checkpoint.network.items() if is_table(name))
    return table[label]
