"""Names and shapes at full size equal those of the published files, on the meta device."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.reading.published import published_description
from erasure.checkpoints.reading.recognise import family_of_folder
from erasure.diffusion.schedule import Prediction

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Published:
    shapes: Shapes
    optional: frozenset[str]

    def required(self) -> Shapes:
        return {name: shape for name, shape in self.shapes.items() if name not in self.optional}


def published(key: str) -> Published:
    text = gzip.decompress((Path(__file__).parent / "published" / f"{key}.txt.gz").read_bytes())
    shapes: Shapes = {}
    optional = set()
    for line in text.decode().splitlines()[1:]:
        name, shape, *rest = line.split()
        shapes[name] = () if shape == "-" else tuple(map(int, shape.split("x")))
        if rest:
            optional.add(name)
    return Published(shapes, frozenset(optional))


def model_weights(key: str) -> dict[str, dict[str, Tensor]]:
    configs = shipped_description(key).configs()
    return {
        c: expected_weights(ARCHITECTURES[key].part(c), configs[c])
        for c in ("unet", "vae", "text_encoder")
    }


def shapes_of(weights: dict[str, Tensor]) -> Shapes:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


@pytest.mark.parametrize(("key", "total", "optional"), [("sd1", 1130, 0), ("sd2", 1228, 14)])
def test_the_table_itself_has_the_published_number_of_tensors(
    key: str, total: int, optional: int
) -> None:
    assert len(published(key).shapes) == total
    assert len(published(key).optional) == optional


@pytest.mark.parametrize("key", ["sd1", "sd2"])
def test_the_diffusers_models_become_exactly_the_published_tensors(key: str) -> None:
    original = ARCHITECTURES[key].to_original(model_weights(key))
    assert shapes_of(original) == published(key).required()


@pytest.mark.parametrize("key", ["sd1", "sd2"])
def test_the_published_tensors_become_exactly_the_diffusers_models(key: str) -> None:
    table, family, models = published(key), ARCHITECTURES[key], model_weights(key)
    file = {name: torch.empty(shape, device="meta") for name, shape in table.required().items()}
    for part in family.parts:
        converted = part.to_diffusers(family.part_of(file, part.component))
        assert shapes_of(converted) == shapes_of(models[part.component])


@pytest.mark.parametrize("key", ["sd1", "sd2"])
def test_there_and_back_covers_the_optional_tensors_too(key: str) -> None:
    table, family = published(key), ARCHITECTURES[key]
    file = {name: torch.empty(shape, device="meta") for name, shape in table.shapes.items()}
    components = {
        part.component: part.to_diffusers(family.part_of(file, part.component))
        for part in family.parts
    }
    assert shapes_of(family.to_original(components)) == table.shapes


@pytest.mark.parametrize(
    ("key", "prediction_type", "resolution"),
    [
        ("sd1", "epsilon", 512),
        ("sd2", "v_prediction", 768),
        ("sd2", "epsilon", 512),
        ("sd1", "v_prediction", 512),
    ],
)
def test_the_shipped_configs_are_those_of_the_published_models(
    key: str, prediction_type: Prediction, resolution: int
) -> None:
    shipped = published_description(ARCHITECTURES[key], prediction_type)
    assert shipped.prediction_type == prediction_type
    assert ARCHITECTURES[key].own_size(shipped) == (resolution, resolution)
    assert shipped.vocabularies == {}
    scheduler = getattr(diffusers, shipped.scheduler["_class_name"]).from_config(shipped.scheduler)
    assert scheduler.config.prediction_type == prediction_type
    assert family_of_folder(shipped.model_index, shipped.components, Path()) is ARCHITECTURES[key]
