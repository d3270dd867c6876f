"""Prompts for flow transformers: CLIP and T5 side by side, each in the place its family reads it.

Source: `encode_prompt` of diffusers' `StableDiffusion3Pipeline` and `FluxPipeline`.
"""

# B samples, L tokens, D text features, P pooled ones.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.architectures.text.text_encoders import TokenIds, Towers, last_words
from erasure.diffusion.denoiser import TOKENS, Condition

POOLED: Final = "pooled_projections"
"""Name in a condition of the pooled text features, as the transformers call it."""


@dataclass(frozen=True, slots=True)
class Sd3Text(Towers):
    """CLIP-L, CLIP-G and T5, or zeros in the place of T5.

    The features before the last layer of both CLIPs stand side by side, filled up with zeros to
    T5's width, and T5's tokens follow behind. The projected pooled features of both CLIPs are
    pooled. An empty prompt is encoded like any other.
    """

    length: int
    """T5's tokens."""
    width: int
    """D"""

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """See `Towers.encode`."""
        first, second, *third = self._outputs(tokens, embeddings)
        clip = torch.cat([one.hidden_states[-2].float() for one in (first, second)], dim=-1)
        clip = F.pad(clip, (0, self.width - clip.shape[-1]))
        words = (
            third[0].last_hidden_state.float()
            if third
            else clip.new_zeros(len(clip), self.length, self.width)
        )
        pooled = torch.cat([one.text_embeds.float() for one in (first, second)], dim=-1)
        return Condition({TOKENS: torch.cat([clip, words], dim=1), POOLED: pooled})


@dataclass(frozen=True, slots=True)
class FluxText(Towers):
    """CLIP-L, of which only the pooled feature is read, without projection; and T5's tokens."""

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """See `Towers.encode`."""
        clip, words = self._outputs(tokens, embeddings)
        pooled = clip.pooler_output.float()
        return Condition({TOKENS: words.last_hidden_state.float(), POOLED: pooled})

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among T5's tokens, (len(prompts),) int64."""
        return last_words(self.tokenizers[1], prompts)
