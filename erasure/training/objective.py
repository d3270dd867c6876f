"""What a step of a training minimises: a loss on what is forgotten and one on what is kept."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from erasure.diffusion.denoiser import Denoiser

B_contra = TypeVar("B_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Loss:
    """Both parts, weighted; their sum is minimised."""

    forget: Tensor
    """()"""
    retain: Tensor
    """()"""

    @property
    def total(self) -> Tensor:
        """()"""
        return self.forget + self.retain


class Objective(Protocol[B_contra]):
    """What a step minimises; owns its settings, never weights or devices."""

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: B_contra, /) -> Loss:
        """Losses that are means over samples and elements.

        Args:
            student: the network in training.
            frozen: the base's answers, to be asked before the student's pass with a gradient.
        """
        ...
