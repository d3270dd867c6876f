"""How far two sets of pictures are apart: Fréchet distance (FID) and kernel distance (KID)."""

# N pictures of D features after, M before; m pictures in a subset.

import math
import warnings
from collections.abc import Collection
from importlib import import_module
from typing import Any, Final

import torch
from torch import Tensor, nn

from eval.errors import EvalError
from eval.metrics.features import FeatureExtractor
from eval.metrics.inception import INCEPTION_SIZE
from eval.metrics.kernel_variance import kernel_variance
from eval.metrics.metric_value import MetricValue
from eval.weights.extras import not_installed

FEWEST: Final = 2
"""Pictures a set that a covariance needs."""
FEWEST_FOR_KERNEL: Final = 4
"""Pictures a set of which two different halves, each with a variance, can be drawn."""
_ROWS: Final = 4096  # features widened to float64 at a time


def require_distances(metrics: Collection[str], after: int, against: int | None) -> None:
    """Raise EvalError where these distances could not be measured, before the pictures are drawn.

    Args:
        metrics: of `frechet` and `kid`.
        after: pictures that will be drawn.
        against: pictures of the other set; None where as many will be drawn.
    """
    known = {"frechet": ("fid", FEWEST), "kid": ("kid", FEWEST_FOR_KERNEL)}
    for name in metrics:
        module, fewest = known[name]
        _torchmetrics(module)
        if min(after, after if against is None else against) < fewest:
            other = (
                "as many of the other model" if against is None else f"{against} to compare with"
            )
            raise EvalError(
                f"{after} pictures would be drawn that show nothing erased, with {other}, and "
                f"{name} needs {fewest} of each; draw more, or leave {name} out"
            )


def frechet_distance(extractor: FeatureExtractor, after: Tensor, before: Tensor) -> MetricValue:
    """`|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` of the features, in float64.

    It is called FID only on the 2048 features of FID's own Inception. It is biased upwards, the
    more the fewer pictures there are: compare it only at equal N and M. No interval for that
    reason.

    Args:
        extractor: what made the features; for the label.
        after: (N, D).
        before: (M, D), of the set that it is held against.

    Raises:
        EvalError: N or M is below 2, D differs, or torchmetrics is missing.

    Source: arXiv:1706.08500, with unbiased covariances, by torchmetrics.
    """
    _check(after, before, FEWEST, "a covariance")
    base = _common_span(after, before)  # (D, r)
    metric = _torchmetrics("fid").FrechetInceptionDistance(
        feature=_AsTheyAre(base.shape[1]),
        sync_on_compute=False,  # all rows are here; the other processes would wait for ever
    )
    origin = before.mean(0, dtype=torch.float64)
    for rows, real in ((before, True), (after, False)):
        for part in rows.split(_ROWS):
            metric.update((part.double() - origin) @ base, real=real)
    is_fid = _is_fid(extractor, after)
    few = min(len(after), len(before)) <= after.shape[1]
    return MetricValue(
        name="fid" if is_fid else f"frechet-{extractor.name}",
        label=("FID" if is_fid else f"Fréchet distance on {extractor.name} features")
        + (f" (fewer pictures than the {after.shape[1]} features)" if few else ""),
        value=max(0.0, float(metric.compute())),  # equal sets leave -1e-13
        low=None,
        high=None,
        unit="",
        after_n=len(after),
        before_n=len(before),
        better="lower",
    )


