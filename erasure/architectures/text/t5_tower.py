"""T5's text encoder and tokenizer, as transformers has them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, nn

from erasure.architectures.loading import loaded
from erasure.architectures.text.tokenizer_files import opened
from erasure.errors import CONFIG, CheckpointError

if TYPE_CHECKING:
    import torch

    from erasure.checkpoints.checkpoint import Checkpoint

_SHARED: Final = "shared.weight"
_TIED: Final = "encoder.embed_tokens.weight"
_READ: Final = ("tokenizer.json", "spiece.model")
"""The files of which one holds the vocabulary."""


def t5_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the encoder that a config of transformers describes."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config.from_dict(dict(config)))


def tidy_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the second name of the token embedding, which some files hold beside the first."""
    tidied = {name: weight for name, weight in weights.items() if name != _TIED}
    if _TIED in weights:
        tidied.setdefault(_SHARED, weights[_TIED])
    return tidied


def build_t5(checkpoint: "Checkpoint", component: str, dtype: "torch.dtype") -> Any:  # noqa: ANN401
    """Build the encoder on CPU, in evaluation mode."""
    weights = {k: v.to(dtype) for k, v in checkpoint.components[component].items()}
    weights[_TIED] = weights[_SHARED]
    return loaded(t5_of, checkpoint.description.components[component], weights, component)


def build_t5_tokenizer(checkpoint: "Checkpoint", name: str, length: int) -> Any:  # noqa: ANN401
    """Build the tokenizer, which cuts and fills prompts to `length` tokens.

    Raises:
        CheckpointError: there are no files of it, or they cannot be read.
    """
    from transformers import T5TokenizerFast  # type: ignore[attr-defined]

    files = checkpoint.description.vocabulary(name)
    if not any(file in files for file in _READ):
        raise CheckpointError(
            f"{checkpoint.path} has no files of T5's tokenizer ({name}: {' or '.join(_READ)}), and "
            "no single file holds them; give ",
            CONFIG,
            ", a diffusers folder of the same model",
        )
    title = f"the tokenizer {name}"
    tokenizer = opened(T5TokenizerFast, files, title, str(checkpoint.path))
    tokenizer.model_max_length = length
    return tokenizer
