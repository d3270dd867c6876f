"""What an erasure is given: pictures with their prompts, and the prompts of a concept."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PromptedPixels:
    """Pictures of one size with their prompts.

    Raises:
        ConfigError: there are more pictures than prompts, or fewer, or the pictures are no bytes.

    Examples:
        >>> pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
        >>> churches = PromptedPixels(pixels, ["a church"] * 4)
        >>> len(churches.prompts)
        4
    """

    pixels: Tensor
    """(N, 3, H, W) uint8; kept as bytes, since float pictures of 512 pixels fill a memory."""
    prompts: Sequence[str]
    """N prompts."""

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ConfigError(
                f"the pictures are {self.pixels.dtype} of shape {tuple(self.pixels.shape)}; give "
                "bytes from 0 to 255, torch.uint8 of shape (N, 3, H, W): of numbers from 0 to 1 "
                "these are (255 * pixels).round().byte()"
            )
        if len(self.pixels) != len(self.prompts):
            raise ConfigError(
                f"{len(self.pixels)} pictures have {len(self.prompts)} prompts; give one each"
            )


@dataclass(frozen=True, slots=True)
class AnchorPixels:
    """Pictures of what stands in for the concept, with the concept's prompts as captions too."""

    drawn: PromptedPixels
    """With the prompts that they were drawn from."""
    targets: Sequence[str]
    """N prompts of the concept."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What one prompt is pulled by; see `erasure.diffusion.data.concept_data.Pulls`."""

    positive: str
    unconditional: str
    neutral: str
    strength: float
    """Above 0 it leads towards the positive prompt, below away from it."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PromptLists:
    """The prompts of a concept, for methods that work with prompts alone."""

    forget: Sequence[str]
    """Prompts that show it; each has its replacements."""
    retain: Sequence[str] = ()
    """Prompts that must go on working."""
    concepts: Sequence[int] = ()
    """Which of several concepts each prompt to forget shows; empty for a single one."""
    pulls: Sequence[Pull] = ()
    """One for each forget prompt, or none at all."""

    def __post_init__(self) -> None:
        if self.pulls and len(self.pulls) != len(self.forget):
            raise ConfigError(
                f"{len(self.forget)} prompts have {len(self.pulls)} pulls; give one each, or none"
            )

    @property
    def others(self) -> list[str]:
        """The prompts of the pulls."""
        return [text for p in self.pulls for text in (p.positive, p.unconditional, p.neutral)]