def kernel_distance(
    extractor: FeatureExtractor,
    after: Tensor,
    before: Tensor,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    paired: bool = False,
) -> MetricValue:
    """Squared maximum mean discrepancy with the kernel `(x . y / D + 1)^3`, in float64.

    The mean over random subsets, which is unbiased whatever their size. Subsets larger than half
    of the smaller set are shrunk to that half, and the label says so: otherwise they would be one
    and the same, and their deviation 0.

    Args:
        extractor: what made the features; for the label.
        after: (N, D).
        before: (M, D).
        subsets: how many to draw.
        subset_size: pictures m of each set in one.
        seed: of the draws.
        paired: whether row n of both was drawn from one prompt and seed. Such pictures resemble
            each other, so the two subsets of a draw have no row in common; else the mean of two
            equal models lies below 0.

    Returns:
        Mean, and mean -+ 1.96 standard errors: of the whole sets' value, by `kernel_variance`,
        which holds where the sets are equal too, and of the draw of the subsets, their deviation
        over the root of their number.

    Raises:
        EvalError: N or M is below 4, D differs, or torchmetrics is missing.

    Source: arXiv:1801.01401; kernel and estimate by torchmetrics, whose own class draws
        its subsets from the global generator. The interval is ours: it customarily is the bare
        deviation, which is as wide as the subsets are small.
    """
    _check(after, before, FEWEST_FOR_KERNEL, "a kernel distance")
    if subsets < 2 or subset_size < 2:
        raise EvalError(f"{subsets} subsets of {subset_size} pictures; give 2 or more of both")
    fewest = min(len(after), len(before))
    size = min(subset_size, fewest // 2)
    mmd = _torchmetrics("kid").poly_mmd
    random = torch.Generator().manual_seed(seed)
    values = torch.stack(
        [mmd(*_subsets(before, after, size, random, paired=paired)) for _ in range(subsets)]
    )
    mean = float(values.mean())
    drawn = float(values.var()) / subsets
    error = math.sqrt(kernel_variance(after, before, seed=seed) + drawn)
    is_kid = _is_fid(extractor, after)
    asked = "" if size == subset_size else f" instead of {subset_size}"
    return MetricValue(
        name="kid" if is_kid else f"kernel-{extractor.name}",
        label=("KID" if is_kid else f"Kernel distance on {extractor.name} features")
        + f" ({subsets} subsets of {size}{asked})",
        value=mean,
        low=mean - 1.96 * error,
        high=mean + 1.96 * error,
        unit="",
        after_n=len(after),
        before_n=len(before),
        better="lower",
    )


class _AsTheyAre(nn.Module):
    """Hands features on where torchmetrics expects a network that makes them of pictures."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _common_span(after: Tensor, before: Tensor) -> Tensor:
    """Orthonormal coordinates (D, r) that hold both sets: fewer than D where pictures are few.

    Means' distances and covariances stay what they are in them; the eigenvalues of 2048 x 2048
    would cost 20 s on one core, those of 200 pictures in their own 200 dimensions nothing.
    """
    size = after.shape[1]
    if len(after) + len(before) >= size:
        return torch.eye(size, dtype=torch.float64)
    rows = torch.cat([after, before]).double()
    basis: Tensor = torch.linalg.qr((rows - rows[len(after) :].mean(0)).T).Q
    return basis


def _subsets(
    one: Tensor, other: Tensor, size: int, random: torch.Generator, *, paired: bool
) -> tuple[Tensor, Tensor]:
    """Draw rows of each set; where these are paired, no row of one stands beside its own pair."""
    if not paired:
        return _subset(one, size, random), _subset(other, size, random)
    order = torch.randperm(len(one), generator=random)
    return one[order[:size]].double(), other[order[size : 2 * size]].double()


def _subset(rows: Tensor, size: int, random: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=random)[:size]].double()


def _is_fid(extractor: FeatureExtractor, rows: Tensor) -> bool:
    return extractor.is_inception and rows.shape[1] == INCEPTION_SIZE


def _check(after: Tensor, before: Tensor, fewest: int, what: str) -> None:
    if after.ndim != 2 or before.ndim != 2 or after.shape[1] != before.shape[1]:
        raise EvalError(
            f"features of {tuple(after.shape)} and {tuple(before.shape)} do not compare; take both "
            "from one extractor"
        )
    if min(len(after), len(before)) < fewest:
        raise EvalError(
            f"{len(after)} pictures after and {len(before)} before are too few for {what}; it "
            f"needs {fewest} of each"
        )


def _torchmetrics(module: str) -> Any:  # noqa: ANN401
    """`torchmetrics.image.fid` or `.kid`, imported late."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for packages that it can do without
            return import_module(f"torchmetrics.image.{module}")
    except ImportError as err:
        raise not_installed("torchmetrics", "metrics", err) from err
    except RuntimeError as err:
        raise EvalError(
            f"torchmetrics cannot be imported ({err}); the torchvision that is installed is for "
            "another torch: uninstall it"
        ) from err
