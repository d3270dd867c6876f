"""A second network without a second network: the base, or an average that follows the training."""

# B samples, C x H x W latents.

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.errors import ConfigError
from erasure.training.weights.trainables import Trainables


class FrozenDenoiser:
    """Answers of the network in training with other values of the selected weights for a call.

    These are those of the base, or a moving average that starts there. Its memory is that of the
    selected values alone. Ask it before the student's pass with a gradient, not between that pass
    and its backward pass: torch refuses the latter, as the weights behind the graph have changed.
    """

    def __init__(
        self,
        denoise: Denoiser,
        selected: Trainables,
        *,
        needed: bool,
        decay: float = 1.0,
        origin: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        """Remember the base's values.

        Args:
            denoise: of the network that `selected` moves, before its first step.
            needed: whether it will be asked; without, it remembers nothing but an average, and
                refuses to answer where there is none.
            decay: share that the values keep of themselves in each step, in (0, 1]; the rest is
                the student's. With 1 they are the base's for ever.
            origin: parameter -> its value in another base, which then answers in this one's place;
                whole tensors, of all selected parameters and of those that differ.

        Raises:
            ConfigError: the decay is out of range, or there is an origin for an average.
        """
        if origin is not None and decay < 1:
            raise ConfigError(
                "the method has a teacher that follows the training and asks no base, so an origin "
                "would not be read; leave it out"
            )
        if not 0 < decay <= 1:
            raise ConfigError(f"the decay of the average is {decay}; give more than 0, at most 1")
        self._denoise, self._selected, self._decay = denoise, selected, decay
        self._base: dict[str, Tensor] | None = None
        if needed or decay < 1:  # an average comes out also where nobody asks it
            self._base = {k: v.detach().clone() for k, v in selected.vectors.items()}
        self._origin = dict(origin or {})
        self._depth = 0

    @property
    def average(self) -> Mapping[str, Tensor]:
        """The moving average of each selected vector; empty where the values stay the base's."""
        return self._base if self._base is not None and self._decay < 1 else {}

    def tensors(self) -> dict[str, Tensor]:
        """What a state must hold of it: the average."""
        return {f"average.{name}": value for name, value in self.average.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the average out of a state.

        Raises:
            KeyError: the state has none.
        """
        for name, value in self.average.items():
            value.copy_(tensors[f"average.{name}"])

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the student, after a step of the optimiser."""
        for name, value in self.average.items():
            value.lerp_(self._selected.vectors[name].detach(), 1 - self._decay)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the other values in the network for a block with several calls."""
        if self._base is None:
            raise ConfigError(
                "the base's answers were asked for by a method that does not name 'frozen' among "
                "its needs; add it there"
            )
        outer = self._depth == 0
        own = {parameter: parameter.data for parameter in self._origin} if outer else {}
        for parameter in own:
            parameter.data = self._origin[parameter].to(parameter.dtype)
        asked = outer and (self._selected.apart or not self._origin)
        if asked:
            self._selected.write(self._base)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            for parameter, values in own.items():
                parameter.data = values
            if asked:
                self._selected.write_back()

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W), without a gradient."""
        with self.held():
            return self._denoise(x_t, t, condition)
