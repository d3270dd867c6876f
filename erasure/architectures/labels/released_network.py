"""The network of SalUn's release for its class-conditional DDPM, with the names of its weights.

Facts of it: the class and the time have an embedding of their own each, both behind two linear
layers; each residual block projects the two side by side. No class is a vector beside the table.
Written anew from the names and shapes of its checkpoints and from arXiv:2006.11239, appendix B.
"""

# B samples, C x H x W pixels, E = 4 ch features of an embedding.

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_GROUPS = 32
_EPS = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedConfig:
    """Sizes of the network; those of its CIFAR-10 checkpoints are the defaults."""

    sample_size: int = 32
    """Pixels a side."""
    in_channels: int = 3
    num_class_embeds: int = 11
    """Classes, and one more for no class."""
    width: int = 128
    """Channels of the first level, `ch` in the release."""
    multipliers: Sequence[int] = (1, 2, 2, 2)
    """The factor of the width, by level."""
    blocks: int = 2
    """Residual blocks a level."""
    attention: Sequence[int] = (16,)
    """Pixels a side of the levels that have attention."""
    dropout: float = 0.1


class _Embedding(nn.Module):
    """Two linear layers, under the name `dense`."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList([nn.Linear(inner, outer), nn.Linear(outer, outer)])

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.dense[1](F.silu(self.dense[0](values)))
        return answer


class _Block(nn.Module):
    """A residual block that hears time and class."""

    def __init__(self, inner: int, outer: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_GROUPS, inner, eps=_EPS)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.temb_cemb_proj = nn.Linear(condition, outer)
        self.norm2 = nn.GroupNorm(_GROUPS, outer, eps=_EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        if inner != outer:
            self.nin_shortcut = nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = hidden + self.temb_cemb_proj(F.silu(condition))[:, :, None, None]
        hidden = self.conv2(self.dropout(F.silu(self.norm2(hidden))))
        skip = self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x
        answer: Tensor = skip + hidden
        return answer


class _Attention(nn.Module):
    """Self-attention of one head over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, eps=_EPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        queries, keys, values = (
            layer(normed).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )  # (B, HW, C) each
        mixed = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
        answer: Tensor = x + self.proj_out(mixed.reshape(x.shape))
        return answer


class _Resampler(nn.Module):
    """Halves or doubles the picture, its convolution under the name `conv`."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self._up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.interpolate(x, scale_factor=2.0) if self._up else F.pad(x, (0, 1, 0, 1))
        answer: Tensor = self.conv(wide)
        return answer


class _Level(nn.Module):
    """The blocks of one size on one side."""

    def __init__(
        self, widths: Sequence[tuple[int, int]], condition: int, config: ReleasedConfig
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Block(a, b, condition, config.dropout) for a, b in widths)
        self.attn = nn.ModuleList()


class ReleasedUNet(nn.Module):
    """The whole network; its state has the names of the released checkpoints."""

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        width, condition = config.width, 8 * config.width
        self._width, self._none = width, config.num_class_embeds - 1
        self._through: Callable[..., Any] | None = None
        self.temb, self.cemb = _Embedding(width, 4 * width), _Embedding(width, 4 * width)
        self.classes_emb = nn.Embedding(self._none, width)
        self.null_classes_emb = nn.Parameter(torch.randn(width))
        self.conv_in = nn.Conv2d(config.in_channels, width, 3, padding=1)
        widths = [width * m for m in config.multipliers]
        before = [width, *widths[:-1]]
        sides = [config.sample_size >> level for level in range(len(widths))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inner, outer) in enumerate(zip(before, widths, strict=True)):
            part = _Level(
                [(inner, outer), *[(outer, outer)] * (config.blocks - 1)], condition, config
            )
            if level < len(widths) - 1:
                part.downsample = _Resampler(outer, up=False)
            self.down.append(part)
        self.mid = nn.Module()
        self.mid.block_1 = _Block(widths[-1], widths[-1], condition, config.dropout)
        self.mid.attn_1 = _Attention(widths[-1])
        self.mid.block_2 = _Block(widths[-1], widths[-1], condition, config.dropout)
        for level, outer in enumerate(widths):
            below = widths[min(level + 1, len(widths) - 1)]
            skips = [*[outer] * config.blocks, before[level]]
            entering = [below, *[outer] * config.blocks]
            pairs = [(a + b, outer) for a, b in zip(entering, skips, strict=True)]
            part = _Level(pairs, condition, config)
            if level:
                part.upsample = _Resampler(outer, up=True)
            self.up.append(part)
        for part, side, outer in zip((*self.down, *self.up), sides * 2, widths * 2, strict=True):
            if side in config.attention:
                part.attn.extend(_Attention(outer) for _ in part.block)
        self.norm_out = nn.GroupNorm(_GROUPS, widths[0], eps=_EPS)
        self.conv_out = nn.Conv2d(widths[0], config.in_channels, 3, padding=1)

    def enable_gradient_checkpointing(self, through: Callable[..., Any] | None = None) -> None:
        """Compute the blocks again in the backward pass, while in training mode."""
        self._through = through or _again

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, *, return_dict: bool = False) -> Any:  # noqa: ANN401
        """x (B, C, H, W), t (B,), labels (B,) with the last for no class -> ((B, C, H, W),)."""
        condition = torch.cat([self.temb(self._time(t)), self.cemb(self._class(labels))], dim=1)
        condition = condition.to(x.dtype)  # (B, 2 E)
        down: Any = self.down
        up: Any = self.up
        skips = [self.conv_in(x)]
        for level in down:
            for n, block in enumerate(level.block):
                skips.append(self._one(block, level.attn, n, skips[-1], condition))
            if hasattr(level, "downsample"):
                skips.append(level.downsample(skips[-1]))
        hidden = self._one(self.mid.block_1, [self.mid.attn_1], 0, skips[-1], condition)
        hidden = self._one(self.mid.block_2, [], 0, hidden, condition)
        for level in reversed(up):
            for n, block in enumerate(level.block):
                joined = torch.cat([hidden, skips.pop()], dim=1)
                hidden = self._one(block, level.attn, n, joined, condition)
            if hasattr(level, "upsample"):
                hidden = level.upsample(hidden)
        return (self.conv_out(F.silu(self.norm_out(hidden))),)

    def _one(self, block: Any, attention: Any, n: int, x: Tensor, condition: Tensor) -> Tensor:  # noqa: ANN401
        """One block, and the attention behind it where the level has any."""
        through = self._through if self.training else None
        hidden: Tensor = block(x, condition) if through is None else through(block, x, condition)
        return attention[n](hidden) if len(attention) else hidden

    def _time(self, t: Tensor) -> Tensor:
        """Sines and cosines, (B, width); arXiv:1706.03762, 3.5, with the sines first."""
        half = self._width // 2
        rates = torch.arange(half, device=t.device, dtype=torch.float32)
        angles = t.float()[:, None] * torch.exp(rates * (-math.log(10000) / (half - 1)))
        return torch.cat([angles.sin(), angles.cos()], dim=1).to(self.classes_emb.weight.dtype)

    def _class(self, labels: Tensor) -> Tensor:
        """The row of each class, or the vector of no class, (B, width)."""
        none = labels == self._none
        rows = self.classes_emb(labels.masked_fill(none, 0))
        chosen: Tensor = torch.where(none[:, None], self.null_classes_emb, rows)
        return chosen


def _again(block: nn.Module, *inputs: Tensor) -> Any:  # noqa: ANN401
    return checkpoint(block, *inputs, use_reentrant=False)
