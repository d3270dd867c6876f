"""The benchmark: data x architecture x forget set x seed x method, cell by cell, resumable."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product

from erasure.cache import content_key
from erasure.classifiers import TrainingRecipe
from erasure.errors import ConfigError, MaskError, TrainingError
from eval.errors import EvalError
from pipelines.classifiers.architectures import ModelConfig
from pipelines.classifiers.bench_models import ModelStore
from pipelines.classifiers.cells import Cell, CellFile
from pipelines.classifiers.data import ClassifierData, DataConfig
from pipelines.classifiers.forget_setting import ForgetSetting
from pipelines.classifiers.measuring import Measured, Split, measure, split_data
from pipelines.classifiers.model_file import LoadedClassifier
from pipelines.classifiers.presets import RETRAIN, Preset
from pipelines.classifiers.training import forget_data


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """Every combination of these is a cell; plain values, a TOML file."""

    data: tuple[DataConfig, ...] = (DataConfig(),)
    models: tuple[ModelConfig, ...] = (ModelConfig(),)
    training: TrainingRecipe = field(
        default_factory=lambda: TrainingRecipe(epochs=15, batch_size=128)
    )
    """Of the originals and the retrained models; its batch size is that of all methods."""
    forget: tuple[str, ...] = ("10%",)
    """Such as `10%`, `50%`, `class:3`."""
    methods: tuple[str, ...] = ()
    """Rows of `presets`; all but the controls if none, `all` for those too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    unlearn_epochs: int | None = None
    """Most epochs of any method, where the presets have more; against the epochs of training."""
    signals: bool = True
    """Attack the other signals too; they stand in the JSON and CSV."""
    exact_attack: bool = False
    """The paper's machine on every point, which takes longer than many methods."""

    def __post_init__(self) -> None:
        for name in ("data", "models", "forget", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; give at least one")
        for text in self.forget:
            ForgetSetting.parse(text)
        if self.unlearn_epochs is not None and self.unlearn_epochs < 1:
            raise ConfigError(f"unlearn_epochs is {self.unlearn_epochs}; give 1 or more, or none")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise ConfigError(f"the seed {seed} is out of range; give 0 to 2**32 - 1")


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
        """Such as `fashion-mnist/resnet18/10%`."""
        return setting_name(self.data.config, self.model, self.setting)

    @cached_property
    def split(self) -> Split:
        return split_data(self.data, self.setting, self.seed)

    @cached_property
    def original(self) -> LoadedClassifier:
        return self.store.original(self.data, self.model, self.config.training, self.seed)

    @cached_property
    def retrained(self) -> LoadedClassifier:
        return self.store.retrained(self.original, self.data, self.split, self.setting, self.seed)

    def key(self, preset: Preset) -> str:
        """Hash of all that decides the cell of a row."""
        return content_key(
            data=self.data.fingerprint,
            tests=[len(self.data.test), len(self.data.held_out), self.held_out],
            model=asdict(self.model),
            training=asdict(self.config.training),
            forget=str(self.setting),
            seed=self.seed,
            attack=[self.config.signals, self.config.exact_attack],
            **preset.plain(),
        )

    def run(self, preset: Preset) -> Cell:
        """Forget by one row and score it; what a method refuses or breaks becomes the cell."""
        cell = Cell(
            key=self.key(preset),
            setting=self.name,
            row=preset.name,
            seed=self.seed,
            values={k: v for k, v in preset.plain().items() if k != "method"},
        )
        if preset.method == RETRAIN:
            made = self.retrained
            return self._scored(cell, self._measure(made, made.record.seconds), made.record.moved)
        original = self.original
        try:
            stage = f"{preset.name}, {self.setting}, seed {self.seed}"
            with self.store.reporter.stage(stage, 1) as tick:
                found, record = forget_data(
                    original.model,
                    original.record,
                    self.data,
                    self.split,
                    preset.make(),
                    seed=self.seed,
                    mask=preset.mask,
                    density=preset.density,
                    on_step=lambda step: tick(0, f"step {step.index}, loss {step.loss:.3f}"),
                )
                tick()
            measured = self._measure(replace(original, model=found.model), found.seconds)
        except (ConfigError, MaskError, TrainingError, EvalError) as err:
            return replace(cell, error=str(err))
        return replace(self._scored(cell, measured, record.moved), steps=len(found.steps))

    def _measure(self, made: LoadedClassifier, seconds: float) -> Measured:
        return measure(
            made.model,
            self.data,
            self.split,
            seconds=seconds,
            held_out=self.held_out,
            signals=self.config.signals and not self.held_out,
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


def setting_name(data: DataConfig, model: ModelConfig, setting: ForgetSetting) -> str:
    """What tables and tuned files call a combination."""
    return f"{data.name}/{model.architecture}/{setting}"


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
    found = {}
    for row in rows:
        key = world.key(row)
        if key not in there:
            there[key] = world.run(row)
            cells.append(there[key])
        found[row.name] = there[key]
    return found
