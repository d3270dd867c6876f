"""EfficientNet-Lite as a measure of pictures: what there is where no hub can be reached."""

# B pictures, F = 1280 channels, G = 7 to 9 positions a side.

from typing import Final

import torch
from PIL import Image
from torch import Tensor

from eval.judges.networks.efficientnet import SIDES, load_efficientnet
from eval.pictures.crop import centre_square
from eval.pictures.picture_bytes import Pictures, rgb_pictures, to_bytes

LITE_NAMES: Final = tuple(SIDES)
OFFLINE: Final = LITE_NAMES[0]
"""The one that the extra `imagenet` brings along."""


class LiteMaps:
    """The last feature map of a network trained on ImageNet."""

    def __init__(self, name: str = OFFLINE, device: torch.device | str = "cpu") -> None:
        """EvalError if the name is unknown, or its packages are missing or damaged."""
        self._lite, self._device = load_efficientnet(name, device=device), device
        self.name = name
        self.protocol: dict[str, str | int | float] = {
            "network": name,
            "package": self._lite.package,
            "weights": self._lite.weights,
            "sha256": self._lite.sha256,
            "input": f"shorter side {self._lite.side} bicubic, centre square, (x - 127) / 128",
        }

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        """Float32 (B, F, G, G) on the device.

        All of a square picture is seen, where the classifier cuts its border off; of an oblong
        one the square around the centre.
        """
        side = self._lite.side
        squares = [
            centre_square(image, shorter=side, side=side, resample=Image.Resampling.BICUBIC)
            for image in rgb_pictures(pictures)
        ]
        pixels = torch.stack([to_bytes(square) for square in squares])  # (B, 3, side, side)
        maps: Tensor = self._lite.network.extract_features(
            (pixels.to(self._device).float() - 127) / 128
        )
        return maps


class LiteFeatures:
    """Pooled features (B, F) for a Fréchet or a kernel distance; never called FID or KID."""

    is_inception = False

    def __init__(self, name: str = OFFLINE, device: torch.device | str = "cpu") -> None:
        self._maps, self.name = LiteMaps(name, device), name
        self.protocol = self._maps.protocol | {"pooling": "mean over the last feature map"}

    def __call__(self, pictures: Pictures, /) -> Tensor:
        return self._maps(pictures).mean((2, 3)).cpu()
