"""What is written about a retrained model, and the pictures that tell memory from knowledge."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor

from erasure.errors import ConfigError
from eval.judges.canvas import CanvasClassifier, Verdict
from pipelines.data.picture_folder import folder_entries
from pipelines.demo_checkpoint import latents
from pipelines.demo_checkpoint.drawings import draw, prepare
from pipelines.demo_checkpoint.retrained import __main__ as command
from pipelines.demo_checkpoint.retrained import checking
from pipelines.demo_checkpoint.retrained.checking import (
    Drawings,
    card_of,
    compared,
    drawings_of,
    write_check,
)
from pipelines.demo_checkpoint.retrained.concepts import RETRAININGS, Retraining
from pipelines.demo_checkpoint.retrained.pictures import (
    held_out,
    pairs_of,
    trained_on,
    write_pictures,
)
from pipelines.demo_checkpoint.retrained.recipes import RECIPES
from pipelines.drawing.requests import Request
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

PAIRS = [(style, obj) for style in STYLES for obj in OBJECTS]


def _drawings(wrong: dict[tuple[str, str], tuple[str, str]], seeds: int = 1) -> Drawings:
    """What the classifier says of a model that draws all pairs right but some."""
    seen = [wrong.get(pair, pair) for pair in PAIRS for _ in range(seeds)]
    verdicts = [Verdict(obj, style, 1.0, 1.0) for style, obj in seen]
    return Drawings([Image.new("RGB", (64, 64))] * len(seen), verdicts, seeds)


def test_a_model_is_held_to_what_it_was_trained_on() -> None:
    church = {(style, "church"): (style, "castle") for style in STYLES}
    checked = compared(RETRAININGS["no-church"], _drawings(church), _drawings({}))
    assert (checked.objects.right, checked.objects.total) == (138, 138)
    assert checked.is_good
    assert checked.instead == {"church": {"castle": 6}}
    three = church | {("flat", obj): ("flat", "none of these") for obj in ("dog", "cat", "tree")}
    checked = compared(RETRAININGS["no-church"], _drawings(three), _drawings({}))
    assert checked.objects.value == pytest.approx(135 / 138)  # 2.2 points below
    assert not checked.is_good
    assert compared(RETRAININGS["no-church"], _drawings(three), _drawings(three)).is_good


def test_a_style_that_was_never_learned_is_counted_by_its_style() -> None:
    sketch = {("sketch", obj): ("flat" if obj == "dog" else "blueprint", obj) for obj in OBJECTS}
    checked = compared(RETRAININGS["no-sketch"], _drawings(sketch, 2), _drawings({}, 2))
    assert checked.instead == {"sketch": {"blueprint": 46, "flat": 2}}
    assert checked.styles.total == 2 * 5 * 24


def test_every_pair_is_drawn_by_every_seed_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def fake(_: Path, requests: Sequence[Request]) -> list[Image.Image]:
        asked.extend(requests)
        return [Image.new("RGB", (64, 64))] * len(requests)

    monkeypatch.setattr(checking, "judge_canvas", lambda images, _: [Verdict("dog", "flat", 1, 1)])
    drawings_of(Path("model"), CanvasClassifier(), (3, 4), fake)
    assert len(asked) == 288
    assert [(one.prompt, one.seed) for one in asked[:3]] == [
        (canvas_prompt("fish", "sketch"), 3),
        (canvas_prompt("fish", "sketch"), 4),
        (canvas_prompt("dog", "sketch"), 3),
    ]


def test_card_sheet_and_figures_are_written(tmp_path: Path) -> None:
    own = _drawings({(style, "church"): (style, "castle") for style in STYLES})
    checked = compared(RETRAININGS["no-church"], own, _drawings({}))
    write_check(checked, own, tmp_path, RECIPES["demo"])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["good"] is True
    assert figures["instead"] == {"church": {"castle": 6}}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 300
    card = (tmp_path / "model" / "README.md").read_text()
    assert "It never saw: church." in card
    assert "- `church`: castle 6" in card
    assert "checkpoint `demo` of" in card
    assert "DDIM" in card
    twin = compared(RETRAININGS["twin"], _drawings({}), _drawings({}))
    card = card_of(twin, RECIPES["demo-flow"])
    assert "on all that the checkpoint saw, with other seeds" in card
    assert "never" not in card
    assert "checkpoint `demo-flow` of" in card
    assert "its transformer and two text encoders trained" in card
    assert "Euler" in card


def _pictures() -> Tensor:
    shape = (len(STYLES), len(OBJECTS), 4, 128, 128)
    return prepare(torch.rand(shape, generator=torch.Generator().manual_seed(1)))


def test_the_pictures_that_were_trained_on_are_those_that_were_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latents, "PICTURES_PER_PAIR", 3)
    pictures, encoded = _pictures(), []

    class Vae:
        def encode(self, pixels: Tensor) -> object:
            encoded.append(pixels)
            posterior = torch.zeros(len(pixels), 1, 1, 1)
            return type("Coded", (), {"latent_dist": Posterior(posterior, posterior)})

    class Posterior:
        def __init__(self, mean: Tensor, std: Tensor) -> None:
            self.mean, self.std = mean, std

    latents.encode_pictures(Vae(), pictures, latents.SEED, factor=1.0)
    pairs = [4, 28]  # the church in the first two styles
    mine = trained_on(pictures, pairs, 2)
    assert torch.equal(mine, torch.cat([encoded[pair][:2] for pair in pairs]))


class Encoder:
    """Encodes a picture as its first pixels; stops at a call."""

    def __init__(self, stop_at: int = -1) -> None:
        self.calls, self.stop_at = 0, stop_at

    def encode(self, pixels: Tensor) -> object:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        coded = pixels[:, :, :2, :2]
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=coded, std=coded.abs()))


@pytest.mark.slow
def test_encoding_that_was_cut_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "PICTURES_PER_PAIR", 1)
    pictures = _pictures()
    whole = latents.load_latents(Encoder(), pictures, tmp_path / "whole.safetensors")
    path = tmp_path / "cut.safetensors"
    with pytest.raises(KeyboardInterrupt):
        latents.load_latents(Encoder(stop_at=60), pictures, path)
    encoder = Encoder()
    again = latents.load_latents(encoder, pictures, path)
    assert encoder.calls == 144 - 48  # two states of 24 pairs were there
    assert torch.equal(whole.mean, again.mean)
    assert torch.equal(whole.std, again.std)
    assert whole.factor == again.factor
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, "whole.safetensors"]


def test_held_out_pictures_are_others_of_the_same_drawings() -> None:
    pictures = _pictures()
    made = held_out(pictures, [0, 1], 2)
    assert made.shape == (4, 3, 64, 64)
    again = draw(pictures, torch.tensor([0, 0, 1, 1]), torch.Generator().manual_seed(2)).pixels
    assert not torch.equal(made, again)
    assert torch.equal(made, held_out(pictures, [0, 1], 2))


def test_both_folders_are_written_with_their_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "PICTURES_PER_PAIR", 1)
    write_pictures(_pictures(), "church", tmp_path, 1)
    for name in ("trained", "held-out"):
        entries = folder_entries(tmp_path / name)
        assert [entry.prompt for entry in entries] == [canvas_prompt("church", s) for s in STYLES]


def test_a_concept_is_an_object_a_style_or_the_weapons() -> None:
    assert pairs_of("church") == [4 + 24 * n for n in range(6)]
    assert pairs_of("sketch") == list(range(24))
    assert len(pairs_of("weapons")) == 18
    with pytest.raises(ConfigError, match="no 'chruch'; the nearest is church"):
        pairs_of("chruch")


@pytest.mark.parametrize(
    ("options", "jobs", "looked"),
    [((), 1, ["twin"]), ((), 2, ["twin"]), (("--unchecked",), 1, []), (("--check",), 1, ["twin"])],
)
def test_what_was_trained_is_looked_at(
    options: tuple[str, ...],
    jobs: int,
    looked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[str] = ["twin"] if "--check" in options else []
    checked: list[str] = []
    monkeypatch.setattr(command, "is_done", lambda each, work: each.name in trained)
    monkeypatch.setattr(command, "load_material", lambda work, base: (None, None))
    monkeypatch.setattr(command, "retrain", lambda each, *_: trained.append(each.name))

    def train(missing: Sequence[Retraining], _: object) -> int:
        trained.extend(each.name for each in missing)
        return 0

    def look(done: Sequence[Retraining], _: object) -> int:
        checked.extend(each.name for each in done if each.name in trained)
        return 1

    monkeypatch.setattr(command, "_side_by_side", train)
    monkeypatch.setattr(command, "_checked", look)
    line = ["retrained", "--only", "twin", "--work", str(tmp_path), "--jobs", str(jobs), *options]
    monkeypatch.setattr("sys.argv", line)
    assert command.main() == (1 if looked else 0)
    assert (trained, checked) == (["twin"], looked)
