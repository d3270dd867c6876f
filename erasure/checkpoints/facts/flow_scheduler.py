"""The scheduler config of a model of rectified flow: which is understood, and the times it tells.

Published models name `FlowMatchEulerDiscreteScheduler`. What its config says of training is one
number, the shift of the times towards noise; all else is of sampling.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from erasure.checkpoints.facts.scheduler import CONFIG_FILE
from erasure.checkpoints.facts.scheduler_values import short
from erasure.checkpoints.facts.statements import SHORT, Statement, sources
from erasure.checkpoints.facts.training_kind import SchedulerSource, TrainingKind
from erasure.checkpoints.wording import listed
from erasure.diffusion.schedule import Prediction, RectifiedFlow
from erasure.errors import CheckpointError, way

FLOW: Final = "FlowMatchEulerDiscreteScheduler"
"""The class in diffusers."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    # What diffusers takes where a config is silent.
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": False,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}
_TERMINAL: Final = "shift_terminal"
"""Setting of the last level of a sampling, to which all are stretched."""
_OTHER_TIMES: Final[Mapping[str, tuple[Any, ...]]] = {
    # Setting -> values that leave the times as they are.
    "invert_sigmas": (None, False),
    _TERMINAL: (None, False, 0),
    "use_karras_sigmas": (None, False),
    "use_exponential_sigmas": (None, False),
    "use_beta_sigmas": (None, False),
    "time_shift_type": (None, "exponential"),
    "stochastic_sampling": (None, False),
}


def check_flow_config(
    config: Mapping[str, Any],
    where: str,
    model_index: Mapping[str, Any] | None = None,
    *,
    terminal: bool = False,
) -> dict[str, Any]:
    """Check that a scheduler is one of rectified flow, and complete its config.

    Args:
        config: the content of `scheduler_config.json`.
        where: what to call the checkpoint in a message.
        model_index: names the class too, and is what diffusers goes by.
        terminal: whether models of the family are published with a last level of their own.

    Raises:
        CheckpointError: another class, times of another kind, or a value that is none.
    """
    entry = (model_index or {}).get("scheduler")
    named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    for kind in (named, config.get("_class_name")):
        if kind is not None and kind != FLOW:
            raise CheckpointError(
                f"the scheduler of {where} is {short(kind)}, and a transformer of rectified flow "
                f"goes with {FLOW}; give the model's own scheduler config"
            )
    for setting, plain in _OTHER_TIMES.items():
        ends = terminal and setting == _TERMINAL and _share(config.get(setting))
        if config.get(setting) not in plain and not ends:
            raise CheckpointError(
                f"the scheduler of {where} has {setting} {short(config[setting])}, which makes "
                "other times than those the model was published with; take it out of "
                f"{CONFIG_FILE}"
            )
    whole = {**_DEFAULTS, **config, "_class_name": FLOW}
    for setting, default in _DEFAULTS.items():
        if type(default) is bool:
            if type(whole[setting]) is not bool:
                raise _wrong(where, setting, whole[setting], "true or false")
        elif not _above_zero(whole[setting]):
            raise _wrong(where, setting, whole[setting], "a finite number above 0")
    if whole["num_train_timesteps"] != 1000:  # the networks multiply by it themselves
        raise _wrong(where, "num_train_timesteps", whole["num_train_timesteps"], "1000")
    if whole["base_image_seq_len"] >= whole["max_image_seq_len"]:
        raise _wrong(where, "max_image_seq_len", whole["max_image_seq_len"], "more than the base")
    return whole


def flow_schedule_of(config: Mapping[str, Any], *, terminal: bool = False) -> RectifiedFlow:
    """The forward process of a diffusers scheduler config, with the times that training draws.

    A shift that depends on the size of the picture is taken at the largest size that the config
    names, which the model was published for: m = exp(max_shift), 3.16 for FLUX.1-dev.

    Raises:
        CheckpointError: as `check_flow_config`.
    """
    whole = check_flow_config(config, CONFIG_FILE, terminal=terminal)
    return RectifiedFlow(shift=_shift(whole))


def describe_flow(config: Mapping[str, Any]) -> str:
    """The times of a complete config in a few words."""
    if config["use_dynamic_shifting"]:
        return (
            f"rectified flow, times shifted by {config['base_shift']:g} to "
            f"{config['max_shift']:g} with the picture's size (m {_shift(config):.3g} in training)"
        )
    return f"rectified flow, times shifted by m {_shift(config):g}"


def dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """mu of a picture of so many tokens: linear between the two sizes of a complete config.

    Source: `calculate_shift` of diffusers' pipelines of SD3 and FLUX.
    """
    low, high = config["base_image_seq_len"], config["max_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / (high - low)
    return float(tokens * slope + config["base_shift"] - slope * low)


def settle_flow(
    source: SchedulerSource,
    statements: Sequence[Statement],
    where: str,
    *,
    wanted: Prediction | None = None,
    buffer: Tensor | None = None,
    terminal: bool = False,
) -> tuple[dict[str, Any], TrainingKind]:
    """Complete the scheduler config of a flow model; see `erasure.checkpoints.facts.training_kind`.

    Raises:
        CheckpointError: another scheduler, or something says that the model predicts noise.
    """
    config = check_flow_config(source.config, where, source.model_index, terminal=terminal)
    speaking = [one for one in statements if one.prediction is not None]
    if wanted is not None or speaking:
        says = SHORT[wanted] if wanted is not None else SHORT[speaking[0].prediction or "epsilon"]
        by = way("prediction") if wanted is not None else sources(speaking)
        raise CheckpointError(
            f"{where} is a model of rectified flow, which predicts velocities between noise and "
            "picture, and ",
            by,
            f" says {says}; leave that out",
        )
    assumed = [name for name in ("shift", "use_dynamic_shifting") if name not in source.config]
    by = source.name
    if assumed:
        by += f" and, for {listed(assumed)}, the defaults of {FLOW}"
    return config, TrainingKind(prediction_from="its architecture", levels_from=by)


def _shift(config: Mapping[str, Any]) -> float:
    """m of s' = m s / (1 + (m - 1) s)."""
    dynamic = config["use_dynamic_shifting"]
    return math.exp(config["max_shift"]) if dynamic else float(config["shift"])


def _above_zero(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < 1e6  # type: ignore[operator]


def _share(value: object) -> bool:
    return _above_zero(value) and value < 1  # type: ignore[operator]


def _wrong(where: str, setting: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"the scheduler of {where} has {setting} {short(value)}, and {wanted} must stand there; "
        f"mend {CONFIG_FILE}"
    )
