"""DP-SGD as a way to forget: train so that no point matters much, and then touch nothing."""

import copy
import math
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs, logits_of
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.dp_sgd.privacy_guarantee import Guarantee
from erasure.classifiers.exact.dp_sgd.private_accounting import (
    ACCOUNTANTS,
    Accountant,
    Sampling,
    epsilon_of,
    noise_for,
)
from erasure.classifiers.exact.dp_sgd.private_training import train_privately, trainable_privately
from erasure.classifiers.exact.exact import Audit, Cost, Deletion, OnProgress, tell_done
from erasure.classifiers.exact.exact_file import read_exact, save_exact, whole
from erasure.classifiers.exact.noise_source import source_in_words
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa_training import frozen, require_outputs
from erasure.classifiers.progress import Progress, run_hash
from erasure.errors import CheckpointError, ConfigError
from erasure.setting_checks import require_choice, require_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateTraining:
    """DP-SGD through opacus; a deletion does not touch the model.

    What epsilon and delta bound is in `Guarantee`: how much better than by chance anyone can tell
    the model from one trained without the point. Deletions add up: after k points the bound is
    (k epsilon, k e^((k - 1) epsilon) delta). The number of points counts as known to everybody.

    Source: arXiv:1607.00133, algorithm 1, with Poisson sampling; opacus (arXiv:2109.12298).
    """

    name: ClassVar[str] = "dp-sgd"
    source: ClassVar[str] = "arXiv:1607.00133, algorithm 1"
    needs: ClassVar[frozenset[str]] = frozenset({"start"})

    epsilon: float = 8.0
    """The budget; the noise is chosen to stay within it."""
    delta: float = 1e-5
    """Must be below 1 / the number of points."""
    noise: float | None = None
    """Deviation of the noise over `clip`; given, it decides and `epsilon` is not looked at."""
    clip: float = 1.0
    """Longest gradient of a sample."""
    recipe: TrainingRecipe = field(
        default_factory=lambda: TrainingRecipe(epochs=20, lr=0.5, weight_decay=0.0)
    )
    """Its batch size is the expected one of the Poisson samples."""
    physical_batch: int | None = None
    """Samples at once; None takes the whole batch."""
    accountant: Accountant = "prv"
    batchnorm: Literal["refuse", "replace"] = "refuse"
    """Whether opacus may put GroupNorm in the place of BatchNorm."""
    seed: int | None = None
    """Seed of batches and noise; None draws 62 secret bits from the operating system. Either way
    the numbers come from torch's ordinary generator, not from a cryptographically secure one.
    Whoever knows the seed can take the noise away, and the bound does not hold against them."""

    def __post_init__(self) -> None:
        require_positive(self, "epsilon", "clip")
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta is {self.delta}; give between 0 and 1")
        if self.noise is not None and not 0 < self.noise < math.inf:
            raise ConfigError(f"noise is {self.noise}; give more than 0, or none")
        if self.physical_batch is not None and self.physical_batch < 1:
            raise ConfigError(f"physical_batch is {self.physical_batch}; give 1 or more, or none")
        if self.accountant not in ACCOUNTANTS:
            raise ConfigError(f"accountant is {self.accountant!r}; give one of {ACCOUNTANTS}")
        require_choice(self, "batchnorm", "refuse", "replace")

    def fit(
        self,
        points: Points,
        /,
        *,
        classes: int | None = None,
        start: nn.Module | None = None,
        folder: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> "PrivateModel":
        """Train; with a folder, an interrupted training goes on from its last whole epoch.

        Args:
            start: network from whose weights training begins. What it knows of a point stays, and
                is in no bound: weights that were trained on it, or buffers that were computed from
                the points, such as the mean by which inputs are scaled.

        Raises:
            ConfigError: there is no point, no `start`, labels are out of range, delta is too large,
                a layer mixes samples, or opacus is not installed.
            TrainingError: a loss is not finite, or `folder` belongs to other settings.
        """
        if start is None:
            raise ConfigError("dp-sgd trains a network; give `start`, an untrained one")
        known = points.labels_below(classes)
        if self.delta * len(points) >= 1:
            raise ConfigError(
                f"delta is {self.delta} and there are {len(points)} points; give less than "
                f"{1 / len(points):.1e}, or publishing a point whole would pass as private"
            )
        require_outputs(start, points.samples, known)
        first = trainable_privately(start, self.batchnorm)
        sampling = Sampling(len(points), self.recipe.batch_size, self.recipe.epochs)
        steps = (sampling.rate, sampling.steps, self.delta, self.accountant)
        noise = noise_for(self.epsilon, *steps) if self.noise is None else self.noise
        spent = Guarantee(epsilon_of(noise, *steps), self.delta)
        network, progress = copy.deepcopy(first), None
        if folder is not None:
            words = (repr(self), repr(points.ids.tolist()), points.samples.fingerprint())
            progress = Progress(folder / "dp-sgd.state", run_hash(first, *words))
        for step in train_privately(
            network,
            points,
            self.recipe,
            sampling,
            noise=noise,
            clip=self.clip,
            physical_batch=self.physical_batch,
            seed=secrets.randbits(62) if self.seed is None else self.seed,
            progress=progress,
        ):
            if on_progress is not None:
                on_progress(step.index, sampling.steps)
        trained = frozen(network)
        return PrivateModel(
            self,
            known,
            points.ids,
            first,
            trained,
            spent,
            noise,
            sampling.rate,
            sampling.steps,
            seeded=self.seed is not None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PrivateModel:
    """A privately trained network, and what may be said of points that it has seen."""

    settings: PrivateTraining
    classes: int
    ids: Tensor
    start: nn.Module
    """First weights."""
    network: nn.Module
    """The trained network, in evaluation mode."""
    guarantee: Guarantee
    """What holds for one point."""
    noise: float
    rate: float
    """Chance of a point to be in a batch."""
    steps: int
    forgotten: int = 0
    """Points that have left so far."""
    seeded: bool | None = None
    """Whether a seed was given for batches and noise; None for a file that does not say."""

    @property
    def noise_source(self) -> str:
        """Where batches and noise came from, in words."""
        return source_in_words(self.seeded)

    def forget(
        self, points: Points, gone: Iterable[int], /, on_progress: OnProgress | None = None
    ) -> "Deletion[PrivateModel]":
        """The same network, without the points in its list; the statement is about all that left.

        Raises:
            ConfigError: an id is unknown, none is given, or no point would be left.
        """
        rest = points.only(self.ids).without(gone)
        left = len(self.ids) - len(rest)
        model = replace(self, ids=rest.ids, forgotten=self.forgotten + left)
        bound = self.guarantee.for_group(model.forgotten)
        tell_done(on_progress)
        return Deletion(
            model,
            left,
            Cost("sample-epochs", 0, self.settings.recipe.epochs * len(rest)),
            self.guarantee.statement(model.forgotten),
            {"epsilon": bound.epsilon, "delta": bound.delta, "forgotten": model.forgotten},
        )

    def refit(self, points: Points, /, on_progress: OnProgress | None = None) -> "PrivateModel":
        """Train again on `points`, from the same first weights, with the same settings."""
        return self.settings.fit(
            points, classes=self.classes, start=self.start, on_progress=on_progress
        )

    def audit(self, points: Points, /, on_progress: OnProgress | None = None) -> Audit:
        """Account for the recorded steps again, by opacus, and look at no weight.

        It shows that the claim follows from the record, and not that training went as recorded:
        a bound on what chance might have made of the weights is no property of what it did.

        Raises:
            ConfigError: `points` lacks some that the model holds; opacus is not installed.
        """
        points.only(self.ids)
        s = self.settings
        again = epsilon_of(self.noise, self.rate, self.steps, self.guarantee.delta, s.accountant)
        fits = again <= self.guarantee.epsilon * (1 + 1e-6)
        tell_done(on_progress)
        return Audit(
            fits,
            f"{self.steps:,} steps with noise {self.noise:.3g} and chance {self.rate:.3g} spend "
            f"epsilon {again:.4g} at delta {self.guarantee.delta:.1e}, and the model claims "
            f"{self.guarantee.epsilon:.4g}; the recorded numbers were accounted for again and no "
            "weight was looked at, so this does not show that training went as recorded",
            () if fits else ("epsilon",),
        )

    def predict_proba(self, inputs: Inputs, /) -> Tensor:
        """Softmax of the network's answer, (B, classes), float64."""
        with torch.no_grad():
            return logits_of(self.network, inputs).double().softmax(1)

    def weights(self) -> dict[str, Tensor]:
        """Weights and statistics of the network."""
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def save(self, path: Path, /) -> None:
        """Write safetensors atomically, with what was spent in the header."""
        config: dict[str, Any] = {
            "settings": asdict(replace(self.settings, seed=None)),
            "classes": self.classes,
            "guarantee": asdict(self.guarantee),
            "noise": self.noise,
            "rate": self.rate,
            "steps": self.steps,
            "forgotten": self.forgotten,
            "seeded": self.seeded,
        }
        tensors = {f"network.{name}": value for name, value in self.weights().items()}
        save_exact(path, self.settings.name, config, {**tensors, "ids": self.ids})

    @classmethod
    def load(cls, path: Path, start: nn.Module) -> "PrivateModel":
        """Read what `save` wrote; the seed was not kept.

        Args:
            start: the network that training began from.

        Raises:
            CheckpointError: the file is missing or damaged, or holds another network.
            ConfigError: opacus is not installed.
        """
        saved = read_exact(path, PrivateTraining.name)
        with whole(path, "the model"):
            config = dict(saved.config)
            plain = dict(config.pop("settings"))
            settings = PrivateTraining(recipe=TrainingRecipe(**plain.pop("recipe")), **plain)
            guarantee = Guarantee(**config.pop("guarantee"))
            ids = saved.tensors["ids"]
        if config.get("seeded") not in (True, False, None):
            raise CheckpointError(
                f"{path} says {config['seeded']!r} to whether a seed was given, and should say "
                "true or false; train again"
            )
        first = trainable_privately(start, settings.batchnorm)
        network = copy.deepcopy(first)
        front = "network."
        state = {n[len(front) :]: t for n, t in saved.tensors.items() if n.startswith(front)}
        with whole(path, "the model, or is of another network"):
            network.load_state_dict(state)
            return cls(
                settings=settings,
                ids=ids,
                start=first,
                network=frozen(network),
                guarantee=guarantee,
                **config,
            )
