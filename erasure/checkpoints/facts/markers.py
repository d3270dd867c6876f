"""Empty tensors that tell other tools how the UNet of a single file was trained.

ComfyUI reads them in files of SD XL alone, Forge and its kin in others too. Files of SD 2.x are
told apart by a bias, so they get none unless they were trained to zero terminal SNR. A model that
predicts noise has none.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.facts.statements import ALL_NOISE_KEY, VELOCITY_KEY


def markers(family: Architecture, scheduler: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors to write beside the weights."""
    if scheduler.get("prediction_type") != "v_prediction":
        return {}
    all_noise = bool(scheduler.get("rescale_betas_zero_snr"))
    if family.marked == "bias" and not all_noise:
        return {}
    return {name: torch.empty(0) for name in (VELOCITY_KEY, ALL_NOISE_KEY)[: 1 + all_noise]}
