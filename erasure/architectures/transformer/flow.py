"""What the families of flow transformers have in common: parts, checks, times, drawing."""

# B samples, C x h x w latents, H x W pixels, L tokens.

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from erasure.architectures.architecture import Part
from erasure.architectures.autoencoder import (
    latent_channels,
    shrinking,
)
from erasure.architectures.loading import copied
from erasure.architectures.text.clip_towers import clip_of, projected_clip_of
from erasure.architectures.text.t5_tower import t5_of, tidy_names
from erasure.architectures.unet import stable_diffusion as sd
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.plain_vae import require_plain_vae
from erasure.checkpoints.checks.setting_values import axes, require_settings
from erasure.checkpoints.layout import clip
from erasure.checkpoints.reading.settings_of import refuse_unknown_settings
from erasure.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

MAIN: Final = "transformer"
PREFIX: Final = "model.diffusion_model."
"""What the transformer's names begin with in a file that holds more than it."""
_TEXTS: Final = "text_encoders."
VAE: Final = replace(sd.VAE, prefix="vae.", aliases=(sd.VAE.prefix,))
"""FLUX.1's autoencoder as ComfyUI reads it in all-in-one files; that of SD3 has the older name."""
QWEN3: Final = f"{_TEXTS}qwen3_4b.transformer."
"""What Qwen3's names begin with in such files."""
QWEN3_BEFORE: Final = f"{_TEXTS}qwen3.transformer."
"""The same in files that this package wrote at first."""


def clip_part(component: str, title: str, name: str, *, projected: bool) -> Part:
    """One of CLIP's text encoders; `name` is what all-in-one files call it."""
    return Part(
        component=component,
        title=title,
        prefix=f"{_TEXTS}{name}.transformer.",
        build=projected_clip_of if projected else clip_of,
        to_original=clip.to_original,
        to_diffusers=clip.to_diffusers,
        tidy_diffusers=clip.with_prefix,
        tidy_original=clip.with_prefix,
    )


def t5_part(component: str, title: str, *, optional: str = "") -> Part:
    """T5's encoder."""
    return Part(
        component=component,
        title=title,
        prefix=f"{_TEXTS}t5xxl.transformer.",
        build=t5_of,
        tidy_diffusers=tidy_names,
        tidy_original=tidy_names,
        optional=optional,
    )


build_transformer = partial(copied, component=MAIN)


def thousandth(t: Tensor) -> Tensor:
    """A time of diffusers' flow schedulers, which count to 1000, as s in [0, 1]."""
    return t / 1000


def check_transformer(
    description: "Description", where: str, *, kind: str, title: str, understood: frozenset[str]
) -> tuple[str, ...]:
    """Refuse a transformer of another class or with settings that are not understood, and a VAE
    whose latents are scaled in another way.

    Args:
        kind: the class in diffusers.
        title: of the family.
        understood: settings that diffusers builds from, and that ask for nothing else.

    Returns:
        Notes on what the configs leave open.

    Raises:
        CheckpointError: see above.
    """
    require_component(description, MAIN, where, kind=kind, title=title, understood=understood)
    codec = description.components["vae"]
    levels = codec.get("block_out_channels")
    if not isinstance(levels, list) or not 0 < len(levels) <= 8:
        raise CheckpointError(
            f"{where}: block_out_channels of vae is {str(levels)[:80]}, not a list of 1 to 8 "
            "numbers"
        )
    return require_plain_vae(codec, title, where, statistics=False, shifted=True)


def require_component(
    description: "Description",
    component: str,
    where: str,
    *,
    kind: str,
    title: str,
    understood: frozenset[str],
) -> None:
    """Raise CheckpointError where a component is of another class than `kind`, or has settings that
    are not understood; the arguments are those of `check_transformer`."""
    config = description.components[component]
    if config.get("_class_name", kind) != kind:
        raise CheckpointError(
            f"{where} has a {component} of class {config['_class_name']!r}; {title} has {kind}, so "
            "give the folder of one model"
        )
    refuse_unknown_settings(kind, component, config, understood, where)


def require_axes(config: Mapping[str, Any], length: int, where: str) -> None:
    """Raise CheckpointError unless the places of a token turn all features of a head, in pairs.

    Args:
        config: of a transformer with `axes_dims_rope`.
        length: how many numbers tell a place, such as row and column.
    """
    features = whole_number(config, "attention_head_dim", MAIN, 128)
    require_settings(config, MAIN, where, {"axes_dims_rope": axes(length, features)})


def require_width(
    description: "Description", component: str, key: str, wanted: int, where: str
) -> None:
    """Raise CheckpointError unless a text encoder has the width that the transformer listens to."""
    width = whole_number(description.components[component], key, component)
    require_features(f"a {component} with {key} {width}", width, wanted, where)


def require_features(text: str, features: int, listened: int, where: str) -> None:
    """Raise CheckpointError unless the transformer listens to as many features as a text encoder
    gives.

    Args:
        text: what the text encoder is, for the message.
    """
    if features != listened:
        raise CheckpointError(
            f"{where} has {text}, and its transformer listens to {listened}; they are of different "
            "models: give those that belong together"
        )


def other_latents(
    where: str, inputs: int, taken: int, *, network: str = "a transformer of other latents"
) -> CheckpointError:
    """Make the error of a transformer whose `in_channels` are not the latents of the VAE in
    patches.

    Args:
        taken: what the latents of one patch are.
        network: what the transformer is, where that is known.
    """
    return CheckpointError(
        f"{where} has {network} (in_channels {inputs}, and latents in patches of {taken}); only "
        "plain text-to-image models can be edited, so give the base model that it was made from"
    )


def own_size(
    description: "Description", *, side: int, factor: Callable[["Description"], int]
) -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that a model was trained to draw.

    Args:
        side: latents, or patches of them, a side.
        factor: how many pixels a side each stands for.
    """
    return (side * factor(description),) * 2


def latent_shape(
    description: "Description", height: int, width: int, *, patch: int
) -> tuple[int, int, int]:
    """Give (C, h, w) of the latents of a picture of H x W pixels.

    Raises:
        ConfigError: they cannot be cut into patches of `patch` x `patch` latents.
    """
    factor = shrinking(description)
    require_patches(height, width, factor * patch)
    return latent_channels(description), height // factor, width // factor


def require_patches(height: int, width: int, side: int) -> None:
    """Raise ConfigError unless a picture of H x W pixels is cut into patches of `side` pixels."""
    if height % side or width % side or min(height, width) < side:
        raise ConfigError(
            f"a picture of {width} x {height} pixels cannot be cut into the model's patches; give "
            f"a width and a height that are multiples of {side}"
        )
