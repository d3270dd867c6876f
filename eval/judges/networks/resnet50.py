"""torchvision's ResNet-50 for ImageNet, the classifier of the papers, without torchvision.

The network is that of `transformers`, the weights are torchvision's file: its names are
translated. torchvision itself cannot stand beside a CPU-only torch.
"""

import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.judges.networks.efficientnet import read_published
from eval.pictures.crop import centre_square
from eval.weights.fetched_weights import TORCHVISION, fetch_weights

FILE: Final = "resnet50-11ad3fa6.pth"
"""`ResNet50_Weights.IMAGENET1K_V2`, its default."""
FILE_HASH: Final = "11ad3fa6"
"""Start of its SHA-256."""
SHORTER: Final = 232
SIDE: Final = 224
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
PREPROCESSING: Final = (
    f"shorter side {SHORTER} bilinear, centre {SIDE}, ImageNet's mean and standard deviation"
)


def find_weights(weights: str | None = None) -> Path:
    """The weights' file: the one given, the one in torch's cache, or else downloaded into it.

    Raises:
        EvalError: it is not there and cannot be downloaded; says what else there is.
    """
    if weights is None:
        return fetch_weights(
            f"{TORCHVISION}{FILE}",
            FILE_HASH,
            otherwise="give the path of a copy, or use the judge imagenet, whose weights come in "
            "a package",
        )
    path = Path(os.path.expanduser(weights))
    if not path.is_file():
        raise EvalError(f"there is no file {path} of ResNet-50 weights; check the path")
    return path


def load_resnet50(path: Path, sha256: str) -> Any:  # noqa: ANN401
    """torchvision's weights in `transformers.ResNetForImageClassification`, evaluation mode.

    Raises:
        EvalError: the file is damaged, or holds another network.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[256, 512, 1024, 2048],
        depths=[3, 4, 6, 3],
        layer_type="bottleneck",
        downsample_in_bottleneck=False,  # the stride is in the 3x3 convolution
    )
    config.num_labels = 1000
    with torch.device("meta"):  # no time is spent on random weights
        network = ResNetForImageClassification(config)
    state = {_translated(name): value for name, value in read_published(path, sha256).items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as err:
        reason = " ".join(str(err).split())[:150]
        raise EvalError(
            f"{path} holds no ResNet-50 of torchvision ({reason}); give {FILE}"
        ) from err
    return network.float().eval()


def pixels(image: Image.Image) -> Tensor:
    """Any picture -> float32 (3, 224, 224), as torchvision's transform of these weights."""
    square = centre_square(image, shorter=SHORTER, side=SIDE, resample=Image.Resampling.BILINEAR)
    values = np.array(square, dtype=np.float32) / 255  # (H, W, 3)
    scaled = (values - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1).contiguous()


def _translated(name: str) -> str:
    """torchvision's name of a weight -> that of transformers."""
    kinds = {"conv": "convolution", "bn": "normalization"}
    if stem := re.fullmatch(r"(conv|bn)1\.(.+)", name):
        return f"resnet.embedder.embedder.{kinds[stem[1]]}.{stem[2]}"
    if inner := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(.+)", name):
        stage, layer, kind, number, rest = inner.groups()
        place = f"resnet.encoder.stages.{int(stage) - 1}.layers.{layer}"
        return f"{place}.layer.{int(number) - 1}.{kinds[kind]}.{rest}"
    if cut := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.([01])\.(.+)", name):
        stage, layer, number, rest = cut.groups()
        kind = "convolution" if number == "0" else "normalization"
        return f"resnet.encoder.stages.{int(stage) - 1}.layers.{layer}.shortcut.{kind}.{rest}"
    return name.replace("fc.", "classifier.1.")
