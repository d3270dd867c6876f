"""A VAE that a user gives beside a model: for one that has none, or in the place of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.checks.quantised import plain_weights, refuse_quantised
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.reading.checking import require_names, require_no_more, require_shapes
from erasure.storage.tensors.tensor_file import TensorFile

CLASS: Final = ("diffusers", "AutoencoderKL")
"""Library and class, as `model_index.json` names them."""

_IN_DIFFUSERS: Final = ("encoder.down_blocks.", "decoder.up_blocks.")
_TRAINING: Final = ("loss.", "model_ema.")
"""Beginnings of what a VAE's own training leaves in its file."""


@dataclass(frozen=True, slots=True)
class GivenVae:
    """Its weights as stored, and where they lie."""

    path: Path
    file: TensorFile
    config: Mapping[str, Any] | None
    """None for a file alone; it then has the shape and the scale of the model's own VAE."""

    def weights(
        self, family: Architecture, config: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """diffusers names -> weights, and notes.

        Args:
            family: whose prefix the names may have, as in a whole single file.
            config: what the weights must fit.

        Raises:
            CheckpointError: they are quantised, incomplete, too many or of other shapes.
        """
        where = f"the VAE {self.path}"
        refuse_quantised(self.file.tensors, self.file.metadata, where, "vae")
        bare = family.part_of(self.file.tensors, "vae") or dict(self.file.tensors)
        bare = {name: w for name, w in bare.items() if not name.startswith(_TRAINING)}
        part = family.part("vae")
        own = wanted = expected_weights(part, config)
        in_diffusers = any(name.startswith(_IN_DIFFUSERS) for name in bare)
        if in_diffusers:
            weights = part.tidy_diffusers(bare)
        else:
            weights, wanted = part.tidy_original(bare), part.to_original(own)
        remedy = ("give a VAE of Stable Diffusion, as a file or a diffusers folder",)
        require_names(weights, wanted, where, remedy=remedy)
        require_no_more(weights, wanted, where)
        weights = weights if in_diffusers else part.to_diffusers(weights)
        require_shapes(weights, own, where)
        plain, notes = plain_weights(weights, where)
        return plain, (f"the VAE of {self.path} is used", *self.file.notes, *notes)
