"""Certified removal from linear heads: one Newton step, noise that hides its error, a budget."""

# N points with D features (the intercept's included), K outputs, C classes.

import math
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs
from erasure.classifiers.exact.dp_sgd.privacy_guarantee import factor
from erasure.classifiers.exact.exact import Audit, Cost, Deletion, OnProgress, tell_done
from erasure.classifiers.exact.exact_file import read_exact, save_exact, whole
from erasure.classifiers.exact.gaussian_shift import largest_shift
from erasure.classifiers.exact.linear_objective import CURVATURE_CHANGE, LinearObjective, LossName
from erasure.classifiers.exact.newton_removal import gradient_left, removal_step
from erasure.classifiers.exact.noise_source import source_in_words
from erasure.classifiers.exact.points import Points
from erasure.errors import ConfigError, TrainingError
from erasure.seeds import derived_seed, generator_for
from erasure.setting_checks import require_choice, require_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class Certified:
    """A linear head on frozen features from which points can be removed with a certificate.

    Features are those of a network that has not seen the points, or they stay in the network.
    Each row is scaled by itself to a length of at most 1, as the bound wants it. Two classes take
    one output, more take one against the rest each.

    Source: arXiv:1911.03030, equation 3 (Newton step), theorem 3 (b normal with deviation sigma
        hides a gradient), algorithm 2 (budget). How large a gradient it hides is exact, by
        arXiv:1805.06530, theorem 8. The paper's sigma epsilon / c, with delta = 1.5 exp(-c^2 / 2),
        is the classical bound, which is too large from an epsilon of about 8 on and too small by a
        quarter at 1. The bound of the gradient that a step leaves is the remainder of Taylor's
        series, never more than that of corollary 1 and a tenth of it on scikit-learn's digits,
        where ten times as many points can leave for it. For several outputs the paper has no rule;
        here their gradients are taken together as one, as are their b.
    """

    name: ClassVar[str] = "certified"
    source: ClassVar[str] = "arXiv:1911.03030, equation 3, theorem 3"
    needs: ClassVar[frozenset[str]] = frozenset()

    loss: LossName = "logistic"
    """With "squared" a removal is exact and needs no noise."""
    l2: float = 1e-3
    """Weight of the squared norm, a point."""
    epsilon: float = 1.0
    delta: float = 1e-4
    noise: float = 1.0
    """sigma, the deviation of b. More hides more removals, and costs accuracy."""
    radius: float | None = None
    """Features longer than this are shortened to it; None gives all rows the same length."""
    intercept: bool = True
    when_spent: Literal["refuse", "refit"] = "refuse"
    """What `forget` does when the budget does not suffice."""
    seed: int | None = None
    """Decides b; None draws 62 secret bits from the operating system. Either way b comes from
    torch's ordinary generator, not from a cryptographically secure one. The certificate holds only
    against those who do not know the seed."""

    def __post_init__(self) -> None:
        require_choice(self, "loss", *CURVATURE_CHANGE)
        require_choice(self, "when_spent", "refuse", "refit")
        require_positive(self, "l2", "epsilon")
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta is {self.delta}; give between 0 and 1")
        if not 0 <= self.noise < math.inf or (self.noise == 0 and self.loss == "logistic"):
            raise ConfigError(
                f"noise is {self.noise}; give more than 0, or loss = 'squared', which needs none"
            )
        if self.radius is not None and not self.radius > 0:
            raise ConfigError(f"radius is {self.radius}; give more than 0, or none")

    @property
    def budget(self) -> float:
        """Norm of the gradient that the noise hides, exactly, for every epsilon and delta."""
        return self.noise * largest_shift(self.epsilon, self.delta)

    def rows(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, D), float64, no row longer than 1; each by itself."""
        x = features.detach().flatten(1).to("cpu", torch.float64)
        if self.radius is None:
            x = F.normalize(x, dim=1)
        else:
            x = x / x.norm(dim=1, keepdim=True).clamp(min=self.radius)
        if not self.intercept:
            return x
        return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) / math.sqrt(2)

    def objective(self, points: Points, classes: int, secret: int) -> LinearObjective:
        """What is minimised on these points, with the noise that a secret decides."""
        points.labels_below(classes)
        table = points.table()
        x = self.rows(torch.from_numpy(table.features))
        y = 2 * F.one_hot(torch.from_numpy(table.labels), classes).double() - 1
        y = y[:, 1:] if classes == 2 else y
        generator = generator_for(secret, "loss perturbation")
        b = torch.randn(y.shape[1], x.shape[1], dtype=x.dtype, generator=generator)
        return LinearObjective(x, y, self.noise * b, self.l2, self.loss)

    def fit(
        self,
        points: Points,
        /,
        *,
        classes: int | None = None,
        start: nn.Module | None = None,
        folder: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> "CertifiedHead":
        """Minimise to the last digit; `start` and `folder` are not looked at.

        Raises:
            ConfigError: there is no point, fewer than two classes, or labels are out of range.
            TrainingError: no minimum was found.
        """
        head = self.trained(points, points.labels_below(classes), refits=0)
        tell_done(on_progress)
        return head

    def trained(self, points: Points, classes: int, refits: int) -> "CertifiedHead":
        """A head, with noise of its own for each number of refits."""
        if classes < 2:
            raise ConfigError(f"there is {classes} class; give labels of two or more")
        drawn = self.seed is None
        secret = secrets.randbits(62) if drawn else derived_seed(self.seed or 0, "secret", refits)
        objective = self.objective(points, classes, secret)
        w, passes = objective.minimise()
        left = 0.0 if self.loss == "squared" else float(objective.gradient(w).norm())
        gram = objective.x.T @ objective.x
        return CertifiedHead(self, classes, points.ids, w, gram, left, passes, secret, refits)


@dataclass(frozen=True, slots=True, eq=False)
class CertifiedHead:
    """A trained head, and how much of its budget is spent.

    The certificate speaks of `weight` alone: `gram`, a sum over the remaining points, and `secret`
    stay with whoever answers requests to forget, and so does a file that `save` wrote.
    """

    settings: Certified
    classes: int
    ids: Tensor
    weight: Tensor
    """(K, D), float64; the last column is the intercept."""
    gram: Tensor
    """(D, D): x^T x over the remaining points."""
    spent: float
    """Bound on the norm of the gradient that is left."""
    passes: int
    """How often training looked at all points."""
    secret: int
    """Decides b."""
    refits: int = 0
    """How often it was trained again because the budget was spent; each time with new noise."""

    def forget(
        self, points: Points, gone: Iterable[int], /, on_progress: OnProgress | None = None
    ) -> "Deletion[CertifiedHead]":
        """A head without some points, by one Newton step.

        Raises:
            ConfigError: an id is unknown, none is given, or no point would be left.
            TrainingError: the budget does not suffice, and `when_spent` says refuse.
        """
        held = points.only(self.ids)
        rest = held.without(gone)
        stays = torch.isin(held.ids, rest.ids)
        everything = self._objective(held)
        remaining, leaving = everything.restricted(stays), everything.restricted(~stays)
        gram = self.gram - leaving.x.T @ leaving.x
        step = removal_step(self.weight, remaining, leaving, gram)
        bound = self.spent + gradient_left(step, remaining, gram)
        if bound > self.settings.budget and self.settings.loss != "squared":
            return self._refitted(rest, len(leaving.x), bound, on_progress)
        tell_done(on_progress)
        reads = len(leaving.x) + (0 if self.settings.loss == "squared" else len(rest))
        head = replace(self, ids=rest.ids, weight=self.weight + step, gram=gram, spent=bound)
        return Deletion(
            head,
            len(leaving.x),
            Cost("rows read", reads, self.passes * len(rest)),
            head.statement(),
            {"gradient_bound": bound, "budget": self.settings.budget},
        )

    def _refitted(
        self, rest: Points, forgotten: int, bound: float, on_progress: OnProgress | None
    ) -> "Deletion[CertifiedHead]":
        budget = self.settings.budget
        if self.settings.when_spent == "refuse":
            which = "1 point" if forgotten == 1 else f"{forgotten:,} points"
            raise TrainingError(
                f"the budget is spent: forgetting {which} may leave a gradient of {bound:.3g}, and "
                f"the noise hides {budget:.3g}; train again without (when_spent = 'refit'), or "
                "begin with more noise or a larger epsilon"
            )
        head = self.settings.trained(rest, self.classes, self.refits + 1)
        tell_done(on_progress)
        reads = head.passes * len(rest)
        return Deletion(
            head,
            forgotten,
            Cost("rows read", reads, reads),
            f"the budget was spent, so the head was trained again on the remaining {len(rest):,} "
            "points, with new noise",
            {"gradient_bound": head.spent, "budget": budget},
        )

    @property
    def noise_source(self) -> str:
        """Where b came from, in words."""
        if self.settings.loss == "squared":
            return "none is needed: a removal is exact"
        return source_in_words(self.settings.seed is not None)

    def statement(self) -> str:
        """What the certificate says, in words."""
        if self.settings.loss == "squared":
            return "the head is that of training without the points, up to rounding"
        s = self.settings
        return (
            f"({s.epsilon:g}, {s.delta:g})-certified: whatever is tried on the head, it succeeds "
            f"at most {factor(s.epsilon)} times as often, plus {s.delta:g}, as on a head "
            "trained without the points; "
            f"{self.spent:.3g} of a budget of {s.budget:.3g} is spent"
        )

    def refit(self, points: Points, /, on_progress: OnProgress | None = None) -> "CertifiedHead":
        """Train again on all of `points`; with a seed the noise is that of this head."""
        self._objective(points)
        head = self.settings.trained(points, self.classes, self.refits)
        tell_done(on_progress)
        return head

    def audit(self, points: Points, /, on_progress: OnProgress | None = None) -> Audit:
        """Measure the gradient that is left on the points it holds against what it claims.

        Raises:
            ConfigError: `points` lacks some of them.
        """
        objective = self._objective(points.only(self.ids))
        left = float(objective.gradient(self.weight).norm())
        claimed = self.spent + 1e-9 * len(objective.x)  # Rounding of sums over all points.
        tell_done(on_progress)
        return Audit(
            left <= claimed,
            f"the gradient on the remaining {len(objective.x):,} points has norm {left:.3g} and "
            f"the head claims at most {self.spent:.3g}; that the noise hides it follows from the "
            "formula and was not measured",
            () if left <= claimed else ("weight",),
        )

    def predict_proba(self, inputs: Inputs, /) -> Tensor:
        """Each class's share of the outputs, (B, C), float64."""
        if not isinstance(inputs, Tensor):
            raise ConfigError("a linear head takes one tensor of features, (rows, features)")
        rows = self.settings.rows(inputs)
        self._require_width(rows)
        z = rows @ self.weight.T
        if self.settings.loss == "logistic":
            yes = torch.sigmoid(z)
        else:
            yes = (0.5 * (z + 1)).clamp(0, 1)
        if self.classes == 2:
            yes = torch.cat([1 - yes, yes], 1)
        total = yes.sum(1, keepdim=True)
        even = torch.full_like(yes, 1 / self.classes)
        return torch.where(total > 0, yes / total.clamp(min=1e-300), even)

    def weights(self) -> dict[str, Tensor]:
        """The weights alone."""
        return {"weight": self.weight}

    def save(self, path: Path, /) -> None:
        """Write safetensors atomically."""
        config = {
            "settings": asdict(self.settings),
            "classes": self.classes,
            "spent": self.spent,
            "passes": self.passes,
            "secret": self.secret,
            "refits": self.refits,
        }
        tensors = {"weight": self.weight, "gram": self.gram, "ids": self.ids}
        save_exact(path, self.settings.name, config, tensors)

    @classmethod
    def load(cls, path: Path) -> "CertifiedHead":
        """Read what `save` wrote.

        Raises:
            CheckpointError: the file is missing, damaged, or holds something else.
        """
        saved = read_exact(path, Certified.name)
        with whole(path, "a head"):
            config: dict[str, Any] = {**saved.config, **saved.tensors}
            settings = Certified(**config.pop("settings"))
            return cls(settings=settings, **config)

    def _objective(self, points: Points) -> LinearObjective:
        objective = self.settings.objective(points, self.classes, self.secret)
        self._require_width(objective.x)
        return objective

    def _require_width(self, rows: Tensor) -> None:
        wanted, extra = self.weight.shape[1], int(self.settings.intercept)
        if rows.shape[1] != wanted:
            raise ConfigError(
                f"rows have {rows.shape[1] - extra} features; give {wanted - extra}, as in training"
            )
