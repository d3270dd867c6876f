"""Families whose denoiser is a transformer over patches of the latents."""
