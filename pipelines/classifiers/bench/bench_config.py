"""Settings of a benchmark: what is combined with what."""

from dataclasses import dataclass, field

from erasure.classifiers import TrainingRecipe
from erasure.errors import ConfigError
from pipelines.classifiers.data.data import DataConfig
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.networks.architectures import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """Every combination of these is a cell; plain values, a TOML file."""

    data: tuple[DataConfig, ...] = (DataConfig(),)
    models: tuple[ModelConfig, ...] = (ModelConfig(),)
    training: TrainingRecipe = field(
        default_factory=lambda: TrainingRecipe(epochs=15, batch_size=128)
    )
    """How the originals and the retrained models train; all methods share its batch size."""
    forget: tuple[str, ...] = ("10%",)
    """Such as `10%`, `50%`, `class:3`."""
    methods: tuple[str, ...] = ()
    """Rows of `presets`; all but the controls if none, `all` for those too. What the data do not
    suit, such as trees for pictures, is left out unless it is named."""
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
