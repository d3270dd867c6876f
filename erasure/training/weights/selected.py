"""The weights that a mask frees, as short vectors of their own; nothing else can move."""

# n weights of one parameter, s of them selected.

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erasure.diffusion.precision import wide
from erasure.errors import MaskError
from erasure.masks.positions import Positions
from erasure.team import Team
from erasure.training.weights.trainables import sum_over


class SelectedWeights:
    """Trainable vectors, one a parameter, holding just the weights that a mask selects.

    An optimiser sees only these vectors, so weight decay, momentum and anything else it may do
    cannot reach an unselected weight: it keeps its bits by construction. The update of a selected
    weight is that of the same optimiser on the full parameters with masked gradients, for every
    optimiser that treats weights one by one (SGD, Adam, AdamW...). Its state is as short as the
    vectors. The full gradient of a parameter is read when it is complete and freed at once.

    The vectors are float32, or float64 for parameters of that type. Memory: 4 bytes of value and 4
    of gradient a selected weight, and their `Positions`: a bit a weight, or less.
    """

    apart = False

    def __init__(
        self,
        network: nn.Module,
        mask: Mapping[str, Tensor],
        start: Mapping[str, Tensor] | None = None,
        homes: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        """Freeze what the mask leaves out and hook the rest.

        Args:
            network: its parameters are named as in `mask`; they stay where they are.
            mask: bool tensors of the parameters' shapes; a missing name selects nothing.
            start: name -> values of the parameters, on any device, that the vectors begin with;
                those of the network if none. Give them where its type is narrower.
            homes: parameter -> where its values lie, of those that hold none themselves.

        Raises:
            MaskError: a name or shape does not fit, or nothing is selected.
        """
        parameters = dict(network.named_parameters())
        _check(mask, parameters)
        self._network, self._homes = network, homes or {}
        self._parameters: dict[str, nn.Parameter] = {}
        self.rows: dict[str, Positions] = {}
        """Where the values of each vector lie in its parameter."""
        self._hooks: list[Any] = []
        self.vectors: dict[str, nn.Parameter] = {}
        for name, parameter in parameters.items():
            chosen = mask.get(name)
            if chosen is None or not chosen.any():
                parameter.requires_grad_(False)
                continue
            self.rows[name] = Positions.of(chosen, parameter.device)
            parameter.requires_grad_(True)
            self._parameters[name] = parameter
            source = self._home(name).detach() if start is None else start[name]
            rows = self.rows[name].indices().to(source.device)  # (s,)
            values = source.flatten().index_select(0, rows)
            kind = torch.promote_types(parameter.dtype, torch.float32)  # that of its gradients
            self.vectors[name] = nn.Parameter(values.to(parameter.device, kind))
            hook = self._take_gradient(name)
            self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))
        if not self.vectors:
            raise MaskError("the mask selects no weight; choose a larger density or another scope")

    def _take_gradient(self, name: str) -> Callable[[Tensor], None]:
        def take(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            assert gradient is not None
            vector = self.vectors[name]
            part = wide(gradient.flatten().index_select(0, self.rows[name].indices()))
            vector.grad = part if vector.grad is None else vector.grad.add_(part)

        return take

    def write_back(self) -> None:
        """Copy the vectors' values into the network, after each step of the optimiser."""
        self.write(self.vectors)

    @torch.no_grad()
    def write(self, values: Mapping[str, Tensor]) -> None:
        """Copy other values of the selected weights into the network; the vectors stay.

        Args:
            values: a vector of each one's length by the names of `vectors`.
        """
        for name, vector in values.items():
            home = self._home(name)
            flat = home.flatten()  # A view, but for the memory formats where it is a copy.
            rows = self.rows[name].indices().long().to(home.device)
            # What leaves a device waits for all that it was told to copy from here before.
            flat.index_copy_(0, rows, vector.detach().to(home.device, home.dtype))
            if flat.data_ptr() != home.data_ptr():
                home.copy_(flat.view(home.shape))

    def _home(self, name: str) -> Tensor:
        """The tensor that holds a parameter's values."""
        parameter = self._parameters[name]
        return self._homes.get(parameter, parameter)

    def sum_gradients(self, team: Team) -> None:
        """Add up the gradients of all processes, in place."""
        sum_over(team, self.vectors)

    def release(self) -> None:
        """Take the hooks off; the network keeps its values."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()


def _check(mask: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, chosen in mask.items():
        if name not in parameters:
            raise MaskError(
                f"the mask names {name!r}, which this model has not; make the mask from this model"
            )
        if chosen.shape != parameters[name].shape:
            raise MaskError(
                f"the mask of {name!r} has shape {tuple(chosen.shape)}, the weight has "
                f"{tuple(parameters[name].shape)}; make the mask from this model"
            )


def moved_outside(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], mask: Mapping[str, Tensor]
) -> list[str]:
    """Names of the tensors in which a weight outside the mask has other bits than before.

    An empty list is the proof that only selected weights moved. Compares bytes, so -0.0 is not
    0.0 and a NaN equals itself.
    """
    moved = []
    for name, old in before.items():
        new = after[name]
        same = old.dtype == new.dtype and old.shape == new.shape
        if same:
            differs = differing(old, new)
            chosen = mask.get(name)
            if chosen is not None:
                differs &= ~chosen.to(old.device)
            same = not bool(differs.any())
        if not same:
            moved.append(name)
    return moved


def differing(old: Tensor, new: Tensor) -> Tensor:
    """Where two tensors of one type and shape have other bits, bool, on the device of `old`."""
    kind = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[old.element_size()]
    one, other = old.detach().contiguous(), new.detach().to(old.device).contiguous()
    return one.view(kind) != other.view(kind)
