"""Membership inference on a forget set: how much of it an attacker takes for data never seen.

The attack is the one behind the MIA column of SalUn's tables (arXiv:2310.12508, table 1): an RBF
support vector machine learns, on one number an example, to tell training data that was kept
from test data; the score is the share of the forget set that it calls "not trained on". More means
more forgotten, and the target is the score of a model retrained without that data, not 100.
"""

# N examples, C classes.

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.rates.predictions import Predictions, log_of_rest

GRID: Final = 4096
"""Steps per unit of the signal where `grid` is asked for; see `membership_efficacy`."""


def confidence(answers: Predictions) -> NDArray[np.float64]:
    """Probability of the true label, (N,) in [0, 1]."""
    return np.exp(answers.log_confidence)


def correctness(answers: Predictions) -> NDArray[np.float64]:
    """1 where the answer is right, else 0, (N,)."""
    return answers.correct.astype(np.float64)


def entropy(answers: Predictions) -> NDArray[np.float64]:
    """-sum_i p_i log p_i in nats, (N,); does not look at the true label."""
    return np.asarray(-(answers.probabilities * answers.log_probabilities).sum(axis=1))


def modified_entropy(answers: Predictions) -> NDArray[np.float64]:
    """-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i) in nats, (N,); 0 is sure and right.

    Source: arXiv:2003.10595 (Song and Mittal), equation 8. SalUn's released code overwrites whole
    columns for the true label and takes log p where log(1 - p) is meant; this does neither, and
    stays finite where a wrong class has probability 1.
    """
    p, log_p = answers.probabilities, answers.log_probabilities
    # log1p loses a probability near 1; at most one of a row is above a half, so sum the others.
    top = log_p.argmax(axis=1)
    log_rest = np.log1p(-np.minimum(p, 0.5))
    np.put_along_axis(log_rest, top[:, None], log_of_rest(log_p, top)[:, None], axis=1)
    terms = -p * log_rest  # (N, C)
    true = answers.labels[:, None]
    log_true = answers.log_confidence
    np.put_along_axis(terms, true, 0.0, axis=1)
    rest = np.exp(np.take_along_axis(log_rest, true, axis=1)[:, 0])  # 1 - p_y
    return np.asarray(terms.sum(axis=1) - rest * log_true)


SIGNALS: Final[Mapping[str, Callable[[Predictions], NDArray[np.float64]]]] = {
    "confidence": confidence,
    "correctness": correctness,
    "entropy": entropy,
    "modified-entropy": modified_entropy,
}
"""What the attack may look at; `confidence` is the one that papers print as MIA."""


def membership_efficacy(
    retain: Predictions,
    test: Predictions,
    forget: Predictions,
    *,
    signal: str = "confidence",
    grid: int | None = None,
) -> float:
    """Share of the forget set that the attack calls "not trained on", per cent.

    Members are the first len(test) examples of `retain` in their order, non-members all of `test`;
    where `retain` is the smaller one (the paper never meets this), as many of `test`, so that
    both sides weigh the same. Of data that come class by class, which those of the paper do not,
    they are spread over all classes (`first_places`): against those of the first classes the
    machine would learn how hard a class is. The machine is SVC(C=3, rbf, gamma="auto").

    Args:
        retain: what the model says of the training data that stays, in data order, not shuffled.
        test: of data that no model has trained on.
        forget: of the data to be forgotten.
        signal: key into `SIGNALS`.
        grid: None for the exact attack, whose time grows with the square of the examples (9 s for
            twice 10,000). A number rounds the signal to that many steps per unit and merges equal
            points into weighted ones: 0.15 s, and with `GRID` within 0.2 of the exact
            score. Points that are equal anyway are always merged, which changes no optimum.

    Raises:
        EvalError: an unknown signal, a grid below 2, or scikit-learn is not installed.
    """
    if signal not in SIGNALS:
        raise EvalError(f"the signal {signal!r} is unknown; give one of {', '.join(SIGNALS)}")
    if grid is not None and grid < 2:
        raise EvalError(f"the grid has {grid} steps per unit; give 2 or more, or none")
    size = min(len(retain), len(test))
    seen, unseen, asked = (
        SIGNALS[signal](answers) for answers in (retain.first(size), test.first(size), forget)
    )
    return 100 * (1 - float(_predicted_members(seen, unseen, asked, grid).mean()))


def load_machine() -> Any:  # noqa: ANN401
    """scikit-learn's support vector machine; its first import takes seconds, so call it before
    timing an attack.

    Raises:
        EvalError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import SVC
    except ImportError as err:
        raise EvalError(
            "the membership attack needs scikit-learn; pip install 'diffusion-erasure[classify]'"
        ) from err
    return SVC


def _predicted_members(
    seen: NDArray[np.float64],
    unseen: NDArray[np.float64],
    asked: NDArray[np.float64],
    grid: int | None,
) -> NDArray[np.float64]:
    """1 for each of `asked` that a machine trained on the other two takes for a member."""
    signal = np.concatenate([seen, unseen])
    member = np.repeat([1.0, 0.0], [len(seen), len(unseen)])
    if grid is not None:
        signal = np.round(signal * grid) / grid
    points, weights = np.unique(np.stack([signal, member], axis=1), axis=0, return_counts=True)
    machine = load_machine()(C=3.0, kernel="rbf", gamma="auto", cache_size=500)
    machine.fit(points[:, :1], points[:, 1], sample_weight=weights.astype(np.float64))
    return np.asarray(machine.predict(asked[:, None]))
