"""Single files of flow transformers: nothing in them tells the times."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from erasure.architectures.single_files import SilentFiles
from erasure.checkpoints.description import is_shipped, shipped_description
from erasure.checkpoints.facts.flow_scheduler import check_flow_config

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint


class FlowFiles(SilentFiles):
    """Files that tools read with the published shift of the times."""

    def misread(
        self,
        checkpoint: "Checkpoint",
        network: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[str, ...]:
        """Name the published times where the model has others."""
        family = checkpoint.architecture
        if not is_shipped(family.key):
            return ()
        published = shipped_description(family.key).scheduler
        ours = family.describe_noise(checkpoint.description.scheduler)
        theirs = family.describe_noise(check_flow_config(published, "the published config"))
        if ours == theirs:
            return ()
        return (
            f"tools that read single files take the published times ({theirs}), but this model has "
            f"others ({ours}); only a diffusers folder tells them",
        )
