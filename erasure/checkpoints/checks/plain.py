"""Whether a model is plain text-to-image, as far as its configs tell."""

from erasure.checkpoints.checks.plain_unet import require_plain_unet
from erasure.checkpoints.checks.plain_vae import require_plain_vae
from erasure.checkpoints.checks.quantised import refuse_quantised_config
from erasure.checkpoints.description import Description
from erasure.checkpoints.family import Family
from erasure.errors import CheckpointError


def require_plain(description: Description, family: Family, where: str) -> tuple[str, ...]:
    """Refuse a model that cannot be given all it was trained with; `where` holds its configs.

    Returns:
        Notes on what its configs leave open.

    Raises:
        CheckpointError: see `plain_unet`, `plain_vae` and `quantised`.
    """
    for part in family.parts:
        refuse_quantised_config(getattr(description, part.component), f"{where}: {part.component}")
    require_plain_unet(description.unet, family, latent_channels(description), where)
    _require_widths(description, where)
    return require_plain_vae(description.vae, family, where)


def latent_channels(description: Description) -> int:
    """Channels of the latents, as the VAE's config has it or diffusers takes it."""
    return int(description.vae.get("latent_channels", 4))


def _require_widths(description: Description, where: str) -> None:
    """The UNet listens to as many features as the text encoders, side by side, give."""
    encoders = description.tokenizers().values()
    width = sum(int(config.get("hidden_size", 512)) for config in encoders)
    taken = description.unet.get("cross_attention_dim", 1280)
    if isinstance(taken, int) and taken != width:
        raise CheckpointError(
            f"{where} has a UNet that listens to {taken} features (cross_attention_dim) and "
            f"{'a text encoder that gives' if len(encoders) == 1 else 'text encoders that give'} "
            f"{width}; they are of different models: give those that belong together"
        )
