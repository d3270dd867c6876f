"""What an erasure of a diffusion model is made of: the task, samplers, and sources of batches."""
