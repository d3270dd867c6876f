"""The Inception network of FID, as a TorchScript file or through torch-fidelity."""

# B pictures, D = 2048 features.

import pickle
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.metrics.lite_features import OFFLINE
from eval.pictures.crop import centre_square
from eval.pictures.picture_bytes import Pictures, by_size, rgb_pictures, to_bytes
from eval.weights.fetched_weights import fetch_weights
from eval.weights.hashing import file_sha256

INCEPTION_SIZE: Final = 2048
INCEPTION_FILE: Final = "inception-2015-12-05.pt"
INCEPTION_URL: Final = (
    f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{INCEPTION_FILE}"
)
INCEPTION_DIGESTS: Final = (
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",  # TorchScript, StyleGAN's
    "6726825d",  # torch-fidelity's and pytorch-fid's; the file's name holds these eight digits
)
"""Starts of the SHA-256 of the files whose features make a Fréchet distance an FID."""


class InceptionFeatures:
    """Features (B, D) of a network that takes bytes and resizes them itself."""

    def __init__(
        self,
        name: str,
        network: Callable[[Tensor], Tensor],
        protocol: dict[str, str | int | float],
        device: torch.device | str,
    ) -> None:
        self.name, self._network, self._device = name, network, device
        self.protocol = protocol | {"features": name, "input": "centre square, bytes"}
        self.is_inception = str(protocol["sha256"]).startswith(INCEPTION_DIGESTS)

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        squares = [to_bytes(_square(image)) for image in rgb_pictures(pictures)]
        return by_size(squares, self._features).cpu()

    def _features(self, pixels: Tensor) -> Tensor:
        try:
            features = self._network(pixels.to(self._device))
        except RuntimeError as err:
            raise EvalError(
                f"{self.name} fails on bytes {tuple(pixels.shape)} ({_reason(err)}); give a "
                "network that takes uint8 (B, 3, H, W)"
            ) from err
        if not isinstance(features, Tensor) or features.shape[:1] != pixels.shape[:1]:
            raise EvalError(f"{self.name} gives no features (B, D) for bytes (B, 3, H, W)")
        return features.flatten(1).float()


def torchscript_features(path: Path, device: torch.device | str = "cpu") -> InceptionFeatures:
    """Features by a TorchScript file: bytes (B, 3, H, W) in, (B, D) out.

    Such a file is a program: give one that you trust. `inception-2015-12-05.pt`, which StyleGAN
    and clean-fid use, is known by its hash, and its features make FID.

    Raises:
        EvalError: the file is missing or is no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # no other reader for such a file
            network: Any = torch.jit.load(str(path), map_location=device).eval()
        digest = file_sha256(path)
    except (OSError, RuntimeError, ValueError) as err:
        raise EvalError(
            f"{path} cannot be read as TorchScript ({_reason(err)}); give a file such as "
            f"{INCEPTION_FILE}, or use {OFFLINE}, which needs no download"
        ) from err
    takes = [argument.name for argument in network.forward.schema.arguments]
    options = {"return_features": True} if "return_features" in takes else {}

    def run(pixels: Tensor) -> Tensor:
        features: Tensor = network(pixels, **options)
        return features

    return InceptionFeatures(path.stem, run, {"weights": path.name, "sha256": digest}, device)


def inception_features(device: torch.device | str = "cpu") -> InceptionFeatures:
    """FID's features by the TorchScript file, fetched once into torch's hub folder (96 MB).

    Raises:
        EvalError: the file is not there and cannot be fetched.
    """
    path = fetch_weights(
        INCEPTION_URL,
        INCEPTION_DIGESTS[0],
        otherwise=f"give the path of a copy of {INCEPTION_FILE}, or use {OFFLINE}, which needs no "
        "download",
    )
    return torchscript_features(path, device)


def fidelity_features(
    weights: Path | None = None, device: torch.device | str = "cpu"
) -> InceptionFeatures:
    """FID's features by the package torch-fidelity, which needs torchvision.

    Args:
        weights: its file of weights; None lets the package fetch its own.
        device: where to run.

    Raises:
        EvalError: the package cannot be imported, or the weights not be had.
    """
    try:
        package = import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as err:  # RuntimeError: a torchvision for another torch
        raise EvalError(
            f"torch-fidelity cannot be imported ({_reason(err)}); give the path of "
            f"{INCEPTION_FILE} instead, which needs no package"
        ) from err
    own = Path(torch.hub.get_dir()) / "checkpoints" / Path(package.URL_INCEPTION_V3).name
    try:
        network = package.FeatureExtractorInceptionV3(
            "inception-v3-compat",
            [str(INCEPTION_SIZE)],
            feature_extractor_weights_path=None if weights is None else str(weights),
        )
        digest = file_sha256(weights or own)
    except (OSError, RuntimeError, pickle.UnpicklingError) as err:
        raise EvalError(
            f"torch-fidelity has no weights ({_reason(err)}); give the path of "
            f"{own.name}, or use {OFFLINE}, which needs no download"
        ) from err
    network = network.eval().to(device)
    protocol: dict[str, str | int | float] = {"weights": (weights or own).name, "sha256": digest}
    return InceptionFeatures("torch-fidelity", lambda x: network(x)[0], protocol, device)


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    return centre_square(image, shorter=side, side=side, resample=Image.Resampling.NEAREST)


def _reason(err: Exception) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
