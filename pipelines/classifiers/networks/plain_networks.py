"""Networks without shortcuts: VGG-16 with BatchNorm for pictures, a perceptron for anything."""

# B examples, C channels, H x W pixels, F features, K classes.

from typing import Final

import torch
from torch import Tensor, nn

_VGG16: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of each convolution; 0 halves the picture."""
_HIDDEN: Final = 256


class VGG(nn.Module):
    """arXiv:1409.1556, configuration D, with BatchNorm and one linear layer, as for CIFAR."""

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = channels
        for full in _VGG16:
            if full == 0:
                # Rounding up leaves a pixel of 28x28 pictures after five halvings.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            outer = max(1, round(width * full))
            layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
            inner = outer
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inner, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K)."""
        logits: Tensor = self.head(self.features(pixels).mean(dim=(2, 3)))
        return logits


class Perceptron(nn.Module):
    """Two hidden layers of 256 times the width."""

    def __init__(self, features: int, classes: int, width: float) -> None:
        super().__init__()
        hidden = max(1, round(width * _HIDDEN))
        self.first = nn.Linear(features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, values: Tensor) -> Tensor:
        """(B, F) or pictures (B, C, H, W) -> logits (B, K)."""
        hidden = torch.relu(self.first(values.flatten(1)))
        logits: Tensor = self.head(torch.relu(self.second(hidden)))
        return logits
