"""Qwen's language models as text encoders, and their tokenizer, as transformers has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.loading import loaded
from erasure.architectures.text.chat_encoders import Chat, ChatText, layers_side_by_side
from erasure.architectures.text.tokenizer_files import opened, without_rules
from erasure.checkpoints.layout.renaming import inverse, respelled
from erasure.errors import CONFIG, CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

_HEAD: Final = "lm_head.weight"
_MODEL: Final = "model."
_VOCABULARY: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""The files of which one set holds the vocabulary."""
_VISUAL: Final = {"visual.": "model.visual.", "model.": "model.language_model."}
"""How names of Qwen2.5-VL begin in files -> in the network of transformers."""
_OF_FILES: Final = inverse(_VISUAL)
"""The other way."""


def qwen3_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the language model that a config of transformers describes, without its head."""
    from transformers import Qwen3Config, Qwen3Model  # type: ignore[attr-defined]

    network: nn.Module = Qwen3Model(Qwen3Config.from_dict(dict(config)))
    return network


def qwen3_with_head_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the same with its head, which is not read here but is part of the published folder.

    Where head and table of tokens are one tensor, files hold it once, and so does the network.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM  # type: ignore[attr-defined]

    settings = Qwen3Config.from_dict(dict(config))
    network: Any = Qwen3ForCausalLM(settings)
    if settings.tie_word_embeddings:
        network.lm_head = nn.Identity()
    made: nn.Module = network
    return made


def qwen_vl_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the model of text and pictures that a config of transformers describes."""
    import transformers

    library: Any = transformers
    settings = library.Qwen2_5_VLConfig.from_dict(dict(config))
    network: nn.Module = library.Qwen2_5_VLForConditionalGeneration(settings)
    return network


def with_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as a model with a head has them, whichever a file has."""
    return respelled(weights, lambda n: n if n.startswith(_MODEL) or n == _HEAD else _MODEL + n)


def without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as a model without a head has them; what a file has of a head stays under its name."""
    return respelled(weights, lambda name: name.removeprefix(_MODEL))


def visual_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of Qwen2.5-VL as published files have them, whichever version wrote these."""

    def published(name: str) -> str:
        new = next((new for new in _VISUAL.values() if name.startswith(new)), None)
        return name if new is None else f"{_OF_FILES[new]}{name.removeprefix(new)}"

    return respelled(weights, published)


def built_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of Qwen2.5-VL in files -> those of the network of transformers."""
    names = {}
    for name, weight in weights.items():
        old = next((old for old in _VISUAL if name.startswith(old)), None)
        names[name if old is None else f"{_VISUAL[old]}{name.removeprefix(old)}"] = weight
    return names


@dataclass(frozen=True, slots=True)
class QwenReader:
    """How a family reads its language model, which lies in `text_encoder`."""

    chat: Chat
    """What stands around a prompt."""
    layers: tuple[int, ...]
    """The layers whose features are read, side by side; -1 is the last."""
    padded: bool
    """Whether the tokens that fill a prompt up count as any others do."""

    def tokenizers(self, checkpoint: "Checkpoint") -> tuple[Any, ...]:
        """Build the tokenizer of the language model."""
        return (build_qwen_tokenizer(checkpoint, "tokenizer", self.chat),)

    def encoder(self, checkpoint: "Checkpoint", dtype: torch.dtype) -> ChatText:
        """Build the language model on CPU, with its tokenizer."""
        (tokenizer,) = self.tokenizers(checkpoint)
        network = build_qwen(checkpoint, "text_encoder", dtype)
        read = layers_side_by_side(*self.layers)
        return ChatText(tokenizer, network, self.chat, read, padded=self.padded)


def build_qwen(checkpoint: "Checkpoint", component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Build the language model on CPU, in evaluation mode."""
    part = checkpoint.architecture.part(component)
    weights = {k: v.to(dtype) for k, v in checkpoint.components[component].items()}
    if part.build is qwen_vl_of:
        weights = built_names(weights)
    config = checkpoint.description.components[component]
    return _with_buffers(loaded(part.build, config, weights, component))


def _with_buffers(network: Any) -> Any:  # noqa: ANN401
    """The network with what no file holds and its own library computes: rotations by place."""
    for module in network.modules():
        lost = [n for n, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for name in lost:
            setattr(module, name, torch.empty_like(getattr(module, name), device="cpu"))
        if lost:
            network._init_weights(module)
    return network


def build_qwen_tokenizer(checkpoint: "Checkpoint", name: str, chat: Chat) -> Any:  # noqa: ANN401
    """Build the tokenizer; its `model_max_length` is what the frame of a prompt leaves of it.

    The frame is written out here and no template of a file is run; where the pipeline would use the
    file's template, that must have the same marks.

    Raises:
        CheckpointError: there are no files of it, they cannot be read, or its template is another.
    """
    from transformers import Qwen2TokenizerFast  # type: ignore[attr-defined]

    files = checkpoint.description.vocabulary(name)
    if not any(all(file in files for file in one) for one in _VOCABULARY):
        wanted = " or ".join(" and ".join(one) for one in _VOCABULARY)
        raise CheckpointError(
            f"{checkpoint.path} has no files of Qwen's tokenizer ({name}: {wanted}), and no single "
            "file holds them; give ",
            CONFIG,
            ", a diffusers folder of the same model",
        )
    title, owner = f"the tokenizer {name}", str(checkpoint.path)
    tokenizer: Any = opened(Qwen2TokenizerFast, without_rules(files), title, owner)
    template = str(tokenizer.chat_template or "")
    missing = [mark for mark in chat.marks if mark not in template]
    if missing:
        raise CheckpointError(
            f"{title} of {owner} has no {' and no '.join(missing)} in its chat template, and the "
            "published model frames each prompt with it; fetch the tokenizer again"
        )
    tokenizer.model_max_length = chat.length - len(tokenizer(chat.before + chat.after).input_ids)
    return tokenizer
