"""Random text encoders with their tokenizers, and vocabularies of letters."""

from pathlib import Path
from typing import Literal

from torch import nn

from erasure.architectures.text.text_encoders import TextEncoder, TextEncoderPair
from support.models.tiny_models import SD1_LIKE, SD2_LIKE, tiny_text_encoder, tiny_tokenizer
from support.models.tiny_sdxl import tiny_tokenizers, tiny_towers
from support.tiny import global_seed

Kind = Literal["sd1", "sd2", "sdxl"]
KINDS: tuple[Kind, ...] = ("sd1", "sd2", "sdxl")


def tiny_text(kind: Kind, folder: Path) -> TextEncoder | TextEncoderPair:
    """The text side of a tiny model, frozen."""
    with global_seed(0):
        if kind == "sdxl":
            tokenizers = tiny_tokenizers(folder)
            first, second = tiny_towers(len(tokenizers[0]))
            return TextEncoderPair(tokenizers, (_frozen(first), _frozen(second)))
        tokenizer = tiny_tokenizer(folder)
        network = tiny_text_encoder(SD1_LIKE if kind == "sd1" else SD2_LIKE, len(tokenizer))
        return TextEncoder(tokenizer, _frozen(network))


def networks_of(text: TextEncoder | TextEncoderPair) -> tuple[nn.Module, ...]:
    return text.networks if isinstance(text, TextEncoderPair) else (text.network,)


def _frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)
