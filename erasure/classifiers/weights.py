"""What may move in a classifier: all weights or those of a mask, and running statistics."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from erasure.errors import ConfigError, TrainingError
from erasure.masks.masks import SaliencyMask
from erasure.training.weights.selected import SelectedWeights

BatchNormPolicy = Literal["update", "frozen"]
"""Whether running statistics follow the batches. They are no weights, so no mask holds them; in
the released code of SalUn they follow. Frozen layers use the statistics they have."""
BATCHNORM_POLICIES: Final = get_args(BatchNormPolicy)


def training_mode(model: nn.Module, batchnorm: BatchNormPolicy) -> None:
    """Put a model into training mode, with its running statistics as the policy says."""
    model.train()
    if batchnorm == "frozen":
        for module in model.modules():
            if isinstance(module, _NormBase):
                module.eval()


def require_finite_statistics(model: nn.Module) -> None:
    """Raises TrainingError where running statistics are NaN or infinite.

    No loss of a training need show it: there a layer takes the statistics of the batch.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _NormBase):
            continue
        for own, value in module.named_buffers(recurse=False):
            if not bool(value.isfinite().all()):
                raise TrainingError(
                    f"{name}.{own} of the model holds NaN or infinity; lower lr, or look for huge "
                    "values in the data and the weights"
                )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a block, each of its modules then back into its own."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def assign(model: nn.Module, values: Mapping[str, Tensor], mask: SaliencyMask | None) -> None:
    """Give parameters new values, and only those entries of them that a mask selects."""
    for name, parameter in model.named_parameters():
        if name not in values:
            continue
        new = values[name].to(parameter.dtype)
        if mask is not None:
            chosen = mask.entries.get(name)
            if chosen is None:
                continue
            new = torch.where(chosen.to(parameter.device), new, parameter)
        parameter.copy_(new)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that ask for a gradient, by name.

    Raises:
        ConfigError: there is none.
    """
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not own:
        raise ConfigError("no parameter of the model is trainable; set requires_grad on some")
    return own


class MovingWeights:
    """The tensors that an optimiser may see: nothing else can move."""

    def __init__(
        self, model: nn.Module, mask: SaliencyMask | None = None, extra: nn.Module | None = None
    ) -> None:
        """Collect them.

        Args:
            model: without a mask its trainable parameters move, in place.
            mask: `SelectedWeights` of it move, of parameters trainable or not.
            extra: a part beside the model whose parameters all move, such as a further output.

        Raises:
            ConfigError: nothing is trainable.
            MaskError: the mask does not fit the model.
        """
        self._selected = None
        if mask is None:
            own = trainable(model)
        else:
            self._selected = SelectedWeights(model, mask.entries)
            own = self._selected.vectors
        further = {} if extra is None else dict(extra.named_parameters())
        self.vectors: dict[str, nn.Parameter] = {
            **own,
            **{f"extra.{name}": parameter for name, parameter in further.items()},
        }

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self.vectors.values())).device

    def write_back(self) -> None:
        """Let the model have the values, after each change of them."""
        if self._selected is not None:
            self._selected.write_back()

    def release(self) -> None:
        """Let go of the model and its gradients; it keeps its values."""
        for tensor in self.vectors.values():
            tensor.grad = None
        if self._selected is not None:
            self._selected.release()
