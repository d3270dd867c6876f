"""Rows of the benchmark that train the model themselves, and can then delete from it.

SISA and DP-SGD keep a folder among the models, which the other commands take too. Heads and trees
take a moment to train, and are trained for each cell.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.utils.data import TensorDataset

from erasure.checkpoints.description import read_json
from erasure.classifiers.data.training_recipe import TrainingRecipe
from erasure.classifiers.exact.dp_sgd.private import PrivateModel
from erasure.classifiers.exact.exact import Deletion, ExactMethod, ExactModel
from erasure.classifiers.exact.exact_methods import load_exact
from erasure.classifiers.exact.frozen_features import frozen_features
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa import SisaModel
from erasure.classifiers.progress import kept_seconds
from erasure.storage.cache import content_key
from erasure.storage.disk import disk_errors
from erasure.storage.tables import build
from eval.rates.unlearning_metrics import Scores
from pipelines.classifiers.bench.bench_models import ModelStore
from pipelines.classifiers.bench.cells import DeletionFacts
from pipelines.classifiers.bench.presets import Preset
from pipelines.classifiers.data.data import ClassifierData, DataFacts, batches
from pipelines.classifiers.exact_folder import RECORD, WEIGHTS, ExactRecord, is_exact, save_folder
from pipelines.classifiers.exact_models import Answering
from pipelines.classifiers.fixed_scale import scale_key, without_looking
from pipelines.classifiers.networks.architectures import ModelConfig, make_model
from pipelines.process.progress import Tick

FEATURES_STAY: Final = (
    "; the features are those of the original, which was trained on the points and keeps them"
)
"""What a certificate of a head does not cover here."""
_COPY: Final = "copy"


@dataclass(frozen=True, slots=True, eq=False)
class Deleted:
    """A model without some points."""

    made: Deletion[ExactModel]
    seconds: float
    """What the deletion alone took."""

    @property
    def network(self) -> nn.Module:
        return network_of(self.made.model)

    def facts(self, before: Scores, caveat: str = "") -> DeletionFacts:
        """What a cell keeps of it.

        Args:
            caveat: goes behind the statement.
        """
        return DeletionFacts(
            before=before,
            unit=self.made.cost.unit,
            spent=self.made.cost.spent,
            refit=self.made.cost.refit,
            statement=self.made.statement + caveat,
            numbers=dict(self.made.details),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model that can delete."""

    model: ExactModel
    points: Points
    seconds: float
    """What its training took."""

    @property
    def network(self) -> nn.Module:
        return network_of(self.model)

    def forget(self, gone: Sequence[int], tick: Tick) -> Deleted:
        """Delete points, and measure the time."""
        begun = time.perf_counter()
        made = self.model.forget(
            self.points, gone, lambda done, total: tick(0, f"{done:,} of {total:,}")
        )
        return Deleted(made, time.perf_counter() - begun)


@dataclass(frozen=True, slots=True)
class OwnTraining:
    """A row, what it learns from, and the seed that it learns with."""

    preset: Preset
    data: ClassifierData
    model: ModelConfig
    training: TrainingRecipe
    seed: int
    store: ModelStore

    @contextmanager
    def trained(self) -> Iterator[Trained]:
        """A model to delete from, trained now or before; what becomes of it stays in the block.

        Raises:
            ConfigError: the method refuses the settings, the network or the data.
            TrainingError: a loss is not finite.
        """
        maker = self.preset.make_own(self.training, self.seed)
        if "start" not in maker.needs:
            model, seconds = self._fitted(maker, None, None)
            yield Trained(model, self._points(), seconds)
            return
        folder = self.store.folder / f"{self.preset.name}-{self._key(maker)}"
        if not is_exact(folder):  # a training that was cut goes on
            start = self._start(without_looking(self.data.facts))
            model, seconds = self._fitted(maker, start, folder)
            save_folder(folder, model, self._record(seconds))
        record = build(ExactRecord, read_json(folder / RECORD))
        # SISA's checkpoints change with a deletion.
        with tempfile.TemporaryDirectory(prefix="deleting-", dir=self.store.folder) as name:
            copy = Path(name) / _COPY
            with disk_errors(copy):
                shutil.copytree(folder, copy)
            start = self._start(record.facts or self.data.facts)
            yield Trained(load_exact(copy / WEIGHTS, start), self._points(), record.seconds)

    def _fitted(
        self, maker: ExactMethod, start: nn.Module | None, folder: Path | None
    ) -> tuple[ExactModel, float]:
        """The model, and the seconds of its training; of one that was cut, those of all parts."""
        stage = f"train {self.preset.name}, seed {self.seed}"
        earlier = 0.0 if folder is None else kept_seconds(folder)
        begun = time.perf_counter()
        with self.store.reporter.stage(stage, 1) as tick:
            model = maker.fit(
                self._points(),
                classes=len(self.data.facts.classes),
                start=start,
                folder=folder,
                on_progress=lambda done, total: tick(0, f"{done:,} of {total:,}"),
            )
            tick()
        return model, earlier + time.perf_counter() - begun

    def _start(self, facts: DataFacts) -> nn.Module:
        return make_model(self.model, facts, self.seed).to(self.store.device)

    def _points(self) -> Points:
        return Points.of(batches(self.data.train))

    def _record(self, seconds: float) -> ExactRecord:
        return ExactRecord(
            method=self.preset.method,
            data=self.data.config,
            model=self.model,
            fingerprint=self.data.fingerprint,
            seed=self.seed,
            seconds=seconds,
            facts=without_looking(self.data.facts),
        )

    def _key(self, maker: ExactMethod) -> str:
        return content_key(
            data=self.data.fingerprint,
            model=asdict(self.model),
            settings=repr(maker),
            seed=self.seed,
            **self.store.place,
            **scale_key(self.data.facts.kind),
        )


def network_of(model: ExactModel) -> nn.Module:
    """A module whose logits are the model's answers, on the device of its networks."""
    if isinstance(model, SisaModel):
        return model.network()
    return model.network if isinstance(model, PrivateModel) else Answering(model)


def frozen_data(network: nn.Module, data: ClassifierData) -> ClassifierData:
    """The same examples as the features that a network's last linear layer takes.

    Raises:
        ConfigError: it has no such layer.
    """

    def features(examples: TensorDataset) -> TensorDataset:
        if not len(examples):
            return examples
        rows = frozen_features(network, Points.of(batches(examples, size=500))).table()
        return TensorDataset(*map(torch.from_numpy, (rows.features, rows.labels)))

    train, held_out, test = map(features, (data.train, data.held_out, data.test))
    return replace(data, train=train, held_out=held_out, test=test)
