"""Samplers by name, each built from the scheduler config of the model itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from erasure.errors import ConfigError
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


SCHEDULERS: Final[Mapping[str, Sampler]] = {
    "ddim": Sampler(
        "DDIM, eta 0 (arXiv:2010.02502)",
        "DDIMScheduler",
        {"clip_sample": False},  # a bound on pixels, not on latents
        {"set_alpha_to_one": False},
    ),
    "lms": Sampler("linear multistep, as in SalUn's script", "LMSDiscreteScheduler", needs="scipy"),
    "pndm": Sampler(
        "PLMS, the default of Stable Diffusion 1 (arXiv:2202.09778)",
        "PNDMScheduler",
        defaults={"skip_prk_steps": True},
    ),
    "euler": Sampler("Euler (arXiv:2206.00364)", "EulerDiscreteScheduler"),
    "heun": Sampler("Heun, two looks a step (arXiv:2206.00364)", "HeunDiscreteScheduler"),
    "dpm++": Sampler(
        "DPM-Solver++ 2M (arXiv:2211.01095)",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++"},
    ),
    "unipc": Sampler("UniPC (arXiv:2302.04867)", "UniPCMultistepScheduler"),
}
DEFAULT: Final = "ddim"


def check_scheduler(name: str) -> None:
    """Raise ConfigError, which names the nearest, unless `name` is a key of `SCHEDULERS`."""
    if name not in SCHEDULERS:
        raise ConfigError(f"there is no scheduler {name!r}; {nearest(name, SCHEDULERS)}")


def build_scheduler(name: str, config: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The diffusers scheduler of that name with the noise schedule of `config`.

    Args:
        config: the model's `scheduler_config.json`.

    Raises:
        ConfigError: the name is unknown, or a package that it needs is not installed.
    """
    check_scheduler(name)
    import diffusers

    sampler = SCHEDULERS[name]
    silent = {key: value for key, value in sampler.defaults.items() if key not in config}
    kind = getattr(diffusers, sampler.kind)
    try:
        return kind.from_config(dict(config), **{**silent, **sampler.settings})
    except ImportError as err:
        raise ConfigError(
            f"the scheduler {name!r} needs {sampler.needs}, which is not installed; "
            f"pip install {sampler.needs}, or take {DEFAULT!r}"
        ) from err
