"""From prompts to conditions, through one text encoder or the two of Stable Diffusion XL."""

# B samples, L tokens, D text features, P pooled ones.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from erasure.diffusion.denoiser import TOKENS, Condition, join

POOLED: Final = "text_embeds"
TIME_IDS: Final = "time_ids"
"""Names in a condition of what SD XL is told besides tokens, as its UNet calls them."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Turns prompts into conditions."""

    tokenizer: Any
    """CLIPTokenizer"""
    network: Any
    """CLIPTextModel"""

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts, cut to the tokenizer's length -> (len(prompts), L, D), float32 on CPU."""
        parts = []
        for start in range(0, len(prompts), batch_size):
            tokens = _tokenize(self.tokenizer, prompts[start : start + batch_size])
            ids = tokens.input_ids.to(self.network.device)
            mask = None
            if getattr(self.network.config, "use_attention_mask", False):
                mask = tokens.attention_mask.to(self.network.device)
            parts.append(self.network(ids, attention_mask=mask).last_hidden_state.float().cpu())
        return Condition({TOKENS: torch.cat(parts)})

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among its tokens, (len(prompts),) int64."""
        return _last_words(self.tokenizer, prompts)

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: that prompt."""
        return empty

    def to(self, device: torch.device) -> "TextEncoder":
        """Moved, in place."""
        self.network.to(device)
        return self


@dataclass(frozen=True, slots=True)
class TextEncoderPair:
    """Turns prompts into conditions through the two text encoders of SD XL.

    Tokens are the features before the last layer of both, side by side; the second one's pooled
    and projected feature is added, as `StableDiffusionXLPipeline` does. The picture's size is still
    to be told, see `with_size`.

    Source: arXiv:2307.01952, section 2.1.
    """

    tokenizers: tuple[Any, Any]
    """CLIPTokenizer"""
    networks: tuple[Any, Any]
    """CLIPTextModel, CLIPTextModelWithProjection"""
    zeros_unguided: bool = True
    """`force_zeros_for_empty_prompt`: guidance leads away from zeros, not from the empty prompt."""

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts, cut to the tokenizers' length -> tokens (len(prompts), L, D) and `text_embeds`
        (len(prompts), P), float32 on CPU."""
        parts = []
        for start in range(0, len(prompts), batch_size):
            told = []
            for tokenizer, network in zip(self.tokenizers, self.networks, strict=True):
                ids = _tokenize(tokenizer, prompts[start : start + batch_size]).input_ids
                output = network(ids.to(network.device), output_hidden_states=True)
                told.append(output.hidden_states[-2].float().cpu())
            pooled = output.text_embeds.float().cpu()
            parts.append(Condition({TOKENS: torch.cat(told, dim=-1), POOLED: pooled}))
        return join(parts)

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among its tokens, (len(prompts),) int64.

        Both tokenizers have the same words, so one place serves for both.
        """
        return _last_words(self.tokenizers[0], prompts)

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: zeros, or that prompt."""
        if not self.zeros_unguided:
            return empty
        return Condition({n: torch.zeros_like(value) for n, value in empty.tensors.items()})

    def to(self, device: torch.device) -> "TextEncoderPair":
        """Moved, in place."""
        for network in self.networks:
            network.to(device)
        return self


def with_size(condition: Condition, height: int, width: int) -> Condition:
    """Tell SD XL the size of its pictures, in pixels, neither scaled nor cropped; others unchanged.

    Source: arXiv:2307.01952, section 2.2: original size, upper left corner of the crop, size.
    """
    if POOLED not in condition.tensors:
        return condition
    ids = torch.tensor([height, width, 0, 0, height, width]).to(condition.tensors[POOLED])
    ids = ids.repeat(len(condition), 1)  # (B, 6)
    return condition.having(**{TIME_IDS: ids})


def _tokenize(tokenizer: Any, prompts: Sequence[str]) -> Any:  # noqa: ANN401
    return tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")


def _last_words(tokenizer: Any, prompts: Sequence[str]) -> Tensor:  # noqa: ANN401
    """Before the end-of-text token; the start token where there is no word."""
    ids = tokenizer(list(prompts), truncation=True).input_ids
    return torch.tensor([max(0, len(row) - 2) for row in ids])
