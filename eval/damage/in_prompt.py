"""What an erased concept takes along out of a prompt: with it and without it, on one seed."""

# N seeds, D features.

from dataclasses import dataclass

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.rates.intervals import Mean, mean_interval, paired_difference


@dataclass(frozen=True, slots=True)
class InPrompt:
    """Distances to the base's picture of the prompt without the concept, means over seeds."""

    audited: Mean
    """Distance of the audited model's picture of the prompt with the concept; 0 if no more than
    the concept was taken."""
    base: Mean
    """Distance of the base's picture of the same prompt: what the concept itself adds."""
    change: Mean
    """Audited less base; below 0 where the concept's part went, above 0 where more did."""


def in_prompt_distances(audited: Tensor, base: Tensor, without: Tensor) -> InPrompt:
    """Compare pictures of `church, apple` by both models with the base's `apple`, seed by seed.

    Args:
        audited: (N, D) features of the audited model's pictures of the prompts with the concept.
        base: (N, D) of the base's pictures of the same prompts and seeds.
        without: (N, D) of the base's pictures of the prompts without the concept, same seeds.

    Raises:
        EvalError: shapes differ, there is no picture, or a value is not finite.

    Source: the pairs are those of the dual version of Six-CD (CVPR 2025); the distance is ours.
    """
    if not audited.shape == base.shape == without.shape or audited.ndim != 2:
        shapes = ", ".join(str(tuple(side.shape)) for side in (audited, base, without))
        raise EvalError(f"features have the shapes {shapes}; give (N, D) of the same prompts")
    target = without.detach().double().cpu()
    far, was = (
        torch.linalg.vector_norm(side.detach().double().cpu() - target, dim=1).tolist()
        for side in (audited, base)
    )
    return InPrompt(mean_interval(far), mean_interval(was), paired_difference(was, far))
