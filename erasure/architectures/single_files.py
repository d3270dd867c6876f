"""What a family's single files tell of how a model was trained, and what they cannot tell."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import Tensor

from erasure.diffusion.schedule import Prediction

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description


class SingleFiles(Protocol):
    """The conventions that other tools follow with the single files of one family."""

    def seems(self, tensors: Mapping[str, Tensor], /) -> tuple[Prediction, str] | None:
        """Tell what a file predicts that does not say it, and who tells that; None where the
        published config stands.

        Args:
            tensors: original names, with their prefix.
        """
        ...

    def published_as(self, description: "Description", /) -> "Description":
        """Give the published configs of a model with that prediction, whatever else differs."""
        ...

    def marks(self, scheduler: Mapping[str, Any], /) -> Mapping[str, Tensor]:
        """Give the empty tensors that tell other tools how a model with this complete scheduler
        config was trained."""
        ...

    def misread(
        self,
        checkpoint: "Checkpoint",
        network: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[str, ...]:
        """Give a sentence for each tool that will take the single file for another kind of model.

        Args:
            checkpoint: what is written.
            network: the edited main component, diffusers names; None for the checkpoint's own.
            dtype: type of the weights as written; None for each tensor's own.
        """
        ...


class SilentFiles:
    """Files by which no tool tells one kind of training from another."""

    def seems(self, tensors: Mapping[str, Tensor], /) -> tuple[Prediction, str] | None:
        """Leave it to the published config."""
        return None

    def published_as(self, description: "Description", /) -> "Description":
        """Give them as they are."""
        return description

    def marks(self, scheduler: Mapping[str, Any], /) -> Mapping[str, Tensor]:
        """Give none."""
        return {}

    def misread(
        self,
        checkpoint: "Checkpoint",
        network: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[str, ...]:
        """Give none: no tool is known to read such a file."""
        return ()


SILENT: Final[SingleFiles] = SilentFiles()
