"""The scheduler config of a checkpoint: which are understood, and the noise levels they describe.

All classes of diffusers that noise by betas in discrete steps are understood: training and sampling
follow from the betas and from what the model predicts. Others noise in another way (EDM, flow
matching), or go with models of another kind (consistency models), and are refused by name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.facts.scheduler_values import require_values, short
from erasure.checkpoints.wording import listed
from erasure.diffusion.schedule import (
    NoiseSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_betas,
)
from erasure.errors import CheckpointError

CONFIG_FILE: Final = "scheduler_config.json"


@dataclass(frozen=True, slots=True)
class SchedulerClass:
    """What diffusers takes for a class of its own where the config is silent."""

    beta_start: float = 1e-4
    beta_end: float = 0.02
    all_noise: bool = False
    """Whether it has `rescale_betas_zero_snr`."""

    @property
    def defaults(self) -> dict[str, Any]:
        """Setting -> value, of those that decide the noise levels and the prediction."""
        return {
            "num_train_timesteps": 1000,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
        }


_PLAIN: Final = SchedulerClass()
_SCALED: Final = SchedulerClass(0.00085, 0.012)
_RESCALES: Final = SchedulerClass(all_noise=True)
CLASSES: Final[Mapping[str, SchedulerClass]] = {
    "DDIMScheduler": _RESCALES,
    "DDIMParallelScheduler": _RESCALES,
    "DDPMScheduler": _RESCALES,
    "DDPMParallelScheduler": _RESCALES,
    "DEISMultistepScheduler": _PLAIN,
    "DPMSolverMultistepScheduler": _RESCALES,
    "DPMSolverSDEScheduler": _SCALED,
    "DPMSolverSinglestepScheduler": _PLAIN,
    "EulerAncestralDiscreteScheduler": _RESCALES,
    "EulerDiscreteScheduler": _RESCALES,
    "HeunDiscreteScheduler": _SCALED,
    "KDPM2AncestralDiscreteScheduler": _SCALED,
    "KDPM2DiscreteScheduler": _SCALED,
    "LMSDiscreteScheduler": _PLAIN,
    "PNDMScheduler": _PLAIN,
    "SASolverScheduler": _PLAIN,
    "UniPCMultistepScheduler": _RESCALES,
}
"""Name of the class in diffusers -> its defaults."""

_REFUSED: Final = (
    ("EDM", "noises by the continuous levels of EDM"),
    ("CosineDPM", "noises by the continuous levels of EDM"),
    ("FlowM", "is of flow matching"),
    ("LCM", "goes with a model distilled to a few steps"),
    ("TCD", "goes with a model distilled to a few steps"),
    ("CMStochastic", "goes with a consistency model"),
    ("SCM", "goes with a consistency model"),
    ("VQDiffusion", "noises tokens, not latents"),
    ("DDIMInverse", "turns pictures into noise"),
    ("DPMSolverMultistepInverse", "turns pictures into noise"),
)
_OTHER_PROCESS: Final[Mapping[str, str]] = {
    "sigma_data": "the continuous levels of EDM",
    "sigma_schedule": "the continuous levels of EDM",
    "rho": "the continuous levels of EDM",
    "snr_shift_scale": "levels shifted after the betas",
    "shift": "flow matching",
    "base_shift": "flow matching",
    "max_shift": "flow matching",
    "shift_terminal": "flow matching",
    "use_flow_sigmas": "flow matching",
    "use_dynamic_shifting": "flow matching",
}
"""Setting -> what it says of the forward process, unless it is null or false."""
_BETAS: Final = {"linear": linear_betas, "scaled_linear": scaled_linear_betas}
COSINE: Final = "squaredcos_cap_v2"


@dataclass(frozen=True, slots=True)
class CheckedScheduler:
    """A scheduler config that is understood."""

    config: Mapping[str, Any]
    """As given, with the defaults of its class where it is silent on betas or prediction."""
    assumed: tuple[str, ...] = ()
    """The settings that were taken from the class."""
    unknown: tuple[str, ...] = ()
    """Settings that no understood class has; diffusers passes over them, and so do we."""

    @property
    def kind(self) -> str:
        """The class in diffusers."""
        return str(self.config["_class_name"])


def check_scheduler_config(
    config: Mapping[str, Any], where: str, model_index: Mapping[str, Any] | None = None
) -> CheckedScheduler:
    """Check that a scheduler is one that can be treated, and complete its config.

    Args:
        config: the content of `scheduler_config.json`.
        where: what to call the checkpoint in a message.
        model_index: names the class too, and is what diffusers goes by.

    Raises:
        CheckpointError: another class, another forward process, a prediction that cannot be
            trained on, or a value that is none.
    """
    name = _class_name(config, where, model_index or {})
    known = CLASSES[name]
    unknown = require_values(config, where)
    for setting, process in _OTHER_PROCESS.items():
        if config.get(setting) not in (None, False):
            raise _unsuited(where, f"has {setting} {short(config[setting])}, which is {process}")
    if config.get("timestep_type", "discrete") != "discrete":
        raise _unsuited(where, f"has timestep_type {short(config['timestep_type'])}")
    if config.get("predict_epsilon", True) is not True:
        raise _unsuited(where, "has predict_epsilon false, so its model predicts pictures")
    whole = {"_class_name": name, **known.defaults, **config} | {"_class_name": name}
    _require_prediction(whole, where, known)
    noise_levels(whole, where)
    needed = _deciding(whole)
    assumed = tuple(key for key in known.defaults if key in needed and key not in config)
    return CheckedScheduler(whole, assumed, unknown)


def noise_levels(config: Mapping[str, Any], where: str = CONFIG_FILE) -> Tensor:
    """abar_t of a complete config, (T,) float32, falling; the last is 0 with zero terminal SNR.

    Equal in every bit to `alphas_cumprod` of diffusers' `DDPMScheduler`.

    Raises:
        CheckpointError: the betas are no noise schedule.
    """
    betas = _betas(config, where)
    if config.get("rescale_betas_zero_snr"):
        betas = zero_terminal_betas(betas)
    levels = torch.cumprod(1.0 - betas, dim=0)
    inside = bool(((levels >= 0) & (levels <= 1)).all())  # also False where one is not a number
    if not inside or not bool((levels.diff() <= 0).all()) or float(levels[0]) in (0.0, 1.0):
        raise CheckpointError(
            f"{where} has a scheduler whose betas ({describe_betas(config)}) are no noise "
            "schedule: the signal must fall from below 1 towards 0; give betas between 0 and 1"
        )
    return levels


def noise_schedule_of(config: Mapping[str, Any]) -> NoiseSchedule:
    """The forward process that a diffusers scheduler config describes.

    Raises:
        CheckpointError: as `check_scheduler_config`.
    """
    whole = check_scheduler_config(config, CONFIG_FILE).config
    return NoiseSchedule(noise_levels(whole), whole["prediction_type"])


def describe_betas(config: Mapping[str, Any]) -> str:
    """The noise levels of a complete config in a few words."""
    steps = f"{config['num_train_timesteps']} steps"
    rescaled = ", zero terminal SNR" if config.get("rescale_betas_zero_snr") else ""
    if config.get("trained_betas") is not None:
        return f"trained_betas of {steps}{rescaled}"
    if config["beta_schedule"] == COSINE:
        return f"{COSINE}, {steps}{rescaled}"
    span = f"{config['beta_start']:g} to {config['beta_end']:g}"
    return f"{config['beta_schedule']}, {span}, {steps}{rescaled}"


def _class_name(config: Mapping[str, Any], where: str, model_index: Mapping[str, Any]) -> str:
    entry = model_index.get("scheduler")
    names = [entry[1]] if isinstance(entry, list) and len(entry) == 2 and entry[1] else []
    names += [config["_class_name"]] if config.get("_class_name") is not None else []
    if not names:
        raise CheckpointError(
            f"{where} does not say of which class its scheduler is; give its _class_name in "
            f"{CONFIG_FILE}, such as DDIMScheduler"
        )
    for name in names:
        if not isinstance(name, str) or name not in CLASSES:
            reason = next((r for start, r in _REFUSED if str(name).startswith(start)), None)
            raise _unsuited(where, f"is {short(name)}, which {reason or 'is not known here'}")
    return str(names[0])


def _require_prediction(config: Mapping[str, Any], where: str, known: SchedulerClass) -> None:
    prediction = config["prediction_type"]
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(
            f"{where} has a scheduler whose prediction_type is {short(prediction)}; models that "
            "predict 'epsilon' or 'v_prediction' can be edited: give another"
        )
    if not config.get("rescale_betas_zero_snr"):
        return
    if prediction == "epsilon":
        raise CheckpointError(
            f"{where} has a scheduler with rescale_betas_zero_snr and prediction_type 'epsilon', "
            "which exclude each other: from noise alone no picture follows; set the one that is "
            "wrong right"
        )
    if not known.all_noise:
        able = [name for name, one in CLASSES.items() if one.all_noise and "Parallel" not in name]
        raise CheckpointError(
            f"{where} has rescale_betas_zero_snr in the config of a {config['_class_name']}, which "
            f"diffusers passes over; give the class {', '.join(able[:-1])} or {able[-1]}"
        )


def _betas(config: Mapping[str, Any], where: str) -> Tensor:
    steps, trained = config["num_train_timesteps"], config.get("trained_betas")
    if trained is not None:
        if len(trained) != steps:
            raise CheckpointError(
                f"{where} has a scheduler with {len(trained)} trained_betas, but "
                f"num_train_timesteps is {steps}; both must be the same"
            )
        return torch.tensor(trained, dtype=torch.float32)
    kind = config["beta_schedule"]
    if kind == COSINE:
        return cosine_betas(steps)
    if kind not in _BETAS:
        raise CheckpointError(
            f"{where} has a scheduler whose beta_schedule is {short(kind)}; "
            f"{listed([*_BETAS, COSINE])} are understood, so mend {CONFIG_FILE} or fetch it again"
        )
    start, end = config["beta_start"], config["beta_end"]
    if not (0 < start < 1 and 0 < end < 1 and math.isfinite(start + end)):
        raise CheckpointError(
            f"{where} has a scheduler with betas from {start} to {end}; both must be between 0 "
            "and 1"
        )
    return _BETAS[kind](start, end, steps)


def _deciding(config: Mapping[str, Any]) -> set[str]:
    """The settings on which noise levels and prediction depend."""
    if config.get("trained_betas") is not None:
        return {"prediction_type", "num_train_timesteps"}
    ends = set() if config["beta_schedule"] == COSINE else {"beta_start", "beta_end"}
    return {"prediction_type", "num_train_timesteps", "beta_schedule"} | ends


def _unsuited(where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"the scheduler of {where} {what}; models that noise by betas in discrete steps, with a "
        "scheduler such as DDIMScheduler or EulerDiscreteScheduler, can be treated"
    )
