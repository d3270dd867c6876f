"""Layers that LoRA files of a family fuse: which rows of a name's factors are of which layer.

The files of SD3 and FLUX name the fused layers of the published models, so one name stands for the
query, key and value of an attention. Thin factors of them side by side are one product: the down
factors one below the other, and an up factor that is zero but for each layer's own rows.

Source: the fused layers of kohya-ss/sd-scripts, and the converter of diffusers, which reads both a
down factor that all layers share and one that is cut up by such zeros.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.layout.fused import exchanged_halves
from erasure.errors import CheckpointError
from erasure.lora.keys import Role
from erasure.lora.names import MAIN_PREFIX, Place, flat
from erasure.solving.factors import Factors

_BY_ROWS: Final[tuple[Role, ...]] = ("up", "diff", "diff_b", "set")
"""What is held of a layer row by row; the down factor and alpha are of all of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of one layer in what a name stands for."""

    place: Place
    first: int
    rows: int
    exchanged: bool
    """Whether the halves of the rows stand the other way round."""

    def of(self, role: Role, tensor: Tensor) -> Tensor:
        """Take the layer's own of what a file holds under the name."""
        if role not in _BY_ROWS:
            return tensor
        own = tensor[self.first : self.first + self.rows]
        return exchanged_halves(own) if self.exchanged else own


@dataclass(frozen=True, slots=True)
class Fused:
    """What one name stands for."""

    shares: tuple[Share, ...]

    @property
    def rows(self) -> int:
        """Rows of all its layers together."""
        return sum(share.rows for share in self.shares)

    def split(self, role: Role, tensor: Tensor, where: str) -> dict[Place, Tensor]:
        """Layer -> its own of what a file holds under the name.

        Raises:
            CheckpointError: there are not as many rows as these layers have.
        """
        if role in _BY_ROWS and (not tensor.dim() or len(tensor) != self.rows):
            raise CheckpointError(
                f"{where} has the shape {tuple(tensor.shape)}, and the layers that it is of have "
                f"{self.rows} rows; get it again from its source"
            )
        return {share.place: share.of(role, tensor) for share in self.shares}

    def factors(self, own: Mapping[Place, Factors]) -> Factors | None:
        """Join the factors of its layers; None where none of them has any."""
        held = [(share, own[share.place]) for share in self.shares if share.place in own]
        if not held:
            return None
        down = torch.cat([one.down for _, one in held])
        up = down.new_zeros(self.rows, len(down))
        column = 0
        for share, one in held:
            rows = exchanged_halves(one.up) if share.exchanged else one.up
            up[share.first : share.first + share.rows, column : column + len(one.down)] = rows
            column += len(one.down)
        return Factors(up, down)


def fused_names(checkpoint: Checkpoint) -> dict[str, Fused]:
    """Kohya's name of each layer of the main component -> what it stands for; empty where each
    layer has a name of its own."""
    return {MAIN_PREFIX + flat(module): fused for module, fused in _by_original(checkpoint).items()}


def fused_spellings(checkpoint: Checkpoint) -> dict[str, Fused]:
    """Every name that a file may have for such layers, with original names, -> what it stands
    for."""
    dotted = {f"diffusion_model.{m}": fused for m, fused in _by_original(checkpoint).items()}
    return fused_names(checkpoint) | dotted


def _by_original(checkpoint: Checkpoint) -> dict[str, Fused]:
    """Original module -> its layers, of those that the model has."""
    names = checkpoint.architecture.lora
    if names is None or names.layout is None:
        return {}
    main, weights = checkpoint.architecture.main, checkpoint.network
    layout = names.layout(weights)
    sources = {new: (old,) for old, new in layout.modules.items()} | {
        whole: tuple(parts) for whole, parts in layout.fused.items()
    }
    made: dict[str, Fused] = {}
    for original, modules in sources.items():
        shares, first = [], 0
        for module in modules:
            weight = weights.get(f"{module}.weight")
            if weight is None:
                break
            turned = module in layout.exchanged
            shares.append(Share(Place(main, module), first, len(weight), turned))
            first += len(weight)
        else:
            made[original] = Fused(tuple(shares))
    return made
