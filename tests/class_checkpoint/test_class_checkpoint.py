"""The recipe of the class-conditional checkpoint, on a few random pictures."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.tiny import seeded
from torch import Tensor

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import CheckpointError, ConfigError
from pipelines.class_checkpoint import training
from pipelines.class_checkpoint.__main__ import main
from pipelines.class_checkpoint.check import right_answers
from pipelines.class_checkpoint.garments import padded
from pipelines.class_checkpoint.icons import icons_of
from pipelines.class_checkpoint.pictures import ClassPictures, image_of
from pipelines.class_checkpoint.recipe import BATCH, SIDE
from pipelines.class_checkpoint.training import denoising_loss, is_done, record_of, train
from pipelines.class_checkpoint.worlds import WORLDS, best_of
from pipelines.classifiers.data.raw_data import images
from pipelines.configs.settings import DrawingConfig
from pipelines.demo_checkpoint.icons import rasterise
from pipelines.drawing.generation import draw_all
from pipelines.drawing.requests import Request
from pipelines.run.models import own_judge
from prompts.canvas import OBJECTS, STYLES

CLOTHES = WORLDS["clothes"]
SNEAKER, NO_LABEL = CLOTHES.classes.index("sneaker"), CLOTHES.nothing


@pytest.fixture(scope="module")
def garments() -> ClassPictures:
    """Forty pictures; each is as light as its class says."""
    labels = torch.arange(40) % len(CLOTHES.classes)
    pixels = (labels[:, None, None] * 20).expand(-1, 28, 28).to(torch.uint8)
    return padded(images(pixels, labels))


class Recorder:
    """Called as the network is, it learns nothing and notes what it is shown."""

    def __init__(self) -> None:
        self.labels: list[Tensor] = []
        self.samples: list[Tensor] = []

    def __call__(self, noisy: Tensor, t: Tensor, labels: Tensor) -> Any:  # noqa: ANN401
        self.labels.append(labels)
        self.samples.append(noisy)
        return SimpleNamespace(sample=torch.zeros_like(noisy))


def shown(name: str, garments: ClassPictures) -> Recorder:
    recorder, generator = Recorder(), seeded(3)
    loss = denoising_loss(
        recorder, garments, CLOTHES.variants[name].choice(garments.labels), NO_LABEL
    )
    for _ in range(60):
        loss(generator)
    return recorder


def test_pictures_are_padded_with_black_to_32_pixels(garments: ClassPictures) -> None:
    assert garments.pixels.shape == (40, 1, SIDE, SIDE)
    assert not garments.pixels[:, :, :2].any()
    assert not garments.pixels[:, :, :, -2:].any()
    assert garments.pixels[9, 0, 2, 2] == 180


def test_no_picture_of_the_class_that_is_left_out_enters_a_batch(garments: ClassPictures) -> None:
    base, without = shown("base", garments), shown("no-sneaker", garments)
    assert SNEAKER in torch.cat(base.labels)
    assert SNEAKER not in torch.cat(without.labels)
    assert {len(labels) for labels in without.labels} == {BATCH}  # the gaps are filled
    for n in range(60):  # all other places are the recipe's own
        same = base.labels[n] == without.labels[n]
        changed = base.samples[n].ne(without.samples[n]).flatten(1).any(dim=1)
        assert not (changed & (base.labels[n] != SNEAKER) & (base.labels[n] != NO_LABEL)).any()
        assert same[base.labels[n] != SNEAKER].all()


def test_a_tenth_of_the_labels_is_that_of_no_class(garments: ClassPictures) -> None:
    labels = torch.cat(shown("base", garments).labels)
    dropped = float((labels == NO_LABEL).double().mean())
    assert abs(dropped - 0.1) < 0.04  # 960 labels: a standard error of 0.01


@pytest.mark.slow
def test_a_training_that_was_cut_ends_with_the_same_bytes_and_is_read_as_a_model_of_labels(
    garments: ClassPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = replace(CLOTHES, fit=replace(CLOTHES.fit, steps=3, save_every=1))
    variant = world.variants["no-sneaker"]
    whole = train(world, variant, garments, tmp_path / "whole")
    with monkeypatch.context() as patch:

        def cut(*arguments: Any) -> Any:  # noqa: ANN401
            loss, left = denoising_loss(*arguments), iter(range(2))

            def stopped(generator: torch.Generator) -> Tensor:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return loss(generator)

            return stopped

        patch.setattr(training, "denoising_loss", cut)
        with pytest.raises(KeyboardInterrupt):
            train(world, variant, garments, tmp_path / "cut")
    assert not is_done(variant, tmp_path / "cut")
    again = train(world, variant, garments, tmp_path / "cut")
    assert is_done(variant, tmp_path / "cut")
    file = "unet/diffusion_pytorch_model.safetensors"
    one, other = load_file(whole / file), load_file(again / file)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert all(value.dtype == torch.float16 for value in one.values())
    assert (whole / file).stat().st_size < 5_000_000
    checkpoint = read_checkpoint(whole)
    assert checkpoint.classes is not None
    assert checkpoint.classes.names == CLOTHES.classes
    assert checkpoint.classes.nothing == NO_LABEL


def test_states_of_another_class_or_seed_are_refused(
    garments: ClassPictures, tmp_path: Path
) -> None:
    records = [record_of(CLOTHES, each, garments) for each in CLOTHES.variants.values()]
    training.claim_states(tmp_path, records[0])
    training.claim_states(tmp_path, records[0])
    for other in records[1:]:
        with pytest.raises(CheckpointError, match="another recipe"):
            training.claim_states(tmp_path, other)


def test_icons_are_drawn_by_class_in_any_of_their_styles() -> None:
    drawings = torch.zeros(len(STYLES), len(OBJECTS), 4, 128, 128)
    drawings[:, :, 3] = 1.0  # opaque
    for style in range(len(STYLES)):
        drawings[style, :, 0] = style / 10
    drawings[:, :10, 2] = torch.arange(10)[None, :, None, None] / 10
    pictures = icons_of(drawings, 30, seed=1)
    assert pictures.pixels.shape == (300, 3, SIDE, SIDE)
    assert pictures.labels.bincount().tolist() == [30] * 10
    middle = pictures.pixels[:, :, 16, 16].float() / 255
    assert torch.allclose(middle[:, 2], pictures.labels / 10, atol=0.01)
    styles = {STYLES[round(10 * float(red))] for red in middle[:, 0]}
    assert styles == {"flat", "glossy", "cartoon"}
    again, other = icons_of(drawings, 30, seed=1), icons_of(drawings, 30, seed=2)
    assert pictures.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.slow
def test_a_model_of_icons_is_read_as_one_in_colour(tmp_path: Path) -> None:
    icons = WORLDS["icons"]
    world = replace(icons, fit=replace(icons.fit, steps=2))
    labels = torch.arange(40) % len(world.classes)
    pixels = (labels[:, None, None, None] * 20).expand(-1, 3, SIDE, SIDE).to(torch.uint8)
    model = train(world, world.variants["no-church"], ClassPictures(pixels, labels), tmp_path)
    checkpoint = read_checkpoint(model)
    assert checkpoint.classes is not None
    assert checkpoint.classes.names == world.classes
    assert own_judge(checkpoint) is None  # that of clothes does not know them
    drawing = DrawingConfig(steps=1)
    (image,) = draw_all(checkpoint, [Request("church", 0)], drawing, torch.device("cpu"))
    assert (image.mode, image.size) == ("RGB", (SIDE, SIDE))
    assert best_of(world.judge(tmp_path), world.head, [image])[0]


def test_the_judge_of_a_world_is_asked_for_its_classes() -> None:
    world = WORLDS["icons"]
    blot = ClassPictures(torch.full((3, 3, SIDE, SIDE), 7, dtype=torch.uint8), torch.arange(3))
    assert not right_answers(world, world.judge(Path()), blot)
    assert image_of(blot.pixels[0]).mode == "RGB"
    assert image_of(blot.pixels[0, :1]).mode == "L"


def test_icons_that_cannot_be_had_are_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    with pytest.raises(ConfigError, match=r"1\.2\.6 is not in .* and npm cannot get it"):
        WORLDS["icons"].load(tmp_path)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ConfigError, match="rendering icons needs resvg_py"):
        rasterise({"body": "", "width": 16, "height": 16}, 8)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--data icons --out x", "leave these options out"),
        ("--data icons --classifier x", "leave these options out"),
        ("--only twin --check-only", "leave one out"),
    ],
)
def test_an_option_that_would_not_be_used_is_refused(
    line: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["class_checkpoint", *line.split()])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert says in capsys.readouterr().err
