"""Which classifier for which data: the registry, and a user's own by `module:function`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from erasure.errors import CheckpointError, ConfigError
from erasure.seeds import seeded_torch
from pipelines.classifiers.data.data import DataFacts
from pipelines.classifiers.networks.plain_networks import VGG, Perceptron
from pipelines.classifiers.networks.residual import ResNet
from pipelines.classifiers.networks.transformers_small import TextTransformer, VisionTransformer
from prompts.nearest import nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which network; plain values, kept in every model file."""

    architecture: str = "resnet18"
    """Key into `ARCHITECTURES`, or `module:function`, called with (facts, width)."""
    width: float = 0.25
    """Multiplies the channels of the published network."""

    def __post_init__(self) -> None:
        if not 0 < self.width <= 4:
            raise ConfigError(f"width is {self.width}; give more than 0 and at most 4")
        if self.architecture not in ARCHITECTURES and ":" not in self.architecture:
            raise ConfigError(
                f"there is no architecture {self.architecture!r}; "
                f"{nearest(self.architecture, ARCHITECTURES)}, or give module:function"
            )


def require_known(config: ModelConfig, path: object, *, allow_code: bool) -> None:
    """Refuse to import what a file names, unless its user says so.

    Raises:
        CheckpointError: the architecture is a function, and `allow_code` is not set.
    """
    if ":" in config.architecture and not allow_code:
        raise CheckpointError(
            f"{path} was made by {config.architecture}, which would be imported and run; "
            "if you trust the file, give --allow-code"
        )


class Builder(Protocol):
    """Makes a network with new weights."""

    def __call__(self, facts: DataFacts, width: float, /) -> nn.Module:
        """It takes the inputs that `facts` describes, images in [0, 1], and answers with logits."""
        ...


class Classifier(nn.Module):
    """A network behind the normalisation of its inputs, so that attacks step in raw pixels."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, facts: DataFacts) -> None:
        super().__init__()
        shape = (1, -1, 1, 1) if facts.kind == "image" else (1, -1)
        self.network = network
        self.register_buffer("mean", torch.tensor(facts.mean).view(shape))
        self.register_buffer("deviation", torch.tensor(facts.deviation).view(shape))

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401
        """Inputs as the data set has them -> whatever the network answers, (B, K)."""
        if self.mean.numel():
            inputs = ((inputs[0] - self.mean) / self.deviation, *inputs[1:])
        return self.network(*inputs)


def make_model(config: ModelConfig, facts: DataFacts, seed: int) -> nn.Module:
    """A classifier with its first weights, which the seed decides.

    Pictures' convolutions store their weights with channels last: on one core an epoch of a narrow
    ResNet-18 takes a quarter less time.

    Raises:
        ConfigError: the network does not fit the data, or `module:function` is not there.
    """
    with seeded_torch(torch.device("cpu"), seed, "first weights"):
        network = _builder(config.architecture)(facts, config.width)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{config.architecture} returned {type(network).__name__}; return a torch.nn.Module"
        )
    model = Classifier(network, facts)
    if facts.kind == "image":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _picture(facts: DataFacts, name: str) -> tuple[int, int, int]:
    """(C, H, W) of the pictures."""
    if facts.kind != "image":
        raise ConfigError(
            f"{name} takes pictures, and the data are of the kind {facts.kind}; take "
            f"{'text' if facts.kind == 'text' else 'mlp'}"
        )
    channels, height, width = facts.shape
    return channels, height, width


def _resnet18(facts: DataFacts, width: float, /) -> nn.Module:
    return ResNet("resnet18", _picture(facts, "resnet18")[0], len(facts.classes), width)


def _resnet50(facts: DataFacts, width: float, /) -> nn.Module:
    return ResNet("resnet50", _picture(facts, "resnet50")[0], len(facts.classes), width)


def _vgg16(facts: DataFacts, width: float, /) -> nn.Module:
    return VGG(_picture(facts, "vgg16")[0], len(facts.classes), width)


def _vit(facts: DataFacts, width: float, /) -> nn.Module:
    channels, height, wide = _picture(facts, "vit")
    if height != wide or height % 4:
        raise ConfigError(f"vit takes squares of a multiple of 4 pixels, not {height}x{wide}")
    return VisionTransformer(channels, height, len(facts.classes), width)


def _mlp(facts: DataFacts, width: float, /) -> nn.Module:
    if facts.kind == "text":
        raise ConfigError("mlp takes numbers, and the data are text; take text")
    return Perceptron(math.prod(facts.shape), len(facts.classes), width)


def _text(facts: DataFacts, width: float, /) -> nn.Module:
    if facts.kind != "text":
        raise ConfigError(f"text takes words, and the data are of the kind {facts.kind}; take mlp")
    return TextTransformer(facts.vocabulary, facts.shape[0], len(facts.classes), width)


ARCHITECTURES: Final[Mapping[str, Builder]] = {
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "vgg16": _vgg16,
    "vit": _vit,
    "text": _text,
    "mlp": _mlp,
}
"""Name -> how to make it."""


def _builder(name: str) -> Builder:
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    module, _, function = name.partition(":")
    try:
        maker = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as err:
        raise ConfigError(
            f"{name} cannot be imported ({err}); give module:function, where "
            "function(facts, width) makes a torch.nn.Module"
        ) from err
    if not callable(maker):
        raise ConfigError(f"{name} cannot be called; name a function of (facts, width)")
    return maker  # type: ignore[no-any-return]
