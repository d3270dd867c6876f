"""How much of a prompt the text encoders read; what comes after they never see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from erasure.architectures.building import build_tokenizers
from erasure.checkpoints.checkpoint import Checkpoint

_NO_END: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Overlong:
    """A prompt whose end is cut off."""

    prompt: str
    tokens: int
    """How many it has, with the marks at its beginning and end."""
    window: int
    """How many the text encoder reads, with these marks."""


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """Counts the tokens of prompts."""

    encoders: Sequence[tuple[Any, int]]
    """A tokenizer and the number of tokens that its text encoder reads, one pair a text
    encoder."""

    def overlong(self, prompts: Iterable[str]) -> list[Overlong]:
        """The prompts that are longer than the window of a text encoder, each once, in order."""
        return [excess for prompt in dict.fromkeys(prompts) if (excess := self._measured(prompt))]

    def _measured(self, prompt: str) -> Overlong | None:
        """What the encoder with the longest window does not read; the others read no more. A model
        that is told a class has no encoder."""
        longest = max((window for _, window in self.encoders), default=0)
        for tokenizer, window in self.encoders:
            if window < longest or (prompt.isascii() and len(prompt) + 2 <= window):
                continue  # a token is a letter or more
            count = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
            if count > window:
                return Overlong(prompt, count, window)
        return None


def token_window(checkpoint: Checkpoint) -> TokenWindow:
    """That of a checkpoint.

    Raises:
        CheckpointError: it has no vocabulary.
    """
    configs = checkpoint.description.tokenizers().values()
    pairs = zip(build_tokenizers(checkpoint), configs, strict=True)
    return TokenWindow(
        [(one, min(int(one.model_max_length), _positions(config))) for one, config in pairs]
    )


def _positions(config: Mapping[str, Any]) -> int:
    """Tokens that a text encoder has places for; CLIP's number where its config says none, and all
    that its tokenizer gives for T5, which has no places, and for language models, which have
    thousands."""
    if config.get("model_type") in ("t5", "qwen3", "qwen2_5_vl"):
        return _NO_END
    places = config.get("max_position_embeddings")
    return places if isinstance(places, int) else 77
