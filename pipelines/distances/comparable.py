"""Whether models may be compared: same networks, tokenizers, VAE and schedule, fitting records."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from erasure.architectures.building import build_tokenizers, schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.schedule import NoiseSchedule, RectifiedFlow
from erasure.errors import CheckpointError

_UNDECIDING: Final = ("dtype", "torch_dtype", "transformers_version", "architectures")
"""Keys of a config that change nothing of what the network computes."""
_CLOSE: Final = 2e-3
"""By how much half precision may have rounded a weight of the VAE."""


def require_comparable(base: Checkpoint, other: Checkpoint, option: str) -> None:
    """Refuse a model whose predictions cannot be held against those of the base.

    Args:
        option: by which the other model came, for the message.

    Raises:
        CheckpointError: the first thing that differs, in a sentence.
    """
    _refuse(base, other, option, _parts(base, other) or _schedule(base, other))


def require_alike(base: Checkpoint, other: Checkpoint, option: str) -> None:
    """The same without the schedule, for models that are drawn and not measured."""
    _refuse(base, other, option, _parts(base, other))


def _parts(base: Checkpoint, other: Checkpoint) -> str:
    return (
        _network(base, other)
        or _text_encoders(base, other)
        or other_tokenizers(base, other)
        or other_classes(base, other)
        or _vae(base, other)
    )


def _refuse(base: Checkpoint, other: Checkpoint, option: str, differing: str) -> None:
    if differing:
        raise CheckpointError(
            f"the model of {option}, {other.path}, {differing}; give one that was made by the "
            f"recipe of the base, {base.path}"
        )


def _network(base: Checkpoint, other: Checkpoint) -> str:
    if base.architecture is not other.architecture:
        return f"is {other.architecture.title}, and the base is {base.architecture.title}"
    part = base.architecture.main
    differ = _other_shapes(base.components[part], other.components[part])
    if differ:
        return f"has another {part}: {len(differ)} names or shapes differ, such as {differ[0]}"
    return ""


def _text_encoders(base: Checkpoint, other: Checkpoint) -> str:
    for part in base.architecture.parts:
        if not part.is_text:
            continue
        name = part.component
        there = [name in each.components for each in (base, other)]
        if there == [False, False]:  # SD 3 does without T5
            continue
        if not all(there):
            return f"has {'a' if there[1] else 'no'} {name}, unlike the base"
        differ = _other_shapes(base.components[name], other.components[name])
        if differ:
            return f"has another {name}: {len(differ)} names or shapes differ, such as {differ[0]}"
        mine, theirs = (
            {
                key: value
                for key, value in each.description.components[name].items()
                if not key.startswith("_") and key not in _UNDECIDING
            }
            for each in (base, other)
        )
        keys = sorted(k for k in mine.keys() & theirs.keys() if mine[k] != theirs[k])
        if keys:
            key = keys[0]
            return f"has another {name}: {key} is {theirs[key]!r}, and the base's {mine[key]!r}"
    return ""


def other_tokenizers(base: Checkpoint, other: Checkpoint, first: str = "the base") -> str:
    """Say how the tokenizers of a model differ from those of another; empty where they do not.

    Args:
        first: what to call the one whose tokenizers are right.
    """
    for mine, theirs in zip(build_tokenizers(base), build_tokenizers(other), strict=True):
        ours, its = mine.get_vocab(), theirs.get_vocab()
        lost = sorted(
            token for token in ours.keys() | its.keys() if ours.get(token) != its.get(token)
        )
        if lost:
            return (
                f"has another tokenizer: {len(lost)} of {len(ours)} tokens have another number, "
                f"such as {lost[0]!r}"
            )
        if mine.model_max_length != theirs.model_max_length:
            return (
                f"has another tokenizer: it takes {theirs.model_max_length} tokens, and {first}'s "
                f"{mine.model_max_length}"
            )
    return ""


def other_classes(base: Checkpoint, other: Checkpoint, first: str = "the base") -> str:
    """Say which class of a model is another one's number; empty where none, or none is told.

    Args:
        first: what to call the one whose classes are right.
    """
    mine, theirs = base.classes, other.classes
    if mine is None or theirs is None or mine == theirs:
        return ""
    pairs = zip(mine.names, theirs.names, strict=False)
    differ = [(n, a, b) for n, (a, b) in enumerate(pairs) if a != b]
    if not differ:
        return f"has {len(theirs.names)} classes, and {first} {len(mine.names)}"
    number, own, its = differ[0]
    return f"calls class {number} {its!r}, and {first} {own!r}"


def _vae(base: Checkpoint, other: Checkpoint) -> str:
    if "vae" not in base.components:  # a model of pixels
        return ""
    mine, theirs = base.components["vae"], other.components["vae"]
    for does, factor in (("scales", "scaling_factor"), ("shifts", "shift_factor")):
        factors = [each.description.components["vae"].get(factor) for each in (base, other)]
        if factors[0] != factors[1]:
            return f"{does} latents by {factors[1]}, and the base by {factors[0]}"
    differ = _other_shapes(mine, theirs) or [
        name for name, value in mine.items() if not _near(value, theirs[name])
    ]
    if differ:
        return f"has another VAE: {len(differ)} of {len(mine)} weights differ, such as {differ[0]}"
    return ""


def _near(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one.float(), other.float(), rtol=_CLOSE, atol=_CLOSE))


def _schedule(base: Checkpoint, other: Checkpoint) -> str:
    if base.description.prediction_type != other.description.prediction_type:
        return (
            f"predicts {other.description.prediction_type}, and the base "
            f"{base.description.prediction_type}"
        )
    mine, theirs = schedule_of(base), schedule_of(other)
    if isinstance(mine, RectifiedFlow) and isinstance(theirs, RectifiedFlow):
        if mine == theirs:
            return ""
        return f"shifts its times by {theirs.shift:g}, and the base by {mine.shift:g}"
    if not isinstance(mine, NoiseSchedule) or not isinstance(theirs, NoiseSchedule):
        return (
            "noises by another kind of schedule than the base, or by one whose times are neither "
            "discrete steps nor those of a rectified flow, over which distances are counted"
        )
    same = mine.alphas_cumprod.shape == theirs.alphas_cumprod.shape
    if not same or not torch.allclose(mine.alphas_cumprod, theirs.alphas_cumprod, atol=1e-6):
        return "has another noise schedule"
    return ""


def _other_shapes(mine: Mapping[str, Tensor], theirs: Mapping[str, Any]) -> list[str]:
    return sorted(
        name
        for name in mine.keys() | theirs.keys()
        if name not in mine
        or name not in theirs
        or tuple(mine[name].shape) != tuple(theirs[name].shape)
    )
