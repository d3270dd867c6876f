"""Shadow models: other models than the one they help to attack, and test data of every class."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from erasure.classifiers import TrainingRecipe
from erasure.errors import ConfigError
from pipelines.classifiers import shadow
from pipelines.classifiers.data.data import ClassifierData, DataConfig, load_data
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.measuring import Split, split_data
from pipelines.classifiers.model_file import LoadedClassifier, load_classifier, save_classifier
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.classifiers.training import train_original
from pipelines.process.progress import Reporter

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def data() -> ClassifierData:
    return load_data(DataConfig(name="digits", train=120, held_out=0, test=0))


def split(data: ClassifierData, text: str = "10%") -> Split:
    return split_data(data, ForgetSetting.parse(text), 0)


def by_class(data: ClassifierData) -> ClassifierData:
    """The same test data, one class after the other."""
    order = data.test.tensors[-1].argsort(stable=True)
    return replace(data, test=TensorDataset(*(tensor[order] for tensor in data.test.tensors)))


@pytest.mark.parametrize("seed", [0, 2])
def test_no_shadow_model_begins_as_the_model_that_is_attacked(
    seed: int, data: ClassifierData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Tensor] = []

    def untrained(model: torch.nn.Module, *_: Any) -> Any:  # noqa: ANN401
        begun.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return iter(())

    network, record = train_original(
        data,
        ModelConfig(architecture="mlp", width=0.02),
        TrainingRecipe(epochs=1, lr=1e-9, weight_decay=0.0),  # It stays where it began.
        seed=seed,
        device=torch.device("cpu"),
    )
    save_classifier(tmp_path / "m.safetensors", network, record)
    loaded: LoadedClassifier = load_classifier(tmp_path / "m.safetensors")
    monkeypatch.setattr(shadow, "train_classifier", untrained)
    shadow.shadow_attack(
        loaded, data, split(data), 4, device=torch.device("cpu"), reporter=Reporter(quiet=True)
    )
    own = torch.cat([p.detach().flatten() for p in loaded.model.parameters()])
    assert min(float((other - own).abs().max()) for other in begun) > 1e-3
    assert len({tuple(other.tolist()) for other in begun}) == 4


def test_the_test_part_is_of_every_class_in_whatever_order_the_data_come(
    data: ClassifierData,
) -> None:
    random, one = split(data), split(data, "class:3")
    labels = by_class(data).test.tensors[-1]
    part = shadow._test_part(by_class(data), random)
    assert len(part) == len(random.forget) == 12
    assert len(set(labels[part].tolist())) == 10
    assert set(labels[shadow._test_part(by_class(data), one)].tolist()) == {3}
    assert shadow._test_part(data, random).tolist() == list(range(12))


def test_a_class_that_the_test_part_lacks_is_refused_before_a_training(
    data: ClassifierData,
) -> None:
    labels = data.test.tensors[-1]
    lacking = replace(data, test=TensorDataset(*(t[labels != 3] for t in data.test.tensors)))
    with pytest.raises(ConfigError, match="no example of the class that was forgotten"):
        shadow._test_part(lacking, split(data, "class:3"))
