"""What other tools take a single file for, where its format cannot tell them the truth.

Source: the detection of ComfyUI, the single-file loader of diffusers and the config files of
A1111, as read in 2026; `docs` of none of them promises it.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.facts.flow_scheduler import check_flow_config
from erasure.checkpoints.facts.scheduler import describe_betas
from erasure.checkpoints.facts.statements import SHORT
from erasure.checkpoints.reading.recognise import VELOCITY_BIAS, seems_velocity
from erasure.diffusion.schedule import Prediction

_NODE: Final = "its node ModelSamplingDiscrete"


def misread_by(
    checkpoint: Checkpoint,
    network: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[str, ...]:
    """A sentence for each tool that will take the single file for another kind of model.

    Args:
        checkpoint: what is written.
        network: the edited main component, diffusers names; None for the checkpoint's own.
        dtype: type of the weights as written; None for each tensor's own.
    """
    scheduler = checkpoint.description.scheduler
    published = shipped_description(checkpoint.architecture.key).scheduler
    if checkpoint.description.prediction_type == "flow":
        return _times(checkpoint, published)
    said = (
        _comfyui(checkpoint, network or checkpoint.network, dtype),
        _diffusers(scheduler, published),
        _noise_levels(scheduler, published),
    )
    return tuple(sentence for sentence in said if sentence)


def _times(checkpoint: Checkpoint, published: Mapping[str, Any]) -> tuple[str, ...]:
    """Tools take the published shift of the times."""
    tell = checkpoint.architecture.describe_noise
    ours = tell(checkpoint.description.scheduler)
    theirs = tell(check_flow_config(published, "the published config"))
    if ours == theirs:
        return ()
    return (
        f"tools that read single files take the published times ({theirs}), but this model has "
        f"others ({ours}); only a diffusers folder tells them",
    )


def _comfyui(
    checkpoint: Checkpoint, network: Mapping[str, Tensor], dtype: torch.dtype | None
) -> str:
    """It reads empty tensors, or one bias, or takes the model to predict noise."""
    family, scheduler = checkpoint.architecture, checkpoint.description.scheduler
    ours: Prediction = scheduler["prediction_type"]
    if family.marked == "keys":
        return ""
    theirs: Prediction = "epsilon"
    reason = f"no mark in a file of {family.title} is read there"
    if family.marked == "bias":
        main = family.main_part
        names = {f"{main.prefix}{n}": w for n, w in main.to_original(network).items()}
        bias = names.get(VELOCITY_BIAS)
        written = {} if bias is None else {VELOCITY_BIAS: bias if dtype is None else bias.to(dtype)}
        theirs = "v_prediction" if seems_velocity(written) else "epsilon"
        if bias is not None:
            spread = float(written[VELOCITY_BIAS].float().std())
            reason = f"it goes by the spread of one bias, {spread:.3f}, and takes v above 0.09"
    if theirs != ours:
        return (
            f"ComfyUI will take this file for a model that predicts {SHORT[theirs]}, but it "
            f"predicts {SHORT[ours]} ({reason}); there {_NODE} with "
            f"{'v_prediction' if ours == 'v_prediction' else 'eps'} mends it, in A1111 a .yaml "
            "beside the file"
        )
    if scheduler.get("rescale_betas_zero_snr"):
        return (
            f"ComfyUI will draw this file without zero terminal SNR, to which it was trained "
            f"({reason}); there {_NODE} with zsnr mends it"
        )
    return ""


def _diffusers(scheduler: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    """It takes the published scheduler, and reads no mark."""
    differ = [f"predicts {SHORT[scheduler['prediction_type']]}"]
    if scheduler["prediction_type"] == published["prediction_type"]:
        differ = []
    if scheduler.get("rescale_betas_zero_snr"):
        differ.append("was trained to zero terminal SNR")
    if not differ:
        return ""
    return (
        "the single-file loader of diffusers will take this file for a model that predicts "
        f"{SHORT[published['prediction_type']]}, but it {' and '.join(differ)}; give "
        "from_single_file the folder of `erasure export --to diffusers` as its config"
    )


def _noise_levels(scheduler: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    ours, theirs = (
        describe_betas({**config, "rescale_betas_zero_snr": False})
        for config in (scheduler, published)
    )
    if ours == theirs:
        return ""
    return (
        f"tools that read single files take the published noise levels ({theirs}), but this "
        f"model was trained with others ({ours}); only a diffusers folder tells them"
    )
