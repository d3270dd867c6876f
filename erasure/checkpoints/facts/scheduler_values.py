"""Values of a scheduler config, checked before diffusers calculates with them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from erasure.checkpoints.checks.setting_values import ABOVE_ZERO, SWITCH, Kind
from erasure.errors import CheckpointError

MOST_STEPS: Final = 10_000
"""Most training steps that are read; published models have 1,000, a few older ones 4,000."""


def _is_number(value: object) -> bool:
    # Compared, not converted: JSON has whole numbers that no float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_STEPS


def _is_steps(value: object) -> bool:
    return _is_whole(value) and 2 <= value  # type: ignore[operator]


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 < value <= 1  # type: ignore[operator]


def _is_one_or_more(value: object) -> bool:
    return _is_number(value) and value >= 1  # type: ignore[operator]


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MOST_STEPS and all(map(_is_number, value))


def _is_bound(value: object) -> bool:
    return _is_number(value) or value == -math.inf  # diffusers writes -Infinity for none


def _is_null(value: object) -> bool:
    return value is None


_NUMBER: Final[Kind] = (_is_number, "a finite number")
_WHOLE: Final[Kind] = (_is_whole, f"a whole number of at most {MOST_STEPS:,}")
_WORD: Final[Kind] = (_is_word, "a word")
_NUMBERS: Final[Kind] = (_is_numbers, f"a list of at most {MOST_STEPS:,} finite numbers")
_BOUND: Final[Kind] = (_is_bound, "a number or -Infinity")
_NULL: Final[Kind] = (_is_null, "null")

SETTINGS: Final[Mapping[str, Kind]] = {
    "num_train_timesteps": (_is_steps, f"a whole number from 2 to {MOST_STEPS:,}"),
    "disable_corrector": _NUMBERS,
    "trained_betas": _NUMBERS,
    "lambda_min_clipped": _BOUND,
    # A picture of pixels is cut to these when it is drawn.
    "clip_sample_range": ABOVE_ZERO,
    "dynamic_thresholding_ratio": (_is_share, "a number above 0, of at most 1"),
    "sample_max_value": (_is_one_or_more, "a finite number of 1 or more"),
    "solver_p": _NULL,
    "tau_func": _NULL,
    **dict.fromkeys(
        (
            "beta_start",
            "beta_end",
            "flow_shift",
            "sigma_min",
            "sigma_max",
            "shift_terminal",
        ),
        _NUMBER,
    ),
    **dict.fromkeys(
        (
            "corrector_order",
            "noise_sampler_seed",
            "predictor_order",
            "solver_order",
            "steps_offset",
        ),
        _WHOLE,
    ),
    **dict.fromkeys(
        (
            "clip_sample",
            "euler_at_final",
            "lower_order_final",
            "predict_epsilon",
            "predict_x0",
            "rescale_betas_zero_snr",
            "set_alpha_to_one",
            "skip_prk_steps",
            "thresholding",
            "use_beta_sigmas",
            "use_dynamic_shifting",
            "use_exponential_sigmas",
            "use_flow_sigmas",
            "use_karras_sigmas",
            "use_lu_lambdas",
        ),
        SWITCH,
    ),
    **dict.fromkeys(
        (
            "algorithm_type",
            "beta_schedule",
            "final_sigmas_type",
            "interpolation_type",
            "prediction_type",
            "solver_type",
            "time_shift_type",
            "timestep_spacing",
            "timestep_type",
            "variance_type",
        ),
        _WORD,
    ),
}
"""Settings of the understood classes, and of their older versions -> what their values are."""
_MAY_BE_NULL: Final = frozenset(
    {
        "noise_sampler_seed",
        "shift_terminal",
        "sigma_max",
        "sigma_min",
        "trained_betas",
        "variance_type",
    }
)


def require_values(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Check the value of every setting that is known.

    Returns:
        The settings that are not known; those that begin with `_` are notes of diffusers.

    Raises:
        CheckpointError: a value that is none of its setting.
    """
    for name, value in config.items():
        if name not in SETTINGS or (value is None and name in _MAY_BE_NULL):
            continue
        fits, wanted = SETTINGS[name]
        if not fits(value):
            raise CheckpointError(
                f"{where} has a scheduler whose {name} is {short(value)}; it must be {wanted}, so "
                "mend scheduler_config.json or fetch it again"
            )
    return tuple(n for n in config if n not in SETTINGS and not n.startswith("_"))


def short(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
