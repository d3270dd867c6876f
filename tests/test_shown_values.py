"""What an interactive session shows of a value that holds a model: a line, not its weights."""

import torch

from erasure import SaliencyMask, read_checkpoint
from pipelines.run.models import DEMO_FOLDER


def test_a_checkpoint_is_shown_without_its_weights_and_configs() -> None:
    shown = repr(read_checkpoint(DEMO_FOLDER))
    assert "Architecture('sd1')" in shown
    assert "tensor" not in shown
    assert len(shown) < 500


def test_a_mask_is_shown_without_its_bits() -> None:
    assert "tensor" not in repr(SaliencyMask({"a.weight": torch.ones(4, dtype=torch.bool)}))
