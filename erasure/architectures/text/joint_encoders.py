"""Prompts for flow transformers: CLIP and T5 side by side, each in the place its family reads it.

Source: `encode_prompt` of diffusers' `StableDiffusion3Pipeline` and `FluxPipeline`.
"""

# B samples, L tokens, E embedding features, D text features, P pooled ones.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.architectures.text.text_encoders import (
    TokenIds,
    embed,
    in_parts,
    last_words,
    reading,
    tokenize,
)
from erasure.diffusion.denoiser import TOKENS, Condition

POOLED: Final = "pooled_projections"
"""Name in a condition of the pooled text features, as the transformers call it."""


@dataclass(frozen=True, slots=True)
class JointTowers:
    """Text encoders in the order of their components, each with its tokenizer."""

    tokenizers: tuple[Any, ...]
    networks: tuple[Any, ...]

    @property
    def towers(self) -> tuple[tuple[Any, Any], ...]:
        """The tokenizer and the network of each."""
        return tuple(zip(self.tokenizers, self.networks, strict=True))

    def tokenize(self, prompts: Sequence[str]) -> tuple[TokenIds, ...]:
        """Look up the tokens of B prompts, on CPU; each tokenizer fills up with its own token."""
        return tuple(tokenize(one, prompts) for one in self.tokenizers)

    def embed(self, tokens: Sequence[TokenIds]) -> tuple[Tensor, ...]:
        """What each network reads at each token: (B, L, E), one a network."""
        return tuple(embed(one, words) for one, words in zip(self.networks, tokens, strict=True))

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: that prompt."""
        return empty

    def to(self, device: torch.device) -> Self:
        """Moved, in place."""
        for network in self.networks:
            network.to(device)
        return self

    def _outputs(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None
    ) -> list[Any]:
        """What each network makes; no token is masked, as padding takes part in these families."""
        made = []
        nothing = (None,) * len(self.networks)
        for network, words, instead in zip(
            self.networks, tokens, embeddings or nothing, strict=True
        ):
            with reading(network, instead):
                made.append(network(words.ids.to(network.device), output_hidden_states=True))
        return made


@dataclass(frozen=True, slots=True)
class Sd3Text(JointTowers):
    """CLIP-L, CLIP-G and T5, or zeros in the place of T5.

    The features before the last layer of both CLIPs stand side by side, filled up with zeros to
    T5's width, and T5's tokens follow behind. The projected pooled features of both CLIPs are
    pooled. An empty prompt is encoded like any other.
    """

    length: int
    """T5's tokens."""
    width: int
    """D"""

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts -> tokens (len(prompts), L, D) and pooled (len(prompts), P), float32 on CPU."""
        return in_parts(self, prompts, batch_size)

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """The condition of B prompts, float32 on the networks' device.

        Args:
            embeddings: what to read in the place of `embed(tokens)`, one for each network.

        Raises:
            ConfigError: the embeddings have other shapes than `embed(tokens)`.
        """
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

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among CLIP's tokens, (len(prompts),) int64."""
        return last_words(self.tokenizers[0], prompts)


@dataclass(frozen=True, slots=True)
class FluxText(JointTowers):
    """CLIP-L, of which only the pooled feature is read, without projection; and T5's tokens."""

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts -> tokens (len(prompts), L, D) and pooled (len(prompts), P), float32 on CPU."""
        return in_parts(self, prompts, batch_size)

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """The condition of B prompts, float32 on the networks' device.

        Args:
            embeddings: what to read in the place of `embed(tokens)`, one for each network.

        Raises:
            ConfigError: the embeddings have other shapes than `embed(tokens)`.
        """
        clip, words = self._outputs(tokens, embeddings)
        pooled = clip.pooler_output.float()
        return Condition({TOKENS: words.last_hidden_state.float(), POOLED: pooled})

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among T5's tokens, (len(prompts),) int64."""
        return last_words(self.tokenizers[1], prompts)
