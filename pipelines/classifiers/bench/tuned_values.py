"""What a search has found, kept with all that it was found for, and used for nothing else."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from erasure.classifiers import TrainingRecipe
from erasure.errors import ConfigError
from erasure.storage.cache import content_key
from erasure.storage.files import atomic
from erasure.storage.tables import build
from pipelines.classifiers.bench.search_space import Value
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.configs.recipe import dump_toml
from pipelines.configs.recipe_files import load_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedFor:
    """All that decides which settings are the best; two that differ in any share no values."""

    data: str
    """Name of the data set."""
    examples: int
    """How many examples the training part has."""
    fingerprint: str
    """`ClassifierData.fingerprint`, the hash of the training part."""
    model: ModelConfig
    training: TrainingRecipe
    """How the original and the retrained model train."""
    forget: str
    """Such as `10%`."""
    unlearn_epochs: int | None = None
    """Most epochs of a method."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """How it was searched."""

    trials: int
    """How many trials each method had."""
    seeds: int
    """How many seeds judged each trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedValues:
    """The file of one setting."""

    found_for: TunedFor
    search: Searched
    rows: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """Name of the row -> setting -> value."""

    def write(self, folder: Path) -> Path:
        """Write the file, whose name is of the setting, and return its path."""
        known = self.found_for
        words = f"{known.data}-{known.model.architecture}-{known.forget}"
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-")
        path = folder / f"{slug}-{content_key(**asdict(known))[:8]}.toml"
        header = (
            "Found by `erasure classify bench --tune`, and used where all of [found_for] is the "
            "same."
        )
        with atomic(path) as part:
            part.write_text(dump_toml(self, header), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> "TunedValues":
        """Read such a file.

        Raises:
            ConfigError: it is no such file; the one of an older search does not say what its
                values were found for.
        """
        table = load_toml(path)
        if "found_for" not in table:
            raise ConfigError(
                f"{path} does not say what its values were found for; search them again with "
                "`erasure classify bench --tune`"
            )
        try:
            return build(cls, table)
        except ConfigError as err:
            raise ConfigError(f"{path}: {err}") from err
