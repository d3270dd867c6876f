"""What a classifier says about one set of labelled examples, in float64."""

# N examples, C classes.

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eval.errors import EvalError


@dataclass(frozen=True, slots=True)
class Predictions:
    """Log-probabilities and true labels; make it with `predictions_of`."""

    log_probabilities: NDArray[np.float64]
    """(N, C), rows sum to one after `exp`."""
    labels: NDArray[np.int64]
    """(N,) in [0, C)."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C)."""
        return np.exp(self.log_probabilities)

    @property
    def log_confidence(self) -> NDArray[np.float64]:
        """Log-probability of the true label, (N,)."""
        return np.take_along_axis(self.log_probabilities, self.labels[:, None], axis=1)[:, 0]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the true one, (N,)."""
        return np.asarray(self.log_probabilities.argmax(axis=1) == self.labels)

    @property
    def accuracy(self) -> float:
        """Share of correct answers, per cent."""
        return 100 * float(self.correct.mean())

    def first(self, count: int) -> "Predictions":
        """The `count` examples of `first_places`."""
        places = first_places(self.labels, count)
        return Predictions(self.log_probabilities[places], self.labels[places])

    def without_class(self, label: int) -> "Predictions":
        """The examples whose true label is another one; the classes stay as they are.

        Raises:
            EvalError: nothing is left.
        """
        others = self.labels != label
        if not others.any():
            raise EvalError(
                f"all {len(self)} examples are of class {label}; give examples of other classes"
            )
        return Predictions(self.log_probabilities[others], self.labels[others])


def predictions_of(logits: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> Predictions:
    """Logits, or log-probabilities, of a classifier and the true labels.

    Args:
        logits: (N, C), finite, any float type and device.
        labels: (N,) whole numbers in [0, C).

    Raises:
        EvalError: nothing to look at, shapes that do not fit, NaN or infinity, labels out of range.
    """
    scores, truth = _array(logits).astype(np.float64), _array(labels)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or not scores.size:
        raise EvalError(
            f"logits have the shape {list(scores.shape)} and labels {list(truth.shape)}; give "
            "(examples, classes) and (examples,), at least one example"
        )
    if not np.isfinite(scores).all():
        raise EvalError(
            f"{int((~np.isfinite(scores)).any(axis=1).sum())} of {len(scores)} examples have "
            "logits that are not finite; look for a learning rate that is too high"
        )
    whole = truth.astype(np.int64)
    if whole.min() < 0 or whole.max() >= scores.shape[1]:
        raise EvalError(
            f"labels run from {whole.min()} to {whole.max()}, but there are {scores.shape[1]} "
            "classes; give labels from 0 to classes - 1"
        )
    return Predictions(scores - log_sum_exp(scores)[:, None], whole)


def first_places(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Places of the first `count` examples; where they come class by class, of as many spread
    evenly over all of them, since the first are of some classes alone.

    Args:
        labels: (N,) in the order of the examples.
        count: from 0 to N.
    """
    by_class = len(labels) > 0 and labels[0] != labels[-1] and bool((np.diff(labels) >= 0).all())
    places = np.arange(count)
    return places * len(labels) // max(1, count) if by_class else places


def log_sum_exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log sum exp over the last axis; rows of -inf alone give -inf."""
    top = values.max(axis=-1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray((safe + np.log(np.exp(values - safe).sum(-1, keepdims=True)))[..., 0])


def log_of_rest(
    log_probabilities: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """log(1 - p) of one class of each row, by summing the others, so that p = 1 - 1e-20 counts.

    Args:
        log_probabilities: (N, C).
        at: (N,) the class of each row.
    """
    others = log_probabilities.copy()
    np.put_along_axis(others, at[:, None], -np.inf, axis=1)
    return log_sum_exp(others)


def _array(values: Tensor | ArrayLike) -> NDArray[np.generic]:
    if isinstance(values, Tensor):
        values = values.detach().to("cpu")
        return (values.to(torch.float64) if values.is_floating_point() else values).numpy()
    return np.asarray(values)
