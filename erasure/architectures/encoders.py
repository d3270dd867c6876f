"""What every family's encoders are: prompts to conditions, and pictures to latents and back."""

# B samples, L tokens, E numbers a token, C x h x w latents, H x W pixels.

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from erasure.architectures.text.text_encoders import TokenIds
from erasure.diffusion.denoiser import Condition


class PromptEncoder(Protocol):
    """Turns prompts into what the denoiser is told."""

    @property
    def towers(self) -> Sequence[tuple[Any, Any]]:
        """The tokenizer and the network of each text encoder."""
        ...

    def __call__(self, prompts: Sequence[str], batch_size: int = ..., /) -> Condition:
        """Encode prompts into a condition of as many rows, float32 on CPU."""
        ...

    def tokenize(self, prompts: Sequence[str]) -> Sequence[TokenIds]:
        """Cut B prompts into tokens, on CPU: one entry for each text encoder."""
        ...

    def embed(self, tokens: Sequence[TokenIds]) -> Sequence[Tensor]:
        """Look up what each network reads at each token, before it adds the place: (B, L, E)."""
        ...

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = ...
    ) -> Condition:
        """Encode tokens, or other embeddings in their place, into the condition of B prompts."""
        ...

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Find the place of each prompt's last word piece among its tokens, (len(prompts),)."""
        ...

    def unguided(self, empty: Condition) -> Condition:
        """Make what guidance leads away from out of the encoded empty prompt."""
        ...

    def to(self, device: torch.device) -> "PromptEncoder":
        """Move it, in place."""
        ...


class Codec(Protocol):
    """Turns pictures into latents and back."""

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode pixels (B, 3, H, W) in [-1, 1] into mean and deviation of what the denoiser takes,
        (B, C, h, w) float32 on CPU."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, h, w) as the denoiser leaves them into pixels (B, 3, H, W) in
        about [-1, 1], float32 on the codec's device."""
        ...

    def to(self, device: torch.device) -> "Codec":
        """Move it, in place."""
        ...
