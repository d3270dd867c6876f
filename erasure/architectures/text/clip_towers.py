"""CLIP's text encoders and tokenizers, as transformers has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.loading import fill
from erasure.checkpoints.description import encoder_of
from erasure.errors import CheckpointError
from erasure.storage.bare_names import require_bare
from erasure.storage.json_text import parsed

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

CLIP_WINDOW: Final = 77
"""Tokens that CLIP's text encoder reads, where its config does not say."""
_RULES: Final = ("normalizer", "pre_tokenizer", "decoder")
"""Entries of a `tokenizer.json` that hold regular expressions; `CLIPTokenizer` brings its own."""


def clip_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the text encoder that a config of transformers describes."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig.from_dict(dict(config)))


def projected_clip_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the same with a projection of the pooled feature behind it."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig.from_dict(dict(config)))


def build_tower(checkpoint: "Checkpoint", component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Build one text encoder on CPU, in evaluation mode."""
    config = checkpoint.description.components[component]
    with torch.device("meta"):
        network = checkpoint.architecture.part(component).build(config)
    expected = network.state_dict()
    weights = {}
    for name, value in checkpoint.components[component].items():
        # transformers 5.6 flattened CLIPTextModel; older ones keep the prefix.
        short = name.removeprefix("text_model.")
        weights[short if short in expected else name] = value.to(dtype)
    fill(network, weights, component)
    for module in network.modules():
        ids = getattr(module, "position_ids", None)
        if isinstance(ids, Tensor) and ids.is_meta:  # a buffer that no file holds
            module.position_ids = torch.arange(ids.shape[-1]).expand(1, -1)
    return network.eval().requires_grad_(False)


def build_tokenizers(checkpoint: "Checkpoint") -> tuple[Any, ...]:
    """Build a CLIPTokenizer for each text encoder."""
    return tuple(build_tokenizer(checkpoint, name) for name in checkpoint.description.tokenizers())


def _without_rules(content: bytes) -> bytes:
    """Take out of a `tokenizer.json` how text is cut and changed before it is looked up.

    CLIP's own rules hold whatever the file says, and a regular expression of a file could take for
    ever on a short prompt. What is no JSON object is left for the library to refuse.
    """
    try:
        values = parsed(content)
    except ValueError:
        return content
    if not isinstance(values, dict):
        return content
    return json.dumps({**values, **dict.fromkeys(_RULES)}).encode()


def build_tokenizer(checkpoint: "Checkpoint", name: str) -> Any:  # noqa: ANN401
    """Build the CLIPTokenizer of one of the checkpoint's vocabularies.

    Raises:
        CheckpointError: there is no vocabulary, or it cannot be read.
    """
    from transformers import CLIPTokenizer

    files = checkpoint.tokenizer_files(name)
    with TemporaryDirectory() as folder:
        for file, content in files.items():
            place = Path(folder) / require_bare(file, f"the tokenizer of {checkpoint.path}")
            place.write_bytes(_without_rules(content) if file == "tokenizer.json" else content)
        try:
            tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        except Exception as err:  # what the libraries raise on damaged files has no common class
            reason = str(err).strip().partition("\n")[0][:200]
            raise CheckpointError(
                f"the tokenizer of {checkpoint.path} cannot be read ({reason}); fetch it again"
            ) from err
    # Prompts are padded to its length, and a file may name one that no memory holds.
    window = checkpoint.description.components[encoder_of(name)].get("max_position_embeddings")
    if not isinstance(window, int):
        window = CLIP_WINDOW
    tokenizer.model_max_length = min(tokenizer.model_max_length, window)
    return tokenizer
