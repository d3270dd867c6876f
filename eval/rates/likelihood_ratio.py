"""LiRA: a per-example membership attack that knows how hard each example is, by shadow models.

Source: arXiv:2112.03570 (Carlini et al.), algorithm 1 and its offline variant. Stronger than the
attack of `membership.py`, at the price of training shadow models on random halves of the data.
"""

# S shadow models, N examples.

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.rates.predictions import Predictions, log_of_rest

_FEW: int = 64
"""Below this many shadow models a side the paper pools one variance over all examples."""


@dataclass(frozen=True, slots=True)
class AttackReport:
    """How well scores tell members from others."""

    auc: float
    """Area under the ROC curve in [0, 1]; 0.5 is a guess."""
    true_positives: float
    """Share of members found, per cent, while at most `false_positives` of the others are."""
    false_positives: float
    """Per cent."""


def scaled_confidence(answers: Predictions) -> NDArray[np.float64]:
    """log(p_y / (1 - p_y)), (N,), which is near Gaussian over models; computed from logits."""
    log_rest = log_of_rest(answers.log_probabilities, answers.labels)
    return np.asarray(
        answers.log_confidence - np.maximum(log_rest, np.log(np.finfo(np.float64).tiny))
    )


def likelihood_ratio(
    observed: NDArray[np.float64],
    shadows: NDArray[np.float64],
    trained_on: NDArray[np.bool_],
    *,
    mode: Literal["online", "offline"] = "online",
) -> NDArray[np.float64]:
    """The attack's score of each example, (N,); higher means more likely a member.

    Online: log N(x; in) - log N(x; out). Offline, which asks only for models without the example:
    log P(Z <= x) for Z of the "out" Gaussian. One variance is pooled over all
    examples where a side has fewer than 64 models, as in the paper.

    Args:
        observed: `scaled_confidence` of the model under attack, (N,).
        shadows: the same of each shadow model, (S, N).
        trained_on: whether a shadow model's training data held the example, (S, N).
        mode: whether the models that did are used.

    Raises:
        EvalError: shapes that do not fit, or an example with fewer than two models on a side.
    """
    if shadows.shape != trained_on.shape or shadows.shape[1:] != observed.shape:
        raise EvalError(
            f"the shadow models' scores are {list(shadows.shape)}, their data "
            f"{list(trained_on.shape)} and the model's scores {list(observed.shape)}; give "
            "(models, examples) twice and (examples,)"
        )
    mean_out, deviation_out = _gaussian(shadows, ~trained_on, "without")
    z_out = (observed - mean_out) / deviation_out
    if mode == "offline":
        from scipy.special import log_ndtr

        return np.asarray(log_ndtr(z_out))
    mean_in, deviation_in = _gaussian(shadows, trained_on, "with")
    z_in = (observed - mean_in) / deviation_in
    return np.asarray(0.5 * (z_out**2 - z_in**2) + np.log(deviation_out / deviation_in))


def report(
    members: NDArray[np.float64], others: NDArray[np.float64], *, false_positives: float = 1.0
) -> AttackReport:
    """Area under the curve, and members found at a low rate of false alarms.

    Args:
        members: scores of data that was trained on (or is asked about: the forget set).
        others: scores of data that was not.
        false_positives: the rate that is allowed, per cent.
    """
    if not len(members) or not len(others):
        raise EvalError("there are no scores on one side; give at least one member and one other")
    ranked = np.sort(others)
    below = np.searchsorted(ranked, members, side="left")
    ties = np.searchsorted(ranked, members, side="right") - below
    auc = float((below + 0.5 * ties).mean() / len(others))
    allowed = int(len(others) * false_positives / 100)
    threshold = ranked[-1 - allowed] if allowed < len(others) else -np.inf
    return AttackReport(auc, 100 * float((members > threshold).mean()), false_positives)


def _gaussian(
    shadows: NDArray[np.float64], chosen: NDArray[np.bool_], word: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each example over the chosen models, (N,) each."""
    counts = chosen.sum(axis=0)
    if counts.min() < 2:
        raise EvalError(
            f"an example has {counts.min()} shadow models {word} it; train more, so that each has 2"
        )
    mean = np.where(chosen, shadows, 0.0).sum(axis=0) / counts
    squares = np.where(chosen, (shadows - mean) ** 2, 0.0)
    if counts.min() < _FEW:
        variance = np.full_like(mean, squares.sum() / (counts - 1).sum())
    else:
        variance = squares.sum(axis=0) / (counts - 1)
    return mean, np.sqrt(np.maximum(variance, 1e-12))
