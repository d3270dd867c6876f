"""Autoencoders whose latents the pipelines do not scale as they were trained: refused by name."""

from collections.abc import Mapping
from typing import Any, Final

from erasure.checkpoints.reading.settings_of import refuse_unknown_settings
from erasure.diffusion.data.latent_scale import DEFAULT_FACTOR, is_number
from erasure.errors import CheckpointError

KIND: Final = "AutoencoderKL"

_COLOURS: Final = 3
_STATISTICS: Final = ("latents_mean", "latents_std")
_NEUTRAL: Final = frozenset(
    # Sizes, or what `LatentScale` reads. Half precision alone would ask for `force_upcast`.
    """in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block
    act_fn latent_channels norm_num_groups sample_size scaling_factor shift_factor latents_mean
    latents_std force_upcast use_quant_conv use_post_quant_conv mid_block_add_attention""".split()
)


def require_plain_vae(
    config: Mapping[str, Any], family: str, where: str, *, statistics: bool, shifted: bool = False
) -> tuple[str, ...]:
    """Refuse an autoencoder whose latents cannot be scaled as diffusers' pipelines do.

    Args:
        config: its `config.json`.
        family: what a sentence calls the family of its model.
        where: whose config it is.
        statistics: whether the family's pipeline reads `latents_mean` and `latents_std`, as that of
            SD XL does; others pass them over.
        shifted: whether it reads `shift_factor`, as those of flow transformers do.

    Returns:
        A note where the config lacks a `scaling_factor`.

    Raises:
        CheckpointError: another class, a setting that the pipelines pass over or that is not
            understood, or no number where one must stand.
    """
    kind = config.get("_class_name", KIND)
    if kind != KIND:
        raise CheckpointError(
            f"{where} has a VAE of class {kind!r}; only {KIND} is supported, so give the model "
            "with its own VAE"
        )
    for name in ("in_channels", "out_channels"):
        if config.get(name, _COLOURS) != _COLOURS:
            raise CheckpointError(
                f"{where} has a VAE with {name} {config[name]!r}, not the {_COLOURS} of colour "
                f"pictures; give the VAE of {family}"
            )
    shift = config.get("shift_factor")
    if shifted:
        if shift is not None and not is_number(shift):
            raise CheckpointError(
                f"{where} has a VAE with the shift_factor {shift!r}; a number must stand there: "
                f"mend its config, or give the VAE of {family}"
            )
    elif shift:
        raise CheckpointError(
            f"{where} has a VAE with the shift_factor {shift!r}, which the "
            f"pipeline of {family} passes over; give the VAE that the model was trained with"
        )
    _require_statistics(config, family, where, read=statistics)
    refuse_unknown_settings(KIND, "vae", config, _NEUTRAL, where)
    factor = config.get("scaling_factor")
    if factor is None:
        return (f"{where} has a VAE without scaling_factor; diffusers' {DEFAULT_FACTOR} is used",)
    if not is_number(factor) or factor <= 0:
        raise CheckpointError(
            f"{where} has a VAE with the scaling_factor {factor!r}; it must be a number above 0: "
            f"mend its config, or give the VAE of {family}"
        )
    return ()


def _require_statistics(config: Mapping[str, Any], family: str, where: str, *, read: bool) -> None:
    """Both of `latents_mean` and `latents_std`, as many as channels, where they are read; else
    neither."""
    there = [name for name in _STATISTICS if config.get(name) is not None]
    if not there:
        return
    if not read or len(there) == 1:
        raise CheckpointError(
            f"{where} has a VAE with {' and '.join(there)}, which the pipeline of {family} "
            "passes over, so it is not known what the model was trained on; give the VAE that "
            "belongs to it, or take them out of the config"
        )
    channels = config.get("latent_channels", 4)
    for name in there:
        value = config[name]
        numbers = isinstance(value, list | tuple) and all(map(is_number, value))
        if not numbers or len(value) != channels or (name == "latents_std" and min(value) <= 0):
            raise CheckpointError(
                f"{where} has a VAE with {name} {str(value)[:80]}; {channels} numbers must stand "
                "there, above 0 for latents_std: mend its config"
            )
