"""Families whose denoiser is the UNet of diffusers, told by CLIP."""
