"""Originals and retrained models of a benchmark: trained once, kept by what decides them."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from erasure.classifiers import METHODS, TrainingRecipe
from erasure.storage.cache import content_key
from pipelines.classifiers.bench.presets import RETRAIN
from pipelines.classifiers.data.data import ClassifierData
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.measuring import Split
from pipelines.classifiers.model_file import LoadedClassifier, load_classifier, save_classifier
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.classifiers.training import forget_data, steps_of_training, train_original
from pipelines.process.progress import Reporter


@dataclass(frozen=True, slots=True)
class ModelStore:
    """A folder of model files, each usable by the other commands; delete it at any time."""

    folder: Path
    device: torch.device
    reporter: Reporter

    @property
    def place(self) -> dict[str, str]:
        """The part of a key that is of the device, as run times are; none of the CPU, as the keys
        of before have none."""
        return {} if self.device.type == "cpu" else {"device": self.device.type}

    def original(
        self, data: ClassifierData, model: ModelConfig, recipe: TrainingRecipe, seed: int
    ) -> LoadedClassifier:
        """The model trained on everything; shared by all forget sets and methods of a seed."""
        key = content_key(
            data=data.fingerprint, model=asdict(model), recipe=asdict(recipe), seed=seed
        )
        path = self.folder / f"original-{key}.safetensors"
        if not path.exists():
            state = path.with_suffix(".state")
            total = steps_of_training(recipe, len(data.train))
            with self.reporter.stage(f"train, seed {seed}", total) as tick:
                network, record = train_original(
                    data,
                    model,
                    recipe,
                    seed=seed,
                    device=self.device,
                    state=state,
                    on_step=lambda step: tick(note=f"loss {step.loss:.3f}"),
                )
            save_classifier(path, network, record)
            state.unlink(missing_ok=True)
        return self._load(path, model.architecture)

    def retrained(
        self,
        original: LoadedClassifier,
        data: ClassifierData,
        split: Split,
        setting: ForgetSetting,
        seed: int,
    ) -> LoadedClassifier:
        """The model trained without the forget set; shared by all methods."""
        points = content_key(positions=split.retain.tolist())
        key = content_key(original=original.hash, kept=points, seed=seed, **self.place)
        path = self.folder / f"retrained-{key}.safetensors"
        if not path.exists():
            state = path.with_suffix(".state")
            total = steps_of_training(original.record.training, len(split.retain))
            with self.reporter.stage(f"retrain without {setting}, seed {seed}", total) as tick:
                made, record = forget_data(
                    original.model,
                    original.record,
                    data,
                    split,
                    METHODS[RETRAIN](),
                    seed=seed,
                    state=state,
                    on_step=lambda step: tick(note=f"loss {step.loss:.3f}"),
                )
            record = replace(record, forget=str(setting), forget_seed=seed)
            save_classifier(path, made.model, record)
            state.unlink(missing_ok=True)
        return self._load(path, original.record.model.architecture)

    def _load(self, path: Path, architecture: str) -> LoadedClassifier:
        """A file of the folder, which may have come from elsewhere: what it names is imported only
        where it is what was asked for."""
        loaded = load_classifier(path, own=architecture)
        return replace(loaded, model=loaded.model.to(self.device))
