"""CLIP: pictures and texts as unit vectors of one space."""

# B pictures, T texts, D dimensions of the shared space.

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from eval.errors import EvalError
from eval.weights.hashing import weights_sha256
from eval.weights.pretrained import load_network, load_part, short_name

LONGEST_TEXT: Final = 77
"""Tokens; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A CLIP model in evaluation mode; vectors are float32, of length 1, on the CPU."""

    network: Any
    """A `transformers.CLIPModel`."""
    processor: Any
    """Turns pictures into pixels by PIL, so that no torchvision changes them."""
    tokenizer: Any
    source: str
    """Hub id, or the folder's name."""
    sha256: str
    device: str | torch.device

    @property
    def scale(self) -> float:
        """What similarities are multiplied by before a softmax; 100 in the published models."""
        return float(self.network.logit_scale.exp())

    @property
    def described(self) -> dict[str, str | int | float]:
        """The part of a protocol that names the model."""
        return {
            "model": self.source,
            "sha256": self.sha256,
            "package": f"transformers {version('transformers')}",
            "preprocessing": f"{type(self.processor).__name__} of the model",
        }

    @torch.no_grad()
    def images(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures -> (B, D)."""
        inputs = self.processor(images=[i.convert("RGB") for i in images], return_tensors="pt")
        output = self.network.get_image_features(
            pixel_values=inputs["pixel_values"].to(self.device)
        )
        return F.normalize(_vectors(output).float(), dim=-1).cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> (T, D)."""
        longest = min(LONGEST_TEXT, self.network.config.text_config.max_position_embeddings)
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        ).to(self.device)
        output = self.network.get_text_features(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
        return F.normalize(_vectors(output).float(), dim=-1).cpu()


def load_clip(source: str, *, device: str | torch.device = "cpu") -> Clip:
    """Read a CLIP model from a folder or the hub.

    Raises:
        EvalError: it cannot be had, or is no CLIP.
    """
    from transformers import AutoConfig, AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    config = load_part(AutoConfig, source)
    if config.model_type != "clip":
        raise EvalError(f"{source} is a {config.model_type} model; give a CLIP")
    network = load_network(CLIPModel, source)
    return Clip(
        network=network.to(device),
        processor=load_part(CLIPImageProcessorPil, source),
        tokenizer=load_part(AutoTokenizer, source),
        source=short_name(source),
        sha256=weights_sha256(network),
        device=device,
    )


def _vectors(output: Any) -> Tensor:  # noqa: ANN401
    """The projected features: a tensor before transformers 5, an output object since."""
    return output if isinstance(output, Tensor) else output.pooler_output
