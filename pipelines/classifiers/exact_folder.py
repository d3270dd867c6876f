"""Folders of models that forget exactly: what was learned, a record of how, and checkpoints."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from erasure.checkpoints.description import read_json
from erasure.classifiers.exact.exact import ExactModel
from erasure.classifiers.exact.exact_methods import EXACT, load_exact
from erasure.classifiers.exact.noise_source import Noisy
from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import without_folders
from erasure.storage.disk import disk_errors, refuse_existing
from erasure.storage.files import write_json
from erasure.storage.tables import build
from pipelines.classifiers.data.data import ClassifierData, DataConfig, DataFacts
from pipelines.classifiers.networks.architectures import ModelConfig, make_model, require_known
from pipelines.classifiers.runs import data_of

FORMAT: Final = "erasure-exact-run 1"
WEIGHTS: Final = "ensemble.safetensors"
RECORD: Final = "record.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactRecord:
    """How the model in a folder was made."""

    method: str
    """Key into `EXACT`."""
    data: DataConfig
    model: ModelConfig
    fingerprint: str
    seed: int
    forget: str = ""
    """What left last, as `10%`; empty before anything did."""
    forget_seed: int = 0
    seconds: float = 0.0
    """What training took, or the last forgetting."""
    facts: DataFacts | None = None
    """What the network was made for, `without_looking` at pictures; None for a method without one.
    None, too, in folders of before it was kept, whose networks were made for those of the data."""
    noise: str = ""
    """Where the noise of its bound came from, in words; empty for a method without."""
    format: str = FORMAT


def is_exact(path: Path) -> bool:
    """Whether it is a folder of `train_exact`."""
    return (path / RECORD).is_file()


def open_exact(
    folder: Path, data_path: str | None = None, *, allow_code: bool = False
) -> tuple[ExactModel, ExactRecord, ClassifierData]:
    """The model of a folder, its record and its data.

    Raises:
        CheckpointError: the record is damaged or of another format, or names a function of a
            user's and `allow_code` is not set.
        ConfigError: the data are not those it was trained on.
    """
    try:
        record = build(ExactRecord, read_json(folder / RECORD))
    except (CheckpointError, TypeError, ConfigError) as err:
        raise CheckpointError(f"{folder / RECORD} cannot be read ({err}); train again") from err
    if record.format != FORMAT or record.method not in EXACT:
        raise CheckpointError(
            f"{folder} has the format {record.format!r}, method {record.method!r}; train again"
        )
    require_known(record.model, folder, allow_code=allow_code)
    data = data_of(record.data, record.fingerprint, data_path)
    return load_folder(folder, record, data), record, data


def load_folder(folder: Path, record: ExactRecord, data: ClassifierData) -> ExactModel:
    """The model of a folder whose record and data are known."""
    needs_start = "start" in EXACT[record.method].needs
    facts = record.facts or data.facts
    start = make_model(record.model, facts, record.seed) if needs_start else None
    return load_exact(folder / WEIGHTS, start)


def save_folder(out: Path, model: ExactModel, record: ExactRecord) -> None:
    """Write the model and its record; checkpoints are the method's own affair.

    The state of a training that has ended goes: it holds the losses of its batches, which no noise
    covers.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    model.save(out / WEIGHTS)
    record = replace(record, noise=noise_of(model))
    values = without_folders(asdict(record))
    write_json(out / RECORD, values)
    with disk_errors(out):
        for state in out.glob("*.state"):
            state.unlink()


def noise_of(model: ExactModel) -> str:
    """Where the noise of a model's bound came from, in words; empty for a method without."""
    return model.noise_source if isinstance(model, Noisy) else ""


def require_replaceable(out: Path, *, force: bool) -> None:
    """Refuse what is there already; with `force` what is no folder of ours, which alone is
    replaced."""
    refuse_existing(out, force=force)
    if out.exists() and (not is_exact(out) or read_json(out / RECORD).get("format") != FORMAT):
        raise CheckpointError(f"{out} is no folder of this command; give another --out")
