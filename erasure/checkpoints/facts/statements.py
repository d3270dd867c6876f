"""What a file itself says of how its network was trained: in its keys, its header, beside it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from erasure.checkpoints.facts.scheduler_values import short
from erasure.checkpoints.wording import listed
from erasure.diffusion.schedule import Prediction
from erasure.errors import CheckpointError

VELOCITY_KEY: Final = "v_pred"
ALL_NOISE_KEY: Final = "ztsnr"
_EDM_KEYS: Final = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
MARKS: Final = frozenset({VELOCITY_KEY, ALL_NOISE_KEY, *_EDM_KEYS})
"""The keys that are no weights."""
_HEADER_FIELDS: Final = ("modelspec.prediction_type", "modelspec.predict_key")
_BETA_SETTINGS: Final = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")
_ARCHITECTURE_FIELD: Final = "modelspec.architecture"
_WORDS: Final[Mapping[str, Prediction]] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
    "v-prediction": "v_prediction",
    "v_pred": "v_prediction",
    "velocity": "v_prediction",
}
SHORT: Final[Mapping[Prediction, str]] = {"epsilon": "epsilon", "v_prediction": "v"}
"""Prediction type -> the short name that people and ModelSpec write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one place says; None where it is silent."""

    source: str
    """The place, as a message names it."""
    prediction: Prediction | None = None
    all_noise: bool | None = None
    """Whether the last time step is noise alone (zero terminal SNR)."""
    betas: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a scheduler config."""


def prediction_word(text: str) -> Prediction | None:
    """The prediction that a word of other tools means; None where it means another."""
    return _WORDS.get(text.strip().lower())


def from_keys(names: Collection[str], where: str) -> list[Statement]:
    """What empty tensors beside the weights say, of any family.

    Source: the detection of ComfyUI, which writes them too: `v_pred` for a UNet that predicts
    velocity, `ztsnr` for zero terminal SNR (arXiv:2305.08891), `edm_*` for EDM.

    Raises:
        CheckpointError: the marks of EDM, whose noise levels are continuous.
    """
    edm = [name for name in _EDM_KEYS if name in names]
    if edm:
        raise CheckpointError(
            f"{where} has the mark{'s' if len(edm) > 1 else ''} {listed(edm)} of a model trained "
            "with the continuous noise levels of EDM; models that noise by betas in discrete "
            "steps can be treated"
        )
    statements = []
    if VELOCITY_KEY in names:
        statements.append(Statement(source=f"its key {VELOCITY_KEY}", prediction="v_prediction"))
    if ALL_NOISE_KEY in names:
        statements.append(Statement(source=f"its key {ALL_NOISE_KEY}", all_noise=True))
    return statements


def from_header(metadata: Mapping[str, str], where: str) -> list[Statement]:
    """What the ModelSpec fields of a header say; ComfyUI writes `predict_key`.

    Raises:
        CheckpointError: a prediction that cannot be trained on.
    """
    statements = []
    for name in _HEADER_FIELDS:
        text = metadata.get(name, "")
        if not text.strip():
            continue
        prediction = prediction_word(text)
        if prediction is None:
            raise CheckpointError(
                f"{where} says in its header that {name} is {short(text)}; models that predict "
                "epsilon or v can be edited"
            )
        statements.append(Statement(source=f"its header's {name}", prediction=prediction))
    if metadata.get(_ARCHITECTURE_FIELD, "").startswith("stable-diffusion-v2-768-v"):
        statements.append(
            Statement(source=f"its header's {_ARCHITECTURE_FIELD}", prediction="v_prediction")
        )
    return statements


def from_config(config: Mapping[str, Any], source: str) -> Statement:
    """What a scheduler config says that is checked already; only what stands in it."""
    betas = {k: config[k] for k in _BETA_SETTINGS if k in config}
    if config.get("trained_betas") is not None:
        betas = {k: config[k] for k in ("trained_betas", "num_train_timesteps") if k in config}
    return Statement(
        source=source,
        prediction=config.get("prediction_type"),
        all_noise=config.get("rescale_betas_zero_snr"),
        betas=betas,
    )


def sources(statements: Iterable[Statement]) -> str:
    """The places that agree, as one phrase."""
    return listed(dict.fromkeys(statement.source for statement in statements))
