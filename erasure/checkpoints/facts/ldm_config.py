"""The `.yaml` that stands beside a single file: the config of the code that trained it.

A1111 and others read it for every family, by the name of the file with `.yaml` behind its stem.
Source: the configs of CompVis' latent-diffusion, Stability AI's stablediffusion and
generative-models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from erasure.checkpoints.facts.scheduler_values import short
from erasure.checkpoints.facts.statements import Statement
from erasure.diffusion.schedule import Prediction
from erasure.errors import CheckpointError

_LARGEST: Final = 65_536
"""Bytes; published ones have 2,000 to 4,000."""
_PARAMETERIZATIONS: Final[Mapping[str, Prediction]] = {"eps": "epsilon", "v": "v_prediction"}
_SCALINGS: Final[Mapping[str, Prediction]] = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}
_SCHEDULES: Final = {
    "linear": "scaled_linear",  # in their code the roots are evenly spaced
    "sqrt_linear": "linear",
    "cosine": "squaredcos_cap_v2",
}
_ALL_NOISE: Final = ("rescale_betas_zero_snr", "zero_terminal_snr", "ztsnr", "zsnr")
_SWITCH: Final = {"true": True, "false": False}
_SILENT: Final = ("", "~", "null")


class _Loader(yaml.BaseLoader):  # type: ignore[misc]
    """Texts, lists and mappings alone: no tag makes an object, and no alias multiplies one."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name), which no such config needs")
        return super().compose_node(parent, index)


def read_beside(path: Path) -> Statement | None:
    """What the `.yaml` beside a single file says; None where there is none.

    Raises:
        CheckpointError: it is too large, no YAML, no such config, or of another kind of training.
    """
    file = path.with_suffix(".yaml")
    if not file.is_file():
        return None
    parameters = _parameters(file)
    source = f"{file.name} beside it"
    if isinstance(parameters.get("denoiser_config"), Mapping):
        return _of_sgm(parameters["denoiser_config"], file, source)
    return _of_ldm(parameters, file, source)


def _parameters(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        document = yaml.load(content, Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as err:
        reason = " ".join(str(err).split())[:160]
        raise CheckpointError(
            f"{file}, which stands beside the checkpoint, cannot be read as YAML ({reason}); "
            "mend it, or move it away"
        ) from err
    model = document.get("model") if isinstance(document, Mapping) else None
    parameters = model.get("params") if isinstance(model, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise CheckpointError(
            f"{file}, which stands beside the checkpoint, has no model.params, so it is no config "
            "of Stable Diffusion; move it away, or give the checkpoint another name"
        )
    return parameters


def _of_ldm(parameters: Mapping[str, Any], file: Path, source: str) -> Statement:
    """Where it is silent on the parameterization, its class has eps."""
    name = _text(parameters, "parameterization", file) or "eps"
    if name not in _PARAMETERIZATIONS:
        raise _unknown(file, "parameterization", name, "eps or v")
    betas = _betas(parameters, file, "timesteps")
    schedule = _text(parameters, "beta_schedule", file)
    if schedule is not None:
        if schedule not in _SCHEDULES:
            raise _unknown(file, "beta_schedule", schedule, ", ".join(_SCHEDULES))
        betas["beta_schedule"] = _SCHEDULES[schedule]
    return Statement(
        source=source,
        prediction=_PARAMETERIZATIONS[name],
        all_noise=_all_noise(parameters, file),
        betas=betas,
    )


def _of_sgm(denoiser: Mapping[str, Any], file: Path, source: str) -> Statement:
    if _class(denoiser, file) != "DiscreteDenoiser":
        raise _unknown(file, "denoiser_config.target", _class(denoiser, file), "DiscreteDenoiser")
    inner = _mapping(denoiser, "params", file)
    scaling = _class(_mapping(inner, "scaling_config", file), file)
    if scaling not in _SCALINGS:
        raise _unknown(file, "scaling_config.target", scaling, "EpsScaling or VScaling")
    levels = _mapping(inner, "discretization_config", file)
    if _class(levels, file) != "LegacyDDPMDiscretization":
        wanted = "LegacyDDPMDiscretization"
        raise _unknown(file, "discretization_config.target", _class(levels, file), wanted)
    own = levels.get("params")
    own = own if isinstance(own, Mapping) else {}
    return Statement(
        source=source,
        prediction=_SCALINGS[scaling],
        all_noise=_all_noise(own, file),
        betas=_betas(own, file, "num_timesteps"),
    )


def _betas(parameters: Mapping[str, Any], file: Path, steps: str) -> dict[str, Any]:
    betas: dict[str, Any] = {}
    for theirs, ours in (("linear_start", "beta_start"), ("linear_end", "beta_end")):
        text = _text(parameters, theirs, file)
        if text is not None:
            betas[ours] = _number(text, theirs, file)
    text = _text(parameters, steps, file)
    if text is not None:
        number = _number(text, steps, file)
        betas["num_train_timesteps"] = int(number) if number.is_integer() else number
    return betas


def _all_noise(parameters: Mapping[str, Any], file: Path) -> bool | None:
    for name in _ALL_NOISE:
        text = _text(parameters, name, file)
        if text is None:
            continue
        if text.lower() not in _SWITCH:
            raise _unknown(file, name, text, "true or false")
        return _SWITCH[text.lower()]
    return None


def _class(part: Mapping[str, Any], file: Path) -> str:
    """The last word of its `target`."""
    return (_text(part, "target", file) or "").rpartition(".")[2]


def _mapping(part: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    value = part.get(name)
    if not isinstance(value, Mapping):
        raise _unknown(file, name, value, "a mapping")
    return value


def _text(part: Mapping[str, Any], name: str, file: Path) -> str | None:
    """A text; None where it is absent or null."""
    value = part.get(name)
    if value is None or (isinstance(value, str) and value.lower() in _SILENT):
        return None
    if not isinstance(value, str):
        raise _unknown(file, name, value, "one value")
    return value


def _number(text: str, name: str, file: Path) -> float:
    try:
        return float(text)
    except ValueError as err:
        raise _unknown(file, name, text, "a number") from err


def _unknown(file: Path, name: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{file}, which stands beside the checkpoint, has {name} {short(value)}, not {wanted}; "
        "mend it, or move it away if it is of another model"
    )
