"""The noise levels that files of SD 1 and 2 hold as a buffer, beside those of the config."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.facts.scheduler import describe_betas, noise_levels
from erasure.errors import CheckpointError

BUFFER: Final = "alphas_cumprod"
_LEAST: Final = 1e-4
"""The tolerance is never below it, as other code sums the betas in another order and precision."""


def all_noise_of_buffer(buffer: Tensor, config: Mapping[str, Any], where: str) -> bool:
    """Whether the buffer is that of `config` rescaled to zero terminal SNR.

    False where it is that of `config` as it is: files keep the buffer of their base even where
    they were trained with rescaled levels.

    Args:
        buffer: abar_t, (T,), in any floating type.
        config: a complete scheduler config without rescaling.

    Raises:
        CheckpointError: it is neither.
    """
    plain = noise_levels(config, where)
    rescaled = noise_levels({**config, "rescale_betas_zero_snr": True}, where)
    if buffer.is_floating_point() and buffer.shape == plain.shape:
        # The last level tells them apart, and is nought in only one of them.
        if _close(buffer, plain):
            return False
        if _close(buffer, rescaled):
            return True
    raise CheckpointError(
        f"{where} holds {BUFFER} that are not the noise levels of its config "
        f"({describe_betas(config)}), so it was trained with others; give a diffusers folder of "
        "the model with its trained_betas, or take the buffer out if it is wrong"
    )


def _close(buffer: Tensor, levels: Tensor) -> bool:
    about = torch.finfo(buffer.dtype)
    relative = max(2 * about.eps, _LEAST)
    absolute = max(about.smallest_normal * about.eps, _LEAST)
    return torch.allclose(buffer.float(), levels, rtol=relative, atol=absolute)
