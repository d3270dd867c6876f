"""How a checkpoint was trained: what its network predicts, at which noise levels, who says so.

What a file says of itself stands over a config that is given beside it, and the result says so.
Where two places of one file differ, and where the user contradicts the file, it is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from erasure.checkpoints.facts.level_buffer import all_noise_of_buffer
from erasure.checkpoints.facts.scheduler import (
    CLASSES,
    CheckedScheduler,
    check_scheduler_config,
    describe_betas,
)
from erasure.checkpoints.facts.statements import SHORT, Statement, from_config, sources
from erasure.checkpoints.wording import listed
from erasure.diffusion.schedule import Prediction
from erasure.errors import CheckpointError, way

_ASKED: Final = "the prediction that was asked for"
_RESCALING: Final = "DDIMScheduler"
"""The class for a published config whose own class has no zero terminal SNR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingKind:
    """What was taken, and from where."""

    prediction_from: str = ""
    levels_from: str = ""
    """What said which noise levels the model was trained with."""
    notices: tuple[str, ...] = ()
    """What was not followed, each a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSource:
    """A scheduler config, and how it stands to the file."""

    config: Mapping[str, Any]
    model_index: Mapping[str, Any]
    name: str
    """What a message calls the config."""
    own: bool = False
    """Whether it is a part of the checkpoint itself, and so no less than its other statements."""
    fallback: bool = False
    """Whether it stands only where nobody says anything: the published config of the family."""
    guess: str = ""
    """Who says what is predicted, where that was not taken from the config but put into it."""


def settle(
    source: SchedulerSource,
    statements: Sequence[Statement],
    where: str,
    *,
    wanted: Prediction | None = None,
    buffer: Tensor | None = None,
) -> tuple[dict[str, Any], TrainingKind]:
    """Bring the scheduler config and what the file says together.

    Args:
        where: what to call the checkpoint in a message.
        wanted: what the user says that it predicts.
        buffer: `alphas_cumprod` of the file, (T,).

    Returns:
        A complete scheduler config, and where it is from.

    Raises:
        CheckpointError: another kind of training, or two that contradict each other.
    """
    checked = check_scheduler_config(source.config, where, source.model_index)
    if source.own:
        statements = [from_config(source.config, source.name), *statements]
    prediction, prediction_from = _prediction(source, checked, statements, where, wanted)
    betas, betas_from = _betas(source, checked, statements, where)
    config = {**checked.config, "prediction_type": prediction, **betas}
    config["rescale_betas_zero_snr"] = False
    check_scheduler_config(config, where)
    if buffer is not None and all_noise_of_buffer(buffer, config, where):
        statements = [*statements, Statement(source="its buffer alphas_cumprod", all_noise=True)]
    rescales = _all_noise(source, statements, where)
    if rescales and prediction == "epsilon":
        raise CheckpointError(
            f"{where} was trained to zero terminal SNR according to {rescales}, and to predict "
            f"epsilon according to {prediction_from}, which exclude each other; set the wrong one "
            "right, or give ",
            way("prediction", "v"),
            " where nothing else says epsilon",
        )
    config = _rescaled(config, checked) if rescales else config
    if "rescale_betas_zero_snr" not in checked.config and not rescales:
        del config["rescale_betas_zero_snr"]
    kind = TrainingKind(
        prediction_from=prediction_from,
        levels_from=listed(dict.fromkeys([betas_from, rescales] if rescales else [betas_from])),
        notices=tuple(_notices(source, checked, config)),
    )
    return config, kind


def _prediction(
    source: SchedulerSource,
    checked: CheckedScheduler,
    statements: Sequence[Statement],
    where: str,
    wanted: Prediction | None,
) -> tuple[Prediction, str]:
    speaking = [one for one in statements if one.prediction is not None]
    sides = {p: [one for one in speaking if one.prediction == p] for p in SHORT}
    if all(sides.values()):
        differ = " and ".join(f"{SHORT[p]} by {sources(said)}" for p, said in sides.items())
        if wanted is None:
            raise CheckpointError(
                f"{where} contradicts itself: it predicts {differ}; give ",
                way("prediction", "epsilon"),
                " or ",
                way("prediction", "v"),
                ", whichever is right",
            )
        return wanted, f"{_ASKED}, as it says {differ}"
    if speaking:
        said = next(p for p, some in sides.items() if some)
        if wanted not in (None, said):
            raise CheckpointError(
                way("prediction"),
                f" is {SHORT[wanted]}, but {where} predicts {SHORT[said]} according to "
                f"{sources(speaking)}; leave ",
                way("prediction"),
                " out, or set that right",
            )
        return said, sources(speaking)
    if wanted is not None:
        return wanted, _ASKED
    taken: Prediction = checked.config["prediction_type"]
    if "prediction_type" in checked.assumed:
        return taken, f"the default of {checked.kind}, as {source.name} does not say"
    return taken, source.guess or source.name


def _betas(
    source: SchedulerSource,
    checked: CheckedScheduler,
    statements: Sequence[Statement],
    where: str,
) -> tuple[dict[str, Any], str]:
    """The settings that statements name, and who says what the noise levels are."""
    betas: dict[str, Any] = {}
    by: dict[str, str] = {}
    for one in statements:
        for setting, value in one.betas.items():
            if setting in betas and not _same(betas[setting], value):
                raise CheckpointError(
                    f"{where} contradicts itself: its {setting} is {betas[setting]} by "
                    f"{by[setting]} and {value} by {one.source}; set the wrong one right"
                )
            betas.setdefault(setting, value)
            by.setdefault(setting, one.source)
    missing = [n for n in checked.assumed if n != "prediction_type" and n not in betas]
    places = listed(dict.fromkeys(by.values())) if betas else source.name
    if missing:
        places += f" and, for {listed(missing)}, the defaults of {checked.kind}"
    return betas, places


def _all_noise(source: SchedulerSource, statements: Iterable[Statement], where: str) -> str:
    """Who says that the last step is noise alone; empty where it is not."""
    yes = [one for one in statements if one.all_noise]
    no = [one for one in statements if one.all_noise is False]
    if yes and no:
        raise CheckpointError(
            f"{where} contradicts itself: it was trained to zero terminal SNR by {sources(yes)} "
            f"and not by {sources(no)}; set the wrong one right"
        )
    if yes or no:
        return sources(yes) if yes else ""
    return source.name if source.config.get("rescale_betas_zero_snr") else ""


def _rescaled(config: Mapping[str, Any], checked: CheckedScheduler) -> dict[str, Any]:
    """With zero terminal SNR; drawing must then begin at the last step (arXiv:2305.08891)."""
    rescaled = {**config, "rescale_betas_zero_snr": True}
    if not checked.config.get("rescale_betas_zero_snr"):
        rescaled["timestep_spacing"] = "trailing"
    if not CLASSES[checked.kind].all_noise:
        rescaled["_class_name"] = _RESCALING
    return rescaled


def _notices(
    source: SchedulerSource, checked: CheckedScheduler, config: Mapping[str, Any]
) -> Iterable[str]:
    if checked.unknown:
        names = listed(checked.unknown)
        yield f"{source.name} has settings that no scheduler here knows and none follows: {names}"
    if source.own or source.fallback:
        return
    theirs, ours = checked.config["prediction_type"], config["prediction_type"]
    if theirs != ours and "prediction_type" not in checked.assumed:
        yield f"{source.name} says {SHORT[theirs]} and was not followed"
    if describe_betas(checked.config) != describe_betas(config):
        yield f"{source.name} says {describe_betas(checked.config)} and was not followed"


def _same(one: object, other: object) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return one == other
