"""Small transformers: one for pictures in patches, one for texts.

Without bare parameters and class tokens, so that per-sample gradients and `opacus` understand
every layer.
"""

# B examples, T tokens, D = model width, K classes.

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH: Final = 192
_HEADS: Final = 4
_PATCH: Final = 4
"""Pixels a side."""
_DEPTH: Final = {"image": 6, "text": 2}


class Block(nn.Module):
    """Attention and a two-layer network, each after a LayerNorm and with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project_in, self.project_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, D) -> the same; `mask` (B, 1, 1, T) is False at tokens not to look at."""
        count, tokens, width = x.shape
        parts = self.project_in(self.norm_attention(x))
        q, k, v = parts.view(count, tokens, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, heads, T, D / heads)
        x = x + self.project_out(seen.transpose(1, 2).reshape(count, tokens, width))
        widened: Tensor = self.narrow(F.gelu(self.widen(self.norm_network(x))))
        return x + widened


class VisionTransformer(nn.Module):
    """arXiv:2010.11929 in small: 4x4 patches, the mean of all tokens for a class token."""

    def __init__(self, channels: int, size: int, classes: int, width: float) -> None:
        super().__init__()
        wide = _multiple(width)
        self.patches = nn.Conv2d(channels, wide, _PATCH, _PATCH)
        self.places = nn.Embedding((size // _PATCH) ** 2, wide)
        self.blocks = nn.ModuleList(Block(wide) for _ in range(_DEPTH["image"]))
        self.norm, self.head = nn.LayerNorm(wide), nn.Linear(wide, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, H) -> logits (B, K)."""
        x = self.patches(pixels).flatten(2).transpose(1, 2)  # (B, T, D)
        x = x + _placed(self.places, x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x).mean(dim=1))
        return logits


class TextTransformer(nn.Module):
    """Two blocks over word embeddings; the mean over the words that are there."""

    def __init__(self, vocabulary: int, length: int, classes: int, width: float) -> None:
        super().__init__()
        wide = _multiple(width)
        self.words = nn.Embedding(vocabulary, wide)
        self.places = nn.Embedding(length, wide)
        self.blocks = nn.ModuleList(Block(wide) for _ in range(_DEPTH["text"]))
        self.norm, self.head = nn.LayerNorm(wide), nn.Linear(wide, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Both (B, T); the mask is True at words -> logits (B, K)."""
        there = attention_mask.bool()
        x = 0.1 * self.words(input_ids)  # (B, T, D)
        x = x + _placed(self.places, x)
        for block in self.blocks:
            x = block(x, there[:, None, None, :])
        weight = there.unsqueeze(-1).to(x.dtype)
        mean = (self.norm(x) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        logits: Tensor = self.head(mean)
        return logits


def _multiple(width: float) -> int:
    """Channels that the heads divide."""
    return _HEADS * max(1, round(width * _WIDTH / _HEADS))


def _placed(places: nn.Embedding, x: Tensor) -> Tensor:
    """Position vectors, small against the rest, for each example, (B, T, D)."""
    index = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
    vectors: Tensor = places(index)
    return 0.02 * vectors
