"""The network as it was before the first step, without a second network."""

# B samples, C x H x W latents.

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.errors import ConfigError
from erasure.training.selected import SelectedWeights


class FrozenDenoiser:
    """Answers of the base: the network in training with the selected weights put back for a call.

    Its memory is that of the selected values alone. Ask it before the student's pass with a
    gradient, not between that pass and its backward pass: torch refuses the latter, as the weights
    behind the graph have changed.
    """

    def __init__(self, denoise: Denoiser, selected: SelectedWeights, *, needed: bool) -> None:
        """Remember the base's values.

        Args:
            denoise: of the network that `selected` moves, before its first step.
            needed: whether it will be asked; without, it remembers nothing and refuses to answer.
        """
        self._denoise, self._selected = denoise, selected
        self._base: dict[str, Tensor] | None = None
        if needed:
            self._base = {k: v.detach().clone() for k, v in selected.vectors.items()}
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the base's values in the network for a block with several calls."""
        if self._base is None:
            raise ConfigError(
                "the base's answers were asked for by a method that does not name 'frozen' among "
                "its needs; add it there"
            )
        if self._depth == 0:
            self._selected.write(self._base)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._selected.write_back()

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, H, W), (B,), conditions of B samples -> (B, C, H, W), without a gradient."""
        with self.held():
            return self._denoise(x_t, t, condition)
