"""SISA: networks on shards of the points, so that a deletion trains one of them again, in part."""

# S shards, R slices a shard.

import copy
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs, logits_of
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.exact import Audit, Cost, Deletion, OnProgress, compared
from erasure.classifiers.exact.exact_file import read_exact, save_exact, whole
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa_ensemble import AGGREGATES, Aggregate, ShardEnsemble
from erasure.classifiers.exact.sisa.sisa_networks import shard_networks, shard_tensors
from erasure.classifiers.exact.sisa.sisa_plan import Plan
from erasure.classifiers.exact.sisa.sisa_store import SisaStore
from erasure.classifiers.exact.sisa.sisa_training import require_outputs, train_shard
from erasure.classifiers.progress import run_hash
from erasure.errors import CheckpointError, ConfigError
from erasure.setting_checks import require_counts
from erasure.storage.disk import disk_errors

ENSEMBLE: Final = "ensemble.safetensors"
_MOST_SHARDS: Final = 10_000  # that a file may name
"""The trained model in its folder, beside the checkpoints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sisa:
    """Each shard trains its own network, adding a slice of its points at a time.

    After a deletion a shard goes on from the state before the first slice that held a deleted
    point; shards without one are not touched. Points keep their shard and slice (`Plan`), and the
    order of the data is drawn from the seed and the number of points; so the result is, on one
    machine's CPU, byte for byte that of training without the deleted points.

    Source: arXiv:1912.03817. It deals out equal parts; here a hash of the id decides.
    """

    name: ClassVar[str] = "sisa"
    source: ClassVar[str] = "arXiv:1912.03817"
    needs: ClassVar[frozenset[str]] = frozenset({"start"})

    shards: int = 5
    slices: int = 4
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    """Its epochs are those of one training on all points; each stage takes its share of them."""
    aggregate: Aggregate = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(self, "shards", "slices")
        if self.aggregate not in AGGREGATES:
            raise ConfigError(f"aggregate is {self.aggregate!r}; give one of {AGGREGATES}")
        if 2 * self.recipe.epochs < self.slices + 1:
            raise ConfigError(
                f"{self.recipe.epochs} epochs are too few for {self.slices} slices, some of which "
                f"would get none; give {self.slices // 2 + 1} epochs or more, or fewer slices"
            )

    @property
    def plan(self) -> Plan:
        return Plan(self.shards, self.slices, self.recipe.epochs, self.seed)

    def fit(
        self,
        points: Points,
        /,
        *,
        classes: int | None = None,
        start: nn.Module | None = None,
        folder: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> "SisaModel":
        """Train every shard, or what of it `folder` does not hold yet.

        An interrupted training or deletion is continued by the same call on the points that shall
        be in the model; it ends with the same bytes as an unbroken one. Files in which other points
        had a part are deleted, also where an id is that of another sample now, which is seen of
        samples in memory alone.

        Args:
            start: network from whose weights each shard begins. What it knows of a point stays.
            folder: for the checkpoints; without one a deletion trains a shard from its beginning.

        Raises:
            ConfigError: there is no point, no `start`, or labels are out of range.
            TrainingError: a loss is not finite.
            CheckpointError: `folder` belongs to other settings.
        """
        if start is None:
            raise ConfigError("sisa trains networks; give `start`, an untrained one")
        known = points.labels_below(classes)
        require_outputs(start, points.samples, known)
        nothing = (None,) * self.shards
        empty = SisaModel(self, known, points.ids[:0], copy.deepcopy(start), folder, nothing)
        model, _ = empty.trained(points, range(self.shards), on_progress)
        return model


@dataclass(frozen=True, slots=True, eq=False)
class SisaModel:
    """The trained shards; its folder holds the checkpoints that the next deletion begins from."""

    settings: Sisa
    classes: int
    ids: Tensor
    start: nn.Module
    """First weights of every shard."""
    folder: Path | None
    shards: tuple[nn.Module | None, ...]
    """(S,): in evaluation mode; None for a shard without points."""

    def network(self) -> ShardEnsemble:
        """All shards as one module whose logits are log probabilities."""
        present = [shard for shard in self.shards if shard is not None]
        return ShardEnsemble(present, self.settings.aggregate, self.classes).eval()

    def forget(
        self, points: Points, gone: Iterable[int], /, on_progress: OnProgress | None = None
    ) -> "Deletion[SisaModel]":
        """A model without some points; their checkpoints are deleted before training begins.

        The folder then belongs to the new model. If this is interrupted, call `Sisa.fit` with the
        same folder on the points that shall stay.

        Raises:
            ConfigError: an id is unknown, none is given, or no point would be left.
            TrainingError: a loss is not finite.
        """
        held = points.only(self.ids)
        rest = held.without(gone)
        left = held.ids[~torch.isin(held.ids, rest.ids)]
        hit = sorted(set(self.settings.plan.shard_of(left).tolist()))
        model, spent = self.trained(rest, hit, on_progress)
        numbers = {"shards_trained": len(hit), "shards": self.settings.shards}
        return Deletion(
            model,
            len(left),
            Cost("sample-epochs", spent, self.settings.plan.cost(rest.ids)),
            f"{len(hit)} of {self.settings.shards} shards were trained again, and every shard is "
            f"what training on the remaining {len(rest):,} points gives",
            numbers | {"one_network": self.settings.recipe.epochs * len(rest)},
        )

    def trained(
        self, points: Points, shards: Sequence[int], on_progress: OnProgress | None = None
    ) -> tuple["SisaModel", int]:
        """The model of these points, and the sample-epochs it took.

        Args:
            shards: those to train; in the others `points` must be what it was.
        """
        settings, plan = self.settings, self.settings.plan
        marks = () if self.folder is None else points.marks()
        stages = {shard: plan.stages(points.ids, shard, marks) for shard in shards}
        store, done = self._store(), dict.fromkeys(shards, 0)
        if self.folder is not None and store is not None:
            with disk_errors(self.folder):
                for old in self.folder.glob(f"{ENSEMBLE}*"):  # Also what a crash left half written.
                    old.unlink()
            done = {n: store.drop_stale(own) for n, own in stages.items()}  # Before any training.
        costs = {n: sum(stage.cost for stage in own[done[n] :]) for n, own in stages.items()}
        total, spent, result = sum(costs.values()), 0, list(self.shards)
        for shard, own in stages.items():
            result[shard] = train_shard(
                self.start,
                points.samples,
                own,
                done[shard],
                recipe=settings.recipe,
                seed=settings.seed,
                store=store,
            )
            spent += costs[shard]
            if on_progress is not None:
                on_progress(spent, total)
        model = replace(self, ids=points.ids, shards=tuple(result))
        if self.folder is not None and store is not None:
            model.save(self.folder / ENSEMBLE)
            store.end()
        return model, total

    def refit(
        self, points: Points, /, on_progress: OnProgress | None = None, folder: Path | None = None
    ) -> "SisaModel":
        """Train every shard again on `points`, with the same settings and first weights."""
        return self.settings.fit(
            points, classes=self.classes, start=self.start, folder=folder, on_progress=on_progress
        )

    def audit(self, points: Points, /, on_progress: OnProgress | None = None) -> Audit:
        """Train again from the first weights on the points it holds, and compare every byte.

        Looks at the shards in memory, at every checkpoint in the folder and what the folder says of
        itself, and for files that should not be there. On CPU; a GPU may sum in another order.

        Raises:
            ConfigError: `points` lacks some that the model holds.
        """
        rest = points.only(self.ids)
        with tempfile.TemporaryDirectory() as name:
            again = self.refit(rest, on_progress, None if self.folder is None else Path(name))
            return compared(self._everything(rest), again._everything(rest), len(rest))

    def predict_proba(self, inputs: Inputs, /) -> Tensor:
        """Mean of the shards' probabilities, or shares of their votes; (B, classes), float64."""
        with torch.no_grad():
            return logits_of(self.network(), inputs).exp()

    def weights(self) -> dict[str, Tensor]:
        """Weights and statistics of every shard, `shard-000.` and so on before the name."""
        return shard_tensors(self.shards)

    def save(self, path: Path, /) -> None:
        """Write safetensors atomically: the shards' last states, without the checkpoints."""
        config: dict[str, Any] = {
            "settings": asdict(self.settings),
            "classes": self.classes,
            "run": self._run(),
        }
        save_exact(path, self.settings.name, config, {**self.weights(), "ids": self.ids})

    @classmethod
    def load(cls, path: Path, start: nn.Module) -> "SisaModel":
        """Read what `save` wrote, or the `ensemble.safetensors` that training leaves.

        Args:
            start: the network that training began from, with its weights of then.

        Raises:
            CheckpointError: the file is missing or damaged, or `start` is another network.
        """
        if not path.exists() and any(path.parent.glob("shard-*")):
            raise CheckpointError(
                f"the training or deletion in {path.parent} did not end; train there again on the "
                "points that shall stay, and it goes on from there"
            )
        saved = read_exact(path, Sisa.name)
        with whole(path, "SISA"):
            plain = dict(saved.config["settings"])
            settings = Sisa(recipe=TrainingRecipe(**plain.pop("recipe")), **plain)
            known, ids = int(saved.config["classes"]), saved.tensors["ids"]
            run = saved.config["run"]
            if settings.shards > _MOST_SHARDS:
                raise ValueError(f"it names {settings.shards:,} shards")
        folder = path.parent if path.name == ENSEMBLE else None
        shards = shard_networks(path, start, saved.tensors, settings.shards)
        model = cls(settings, known, ids, copy.deepcopy(start), folder, shards)
        if model._run() != run:
            raise CheckpointError(f"{path} was trained from other first weights; give those")
        return model

    def _run(self) -> str:
        """Hash of what decides a checkpoint beside its points."""
        return run_hash(self.start, repr(replace(self.settings, aggregate="mean")))

    def _store(self) -> SisaStore | None:
        return None if self.folder is None else SisaStore(self.folder, self._run())

    def _everything(self, points: Points) -> dict[str, Tensor]:
        """What an audit compares; `points` are those it holds."""
        tensors, store = self.weights(), self._store()
        if store is None or self.folder is None:
            return tensors
        marks = points.marks()
        for shard in range(self.settings.shards):
            tensors |= store.everything(self.settings.plan.stages(self.ids, shard, marks))
        path = self.folder / ENSEMBLE
        try:
            ensemble = read_exact(path, self.settings.name).tensors
        except CheckpointError:  # An audit says so by what is missing.
            ensemble = {}
        tensors |= {f"{ENSEMBLE} {name}": value for name, value in ensemble.items()}
        return tensors
