"""How the judge of the canvas learns to reject, without the downloads of its recipe."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.demo_checkpoint.classifier.calibration import (
    REJECTED,
    TEMPERATURES,
    THRESHOLDS,
    apply_calibration,
    calibration_of,
)
from pipelines.demo_checkpoint.classifier.nothing import (
    IGNORED,
    KINDS,
    NO_OBJECT,
    NO_STYLE,
    Sources,
)
from pipelines.demo_checkpoint.classifier.other_icons import other_names
from pipelines.demo_checkpoint.classifier.train_classifier import NOTHINGS
from prompts.canvas import OBJECTS, STYLES


def autoencoder() -> SimpleNamespace:
    """Make an autoencoder whose latents are the mean colours of 8 x 8 pixels."""

    def encode(pixels: Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=F.avg_pool2d(pixels, 8)))

    def decode(latents: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=F.interpolate(latents, scale_factor=8))

    return SimpleNamespace(encode=encode, decode=decode)


@pytest.fixture(scope="module")
def sources() -> Sources:
    """One bar a pair: its height says which object, its colour which style."""
    pictures = torch.zeros(len(STYLES), len(OBJECTS), 4, 128, 128)
    for s in range(len(STYLES)):
        for o in range(len(OBJECTS)):
            pictures[s, o, s % 3, 30 : 40 + 2 * o, 40:90] = 1.0
            pictures[s, o, 3, 30 : 40 + 2 * o, 40:90] = 1.0
    icons = torch.zeros(len(STYLES), 3, 4, 128, 128, dtype=torch.uint8)
    icons[:, :, :, 60:70] = 255
    return Sources(pictures, icons, autoencoder())


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_nothing_have_no_object_and_depend_on_the_seed_alone(
    kind: str, sources: Sources
) -> None:
    one, same, other = (
        KINDS[kind](sources, 6, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert one.pixels.shape == (6, 3, 64, 64)
    assert one.pixels.abs().max() <= 1
    assert torch.isfinite(one.pixels).all()
    assert torch.equal(one.pixels, same.pixels)
    assert not torch.equal(one.pixels, other.pixels)
    assert one.obj.tolist() == [NO_OBJECT] * 6
    drawn = kind in ("other icons", "mixtures")
    known = set(range(len(STYLES))) if drawn else {NO_STYLE, IGNORED}
    assert set(one.style.tolist()) <= known


def test_half_drawn_pictures_hold_at_most_a_third_of_their_drawing(sources: Sources) -> None:
    whole = Sources(sources.pictures[:1], sources.icons, sources.vae)  # black on light paper
    pictures = torch.zeros(1, len(OBJECTS), 4, 128, 128)
    pictures[:, :, 3, 24:104, 24:104] = 1.0  # a black square of 80 x 80
    half = KINDS["half-drawn"](
        Sources(pictures, whole.icons, whole.vae), 40, torch.Generator().manual_seed(0)
    )
    dark = (half.pixels.mean(1) < 0).float().mean((1, 2))
    # The square covers (80 / 128)^2 of the drawing, which is placed at up to 0.94 of its size.
    assert dark.max() <= 0.94**2 * (80 / 128) ** 2 * 0.34 + 0.02
    assert dark.mean() > 0.02


def test_every_kind_is_trained_on() -> None:
    assert set(NOTHINGS) == set(KINDS)
    assert min(NOTHINGS.values()) >= 1


def test_icons_of_a_kind_of_an_object_are_no_other_icons() -> None:
    table = dict.fromkeys(
        ("church", "green-apple", "dog-face", "wedding", "red-apple", "hammer", "moon", "teapot")
    )
    names = other_names({"flat": table, "cartoon": {**table, "only-here": None}})
    assert sorted(names) == ["hammer", "moon", "teapot"]
    assert names == other_names({"flat": table, "cartoon": table})


def test_a_temperature_that_was_put_on_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    true = 3 * torch.randn(4000, 4, generator=generator)
    labels = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0]
    calibration = calibration_of(2.5 * true, labels)
    assert calibration.temperature == pytest.approx(2.5, rel=0.1)


def test_the_threshold_is_the_largest_that_rejects_two_drawings_of_a_thousand() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (3000,), generator=generator)
    logits = 4.0 * F.one_hot(labels, 3) + torch.randn(3000, 3, generator=generator)
    calibration = calibration_of(logits, labels)
    scaled = logits / calibration.temperature
    step = float(THRESHOLDS[1] - THRESHOLDS[0])
    assert share_rejected(scaled, labels, calibration.threshold) <= REJECTED
    assert share_rejected(scaled, labels, calibration.threshold + step) > REJECTED
    assert TEMPERATURES[0] < calibration.temperature < TEMPERATURES[-1]


def share_rejected(logits: Tensor, labels: Tensor, threshold: float) -> float:
    """Share of the drawings that are rejected."""
    drawings = [row for row, n in zip(logits.tolist(), labels.tolist(), strict=True) if n != 2]
    return sum(row[2] + threshold > max(row[:2]) for row in drawings) / len(drawings)


def test_the_calibration_stands_in_the_last_layer() -> None:
    head = nn.Linear(5, 4)
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    before = head(inputs)
    calibration = calibration_of(before.detach(), torch.tensor([0, 1, 2, 3, 3, 0]))
    apply_calibration(head, calibration)
    wanted = before / calibration.temperature
    wanted[:, -1] += calibration.threshold
    torch.testing.assert_close(head(inputs), wanted)
