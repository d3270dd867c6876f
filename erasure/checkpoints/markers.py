"""Empty tensors that tell other tools how a single SD XL file was trained; SD 1 and 2 have none.

Source: the detection of ComfyUI, which writes them too: `v_pred` for a UNet that predicts velocity,
`ztsnr` beside it where the last time step is noise alone (arXiv:2305.08891). A model that predicts
noise has neither.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.family import SDXL, Family

_VELOCITY: Final = "v_pred"
_ALL_NOISE: Final = "ztsnr"


def told_by_markers(family: Family, names: Collection[str]) -> dict[str, Any]:
    """What the names of a single file say of its scheduler's config."""
    if family is not SDXL or _VELOCITY not in names:
        return {}
    all_noise = {"rescale_betas_zero_snr": True} if _ALL_NOISE in names else {}
    return {"prediction_type": "v_prediction", **all_noise}


def markers(family: Family, scheduler: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors to write beside the weights."""
    if family is not SDXL or scheduler.get("prediction_type") != "v_prediction":
        return {}
    all_noise = bool(scheduler.get("rescale_betas_zero_snr"))
    return {name: torch.empty(0) for name in (_VELOCITY, _ALL_NOISE)[: 1 + all_noise]}
