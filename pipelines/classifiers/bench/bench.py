"""The benchmark: data x architecture x forget set x seed x method, cell by cell, resumable."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from torch import nn

from erasure.classifiers.exact.certified import Certified
from erasure.errors import ConfigError, MaskError, TrainingError
from erasure.storage.cache import content_key
from eval.errors import EvalError
from eval.rates.membership import load_machine
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.bench_models import ModelStore
from pipelines.classifiers.bench.bench_own import FEATURES_STAY, OwnTraining, frozen_data
from pipelines.classifiers.bench.cells import NOT_FOR_THESE, Cell, CellFile
from pipelines.classifiers.bench.presets import RETRAIN, Preset
from pipelines.classifiers.bench.tuned_values import TunedFor
from pipelines.classifiers.data.data import ClassifierData
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.fixed_scale import scale_key, stays
from pipelines.classifiers.measuring import Measured, Split, measure, split_data
from pipelines.classifiers.model_file import LoadedClassifier
from pipelines.classifiers.networks.architectures import ModelConfig, make_model
from pipelines.classifiers.training import forget_data


@dataclass(frozen=True)
class World:
    """One data set, architecture and forget set under one seed; models are made when asked for."""

    config: BenchConfig
    data: ClassifierData
    model: ModelConfig
    setting: ForgetSetting
    seed: int
    store: ModelStore
    held_out: bool = False
    """Score on the held-out part instead of the test part; for tuning."""

    @property
    def name(self) -> str:
        """What tables call the setting, such as `fashion-mnist 5000/resnet18 0.125/10%`."""
        data = f"{self.data.config.name} {len(self.data.train)}"
        return f"{data}/{model_name(self.model)}/{self.setting}"

    @property
    def found_for(self) -> TunedFor:
        """All that decides which settings of a method are the best here."""
        return TunedFor(
            data=self.data.config.name,
            examples=len(self.data.train),
            fingerprint=self.data.fingerprint,
            model=self.model,
            training=self.config.training,
            forget=str(self.setting),
            unlearn_epochs=self.config.unlearn_epochs,
        )

    @cached_property
    def split(self) -> Split:
        return split_data(self.data, self.setting, self.seed)

    @cached_property
    def original(self) -> LoadedClassifier:
        return self.store.original(self.data, self.model, self.config.training, self.seed)

    @cached_property
    def retrained(self) -> LoadedClassifier:
        return self.store.retrained(self.original, self.data, self.split, self.setting, self.seed)

    @cached_property
    def memo(self) -> dict[str, Any] | None:
        """What trials of a search share; rows of the table are timed, and compute everything."""
        return {} if self.held_out else None

    @cached_property
    def weights(self) -> int:
        """Parameters of the model."""
        return sum(p.numel() for p in make_model(self.model, self.data.facts, 0).parameters())

    def key(self, preset: Preset) -> str:
        """Hash of all that decides the cell of a row."""
        return content_key(
            data=self.data.fingerprint,
            tests=[self.data.judging_fingerprint, self.held_out],
            model=asdict(self.model),
            training=asdict(self.config.training),
            forget=str(self.setting),
            seed=self.seed,
            attack=[self.config.signals, self.config.exact_attack],
            **preset.decides(self.config.training, self.seed),
            **self.store.place,
            **(scale_key(self.data.facts.kind) if preset.trains_network else {}),
        )

    def run(self, preset: Preset) -> Cell:
        """Forget by one row and score it; what a method refuses or breaks becomes the cell.

        Raises:
            EvalError: nothing could be scored; no model has been trained yet.
        """
        load_machine()
        cell = Cell(
            key=self.key(preset),
            setting=self.name,
            row=preset.name,
            seed=self.seed,
            values={k: v for k, v in preset.plain().items() if k != "method"},
            own_training=preset.own_training,
        )
        if preset.method == RETRAIN:
            made = self.retrained
            return self._scored(cell, self._measure(made, made.record.seconds), made.record.moved)
        if preset.own_training:
            return self._run_own(preset, cell)
        original = self.original
        try:
            with self.store.reporter.stage(self._stage(preset), 1) as tick:
                result, record = forget_data(
                    original.model,
                    original.record,
                    self.data,
                    self.split,
                    preset.make(),
                    seed=self.seed,
                    mask=preset.mask,
                    density=preset.density,
                    memo=self.memo,
                    on_step=lambda step: tick(0, f"step {step.index}, loss {step.loss:.3f}"),
                )
                tick()
            measured = self._measure(replace(original, model=result.model), result.seconds)
        except (ConfigError, MaskError, TrainingError, EvalError) as err:
            return replace(cell, error=str(err))
        return replace(self._scored(cell, measured, record.moved), steps=len(result.steps))

    def _run_own(self, preset: Preset, cell: Cell) -> Cell:
        """Let a method train a model, delete from it and score it before and after."""
        kind = self.data.facts.kind
        if not preset.applies_to(kind):
            why = f"{preset.name} takes tables of numbers, and these data are of the kind {kind}"
            return replace(cell, error=f"{NOT_FOR_THESE}: {why}")
        try:
            heads = preset.method == Certified.name
            data = frozen_data(self.original.model, self.data) if heads else self.data
            run = OwnTraining(preset, data, self.model, self.config.training, self.seed, self.store)
            with run.trained() as trained:
                before = self._measure_of(trained.network, data, trained.seconds, signals=False)
                with self.store.reporter.stage(self._stage(preset), 1) as tick:
                    left = trained.forget(self.split.forget.tolist(), tick)
                    tick()
                measured = self._measure_of(
                    left.network, data, left.seconds, signals=self.config.signals
                )
        except (ConfigError, TrainingError, EvalError) as err:
            return replace(cell, error=str(err))
        caveat = FEATURES_STAY if heads else stays(kind) if preset.trains_network else ""
        facts = left.facts(before.scores, caveat)
        return replace(self._scored(cell, measured, moved=0), deletion=facts)

    def _stage(self, preset: Preset) -> str:
        return f"{preset.name}, {self.setting}, seed {self.seed}"

    def _measure(self, made: LoadedClassifier, seconds: float) -> Measured:
        signals = self.config.signals and not self.held_out
        return self._measure_of(made.model, self.data, seconds, signals=signals)

    def _measure_of(
        self, model: nn.Module, data: ClassifierData, seconds: float, *, signals: bool
    ) -> Measured:
        return measure(
            model,
            data,
            self.split,
            seconds=seconds,
            held_out=self.held_out,
            signals=signals,
            exact=self.config.exact_attack,
        )

    def _scored(self, cell: Cell, measured: Measured, moved: int) -> Cell:
        return replace(
            cell,
            scores=measured.scores,
            attack_seconds=measured.attack_seconds,
            others=measured.others,
            moved=moved,
        )


def model_name(model: ModelConfig) -> str:
    """What tables call a model: networks of two widths are two."""
    return f"{model.architecture} {model.width:g}"


def worlds(
    config: BenchConfig,
    data: Sequence[ClassifierData],
    store: ModelStore,
    *,
    seeds: Sequence[int] = (),
    held_out: bool = False,
    process: int = 0,
    processes: int = 1,
) -> Iterator[World]:
    """Every combination, those that share an original one after the other.

    Args:
        data: the data sets of the config.
        seeds: instead of the config's.
        process: with `processes`, which share is ours: whole groups with one original.
    """
    groups = list(product(data, config.models, seeds or config.seeds))
    for one, model, seed in groups[process::processes]:
        for text in config.forget:
            yield World(config, one, model, ForgetSetting.parse(text), seed, store, held_out)


def run_world(world: World, rows: Sequence[Preset], cells: CellFile) -> dict[str, Cell]:
    """The cells of one world: those that are there already, and the others, made now."""
    there = cells.read()
    by_row = {}
    for row in rows:
        key = world.key(row)
        # A model of its own may have failed for want of a package that is there by now.
        if key not in there or (row.own_training and there[key].error):
            there[key] = world.run(row)
            cells.append(there[key])
        by_row[row.name] = there[key]
    return by_row
