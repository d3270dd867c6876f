"""Names, shapes and values of each part, diffusers <-> original single file."""

from erasure.checkpoints.layout import clip, openclip, unet, vae

__all__ = ["clip", "openclip", "unet", "vae"]
