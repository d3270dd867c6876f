"""Samplers by name, each built from the scheduler config of the model itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from erasure.checkpoints.facts.scheduler import CLASSES
from erasure.errors import CheckpointError, ConfigError
from prompts.nearest import nearest


@dataclass(frozen=True, slots=True)
class Sampler:
    """One way from noise to latents that draws no numbers itself: a seed has one picture."""

    title: str
    kind: str
    """Name of the class in diffusers."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Stand over the model's config."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Stand where the model's config is silent, in place of the class's own defaults."""
    needs: str = ""
    """A package that diffusers wants for it."""
    flow: str = ""
    """Class in diffusers of the same solver for models of rectified flow; empty where there is
    none. On its straight lines DDIM without fresh noise takes Euler's steps."""


_EULER_FLOW: Final = "FlowMatchEulerDiscreteScheduler"
SCHEDULERS: Final[Mapping[str, Sampler]] = {
    "ddim": Sampler(
        "DDIM, eta 0 (arXiv:2010.02502)",
        "DDIMScheduler",
        {"clip_sample": False},  # a bound on pixels, not on latents
        {"set_alpha_to_one": False},
        flow=_EULER_FLOW,
    ),
    "lms": Sampler("linear multistep, as in SalUn's script", "LMSDiscreteScheduler", needs="scipy"),
    "pndm": Sampler(
        "PLMS, the default of Stable Diffusion 1 (arXiv:2202.09778)",
        "PNDMScheduler",
        defaults={"skip_prk_steps": True},
    ),
    "euler": Sampler("Euler (arXiv:2206.00364)", "EulerDiscreteScheduler", flow=_EULER_FLOW),
    "heun": Sampler("Heun, two looks a step (arXiv:2206.00364)", "HeunDiscreteScheduler"),
    "dpm++": Sampler(
        "DPM-Solver++ 2M (arXiv:2211.01095)",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++"},
    ),
    "unipc": Sampler("UniPC (arXiv:2302.04867)", "UniPCMultistepScheduler"),
}
DEFAULT: Final = "ddim"
_REJECTED: Final = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What diffusers raises where it is given a value that it cannot use."""


def check_scheduler(name: str) -> None:
    """Raise ConfigError, which names the nearest, unless `name` is a key of `SCHEDULERS`."""
    if name not in SCHEDULERS:
        raise ConfigError(f"there is no scheduler {name!r}; {nearest(name, SCHEDULERS)}")


def build_scheduler(name: str, config: Mapping[str, Any], *, pixels: bool = False) -> Any:  # noqa: ANN401
    """The diffusers scheduler of that name with the noise schedule of `config`.

    Args:
        config: the model's `scheduler_config.json`.
        pixels: whether the model noises pixels; then the config says whether what it predicts is
            bounded, and else nothing is.

    Raises:
        ConfigError: the name is unknown, a package that it needs is not installed, or it cannot
            begin at noise alone where the model was trained to.
        CheckpointError: diffusers cannot make it of that config.
    """
    check_scheduler(name)
    import diffusers

    sampler = SCHEDULERS[name]
    if str(config.get("_class_name")).startswith("FlowMatch"):
        return _flow_scheduler(name, sampler, config)
    silent = {key: value for key, value in sampler.defaults.items() if key not in config}
    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    kind = getattr(diffusers, sampler.kind)
    if settings.get("rescale_betas_zero_snr") and not CLASSES[sampler.kind].all_noise:
        able = [other for other, one in SCHEDULERS.items() if CLASSES[one.kind].all_noise]
        raise ConfigError(
            f"the scheduler {name!r} cannot begin at noise alone, as this model was trained to "
            f"(rescale_betas_zero_snr); take {', '.join(able[:-1])} or {able[-1]}"
        )
    try:
        over = {k: v for k, v in sampler.settings.items() if not (pixels and k == "clip_sample")}
        return kind.from_config(settings, **{**silent, **over})
    except ImportError as err:
        raise ConfigError(
            f"the scheduler {name!r} needs {sampler.needs}, which is not installed; "
            f"pip install {sampler.needs}, or take {DEFAULT!r}"
        ) from err
    except _REJECTED as err:
        raise CheckpointError(
            f"the scheduler {name!r} cannot be made of the model's scheduler config "
            f"({_line(err)}); mend that config, or take another scheduler"
        ) from err


def _flow_scheduler(name: str, sampler: Sampler, config: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The scheduler of a model of rectified flow."""
    import diffusers

    if not sampler.flow:
        able = [other for other, one in SCHEDULERS.items() if one.flow]
        raise ConfigError(
            f"the scheduler {name!r} is for models that noise by betas, and this one is of "
            f"rectified flow; take {' or '.join(able)}, which are the same there"
        )
    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    return getattr(diffusers, sampler.flow).from_config(settings)


def begin_sampling(
    scheduler: Any,  # noqa: ANN401
    steps: int,
    device: Any = None,  # noqa: ANN401
    more: Mapping[str, Any] | None = None,
) -> None:
    """Set the time steps of a scheduler, and check that the model was trained at each of them.

    Args:
        more: what else the scheduler is given, as the family's `sampling` says.

    Raises:
        ConfigError: more steps than there were in training, an offset that leads beyond them, or a
            single one where the config says at which level the last is.
    """
    flow = type(scheduler).__name__.startswith("FlowMatch")
    last = int(scheduler.config.num_train_timesteps) - (not flow)  # a flow begins at its end
    end = scheduler.config.get("shift_terminal")
    if end and steps == 1:  # its levels are stretched between the first and the last
        raise ConfigError(
            "steps is 1, and the model's scheduler needs two to reach its last level "
            f"(shift_terminal {end:g}); give 2 or more"
        )
    try:
        scheduler.set_timesteps(steps, device=device, **(more or {}))
        reached = [float(t) for t in (scheduler.timesteps.min(), scheduler.timesteps.max())]
    except _REJECTED as err:
        if flow:
            raise ConfigError(
                f"steps is {steps}, which the scheduler refuses ({_line(err)}); give 1 or more"
            ) from err
        raise ConfigError(
            f"steps is {steps}, which the scheduler refuses ({_line(err)}); the model was trained "
            f"with {last + 1} steps, so give fewer, or mend its scheduler config"
        ) from err
    if not (0 <= reached[0] and reached[1] <= last):
        raise ConfigError(
            f"steps is {steps}, which with the model's scheduler config leads to the time step "
            f"{reached[1]:g} of {last}; give fewer steps, or mend its steps_offset"
        )


def _line(err: Exception) -> str:
    return " ".join(str(err).split())
