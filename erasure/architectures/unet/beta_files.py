"""Single files of Stable Diffusion 1.x, 2.x and XL: what tells their training, and what others take
them for where the format cannot tell them the truth.

Source: the detection of ComfyUI, the single-file loader of diffusers and the config files of
A1111, as read in 2026; `docs` of none of them promises it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor

from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.facts.scheduler import describe_betas
from erasure.checkpoints.facts.statements import ALL_NOISE_KEY, SHORT, VELOCITY_KEY
from erasure.diffusion.schedule import Prediction

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

VELOCITY_BIAS: Final = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_NODE: Final = "its node ModelSamplingDiscrete"


def seems_velocity(weights: Mapping[str, Tensor]) -> bool | None:
    """Whether one bias of an SD 2.x UNet spreads as in one that predicts velocity.

    Args:
        weights: original names, with their prefix.

    Returns:
        None where that bias is not there.

    Source: the detection of ComfyUI, which asks whether its standard deviation exceeds 0.09.
    """
    bias = weights.get(VELOCITY_BIAS)
    return None if bias is None else float(bias.float().std()) > 0.09


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaFiles:
    """The files of a family that noises by betas in discrete steps."""

    comfyui: Literal["keys", "bias", "nothing"]
    """Where ComfyUI looks for what the model predicts: at empty tensors, at the spread of one bias,
    or nowhere, as it knows one answer."""
    smaller: int | None = None
    """Latent side of the published model that predicts noise, where the other is the larger."""

    def seems(self, tensors: Mapping[str, Tensor], /) -> tuple[Prediction, str] | None:
        """Go by the bias where ComfyUI does; a file without it predicts noise."""
        if self.comfyui != "bias":
            return None
        seems = seems_velocity(tensors)
        if seems is None:
            return "epsilon", ""
        who = "the spread of one bias (ComfyUI's rule), as the file does not say"
        return "v_prediction" if seems else "epsilon", who

    def published_as(self, description: "Description", /) -> "Description":
        """Give the smaller size to a model that predicts noise."""
        if self.smaller is None or description.prediction_type != "epsilon":
            return description
        unet = {**description.components["unet"], "sample_size": self.smaller}
        return description.having(unet=unet)

    def marks(self, scheduler: Mapping[str, Any], /) -> Mapping[str, Tensor]:
        """Mark a prediction of velocity, and zero terminal SNR.

        ComfyUI reads the marks in files of SD XL alone, Forge and its kin in others too. Files of
        SD 2.x are told apart by a bias, so they get none unless they were trained to zero terminal
        SNR. A model that predicts noise has none.
        """
        if scheduler.get("prediction_type") != "v_prediction":
            return {}
        all_noise = bool(scheduler.get("rescale_betas_zero_snr"))
        if self.comfyui == "bias" and not all_noise:
            return {}
        return {name: torch.empty(0) for name in (VELOCITY_KEY, ALL_NOISE_KEY)[: 1 + all_noise]}

    def misread(
        self,
        checkpoint: "Checkpoint",
        network: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[str, ...]:
        """Name ComfyUI, the loader of diffusers, and all that read no noise levels."""
        scheduler = checkpoint.description.scheduler
        published = shipped_description(checkpoint.architecture.key).scheduler
        said = (
            self._comfyui(checkpoint, network or checkpoint.network, dtype),
            _diffusers(scheduler, published),
            _noise_levels(scheduler, published),
        )
        return tuple(sentence for sentence in said if sentence)

    def _comfyui(
        self, checkpoint: "Checkpoint", network: Mapping[str, Tensor], dtype: torch.dtype | None
    ) -> str:
        """It reads empty tensors, or one bias, or takes the model to predict noise."""
        family, scheduler = checkpoint.architecture, checkpoint.description.scheduler
        ours: Prediction = scheduler["prediction_type"]
        if self.comfyui == "keys":
            return ""
        theirs: Prediction = "epsilon"
        reason = f"no mark in a file of {family.title} is read there"
        if self.comfyui == "bias":
            main = family.main_part
            names = {f"{main.prefix}{n}": w for n, w in main.to_original(network).items()}
            bias = names.get(VELOCITY_BIAS)
            written = (
                {} if bias is None else {VELOCITY_BIAS: bias if dtype is None else bias.to(dtype)}
            )
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
