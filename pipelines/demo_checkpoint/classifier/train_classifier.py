"""Train the classifier that judges the canvas, on endless drawings and pictures of nothing."""

# B pictures.

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.judges.canvas import CanvasClassifier
from pipelines.demo_checkpoint.classifier.calibration import apply_calibration, calibration_of
from pipelines.demo_checkpoint.classifier.nothing import IGNORED, KINDS, Sources
from pipelines.demo_checkpoint.drawings import Pictures, draw
from pipelines.demo_checkpoint.fit import FitConfig, fit

log = logging.getLogger(__name__)

DRAWINGS_CONFIG: Final = FitConfig(steps=3000, learning_rate=2e-3, decay=0.998, seed=3)
"""The first stage learns drawings alone."""
REJECTION_CONFIG: Final = FitConfig(
    steps=500, learning_rate=1.5e-3, decay=0.98, warmup=30, seed=8, save_every=100
)
"""The second stage learns to reject what is none."""
BATCH: Final = 64
"""Fresh drawings in a batch of the first stage."""
DRAWINGS: Final = 32
"""Fresh drawings in a batch of the second stage, beside the counts below."""
DECODED: Final = 4
"""Drawings in a batch that went through the autoencoder, which gives them a model's texture."""
NOTHINGS: Final[Mapping[str, int]] = dict.fromkeys(KINDS, 3) | {"other icons": 8}
"""Pictures of nothing in a batch."""
POOL: Final = 3
"""Decoded drawings of each pair that are made beforehand, and as many decoded latents."""
NOISE: Final = 0.15
"""Largest deviation of the added noise; pixels span 2."""
CHECK_PICTURES: Final = 2_880
CHECK_NOTHINGS: Final = 288
"""Pictures of nothing of each kind."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """Decoded pictures made beforehand, as decoding is slow."""

    drawings: Pictures
    nothing: Pictures


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures and add noise, so that a generator's texture does not matter."""
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    pixels = pixels.lerp(blurred, (2 * share - 1).clamp(min=0))
    level = NOISE * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    return pixels + level * torch.randn(pixels.shape, generator=generator)


def train_classifier(sources: Sources, held_out: Sources, folder: Path) -> CanvasClassifier:
    """Learn drawings, then to reject, then calibrate.

    Args:
        sources: of pictures to train on.
        held_out: the same with other icons, to calibrate on.
        folder: of the states that a run which was cut goes on from.
    """
    network = train_on_drawings(sources.pictures, folder / "classifier.safetensors")
    return train_to_reject(network, sources, held_out, folder / "classifier-rejects.safetensors")


def train_on_drawings(pictures: Tensor, state: Path) -> CanvasClassifier:
    """Train on augmentations of `pictures`, see `drawings.prepare`; nothing is rejected yet."""
    network = new_classifier()
    pairs = pictures.shape[0] * pictures.shape[1]

    def loss(generator: torch.Generator) -> Tensor:
        drawn = draw(pictures, torch.randint(pairs, (BATCH,), generator=generator), generator)
        objects, styles = network(soften(drawn.pixels, generator))
        # The last answer of each head is that of the second stage.
        return F.cross_entropy(objects[:, :-1], drawn.obj) + F.cross_entropy(
            styles[:, :-1], drawn.style
        )

    average: Any = fit(network, loss, DRAWINGS_CONFIG, state)
    generator = torch.Generator().manual_seed(DRAWINGS_CONFIG.seed + 1)
    batches = (
        draw(pictures, torch.randint(pairs, (256,), generator=generator), generator)
        for _ in range(20)
    )
    return _settled(average, [soften(batch.pixels, generator) for batch in batches])


def new_classifier() -> CanvasClassifier:
    """Random weights, seeded."""
    with torch.random.fork_rng():
        torch.manual_seed(DRAWINGS_CONFIG.seed)
        network = CanvasClassifier()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def train_to_reject(
    network: CanvasClassifier, sources: Sources, held_out: Sources, state: Path
) -> CanvasClassifier:
    """Go on with drawings and pictures of nothing together, and calibrate; see the stages above."""
    pool = _decoded_pool(sources, torch.Generator().manual_seed(REJECTION_CONFIG.seed + 2))

    def loss(generator: torch.Generator) -> Tensor:
        batch = _batch(sources, pool, generator)
        objects, styles = network(soften(batch.pixels, generator))
        return F.cross_entropy(objects, batch.obj) + F.cross_entropy(
            styles, batch.style, ignore_index=IGNORED
        )

    average: Any = fit(network, loss, REJECTION_CONFIG, state)
    generator = torch.Generator().manual_seed(REJECTION_CONFIG.seed + 1)
    batches = (_batch(sources, pool, generator) for _ in range(30))
    trained = _settled(average, [soften(batch.pixels, generator) for batch in batches])
    _calibrate(trained, held_out)
    return trained


def _settled(average: CanvasClassifier, batches: list[Tensor]) -> CanvasClassifier:
    """Batch statistics are not averaged along with the weights: measure them for the average."""
    torch.optim.swa_utils.update_bn(batches, average)
    return average.eval()


@torch.no_grad()
def measure_classifier(network: CanvasClassifier, pictures: Tensor) -> list[tuple[int, int]]:
    """(right, total) for object and style on fresh augmentations, every pair equally often."""
    pairs = pictures.shape[0] * pictures.shape[1]
    generator = torch.Generator().manual_seed(1234)
    right = torch.zeros(2)
    for start in range(0, CHECK_PICTURES, 288):
        drawn = draw(pictures, torch.arange(start, start + 288) % pairs, generator)
        objects, styles = network(drawn.pixels)
        right[0] += (objects.argmax(1) == drawn.obj).sum()
        right[1] += (styles.argmax(1) == drawn.style).sum()
    return [(int(count), CHECK_PICTURES) for count in right.tolist()]


@torch.no_grad()
def measure_rejection(network: CanvasClassifier, sources: Sources) -> dict[str, tuple[int, int]]:
    """Kind of nothing -> pictures whose object is rejected, and all; not softened."""
    generator = torch.Generator().manual_seed(4321)
    counts = {}
    for kind, make in KINDS.items():
        right = 0
        for _ in range(0, CHECK_NOTHINGS, 96):
            made = make(sources, 96, generator)
            right += int((network(made.pixels)[0].argmax(1) == made.obj).sum())
        counts[kind] = (right, CHECK_NOTHINGS)
    return counts


@torch.no_grad()
def _calibrate(network: CanvasClassifier, held_out: Sources) -> None:
    generator = torch.Generator().manual_seed(REJECTION_CONFIG.seed + 4)
    pairs = held_out.pictures.shape[0] * held_out.pictures.shape[1]
    batches = [make(held_out, 288, generator) for make in KINDS.values()]
    drawn = [draw(held_out.pictures, torch.arange(pairs), generator) for _ in range(16)]
    batches += [*drawn, *(_decoded(held_out, batch) for batch in drawn[:4])]
    logits = [network(soften(batch.pixels, generator)) for batch in batches]
    for n, head in enumerate((network.obj, network.style)):
        labels = torch.cat([(batch.obj, batch.style)[n] for batch in batches])
        known = labels != IGNORED
        calibration = calibration_of(torch.cat([pair[n] for pair in logits])[known], labels[known])
        log.info("%s: %s", ("object", "style")[n], calibration)
        apply_calibration(head, calibration)


def _batch(sources: Sources, pool: _Pool, generator: torch.Generator) -> Pictures:
    """Drawings and pictures of nothing, those of a kind one after the other."""
    pairs = sources.pictures.shape[0] * sources.pictures.shape[1]
    picks = torch.randint(pairs, (DRAWINGS,), generator=generator)
    parts = [draw(sources.pictures, picks, generator), _some(pool.drawings, DECODED, generator)]
    for kind, count in NOTHINGS.items():
        pooled = kind == "decoded latents"
        parts.append(
            _some(pool.nothing, count, generator)
            if pooled
            else KINDS[kind](sources, count, generator)
        )
    return _joined(parts)


def _some(pictures: Pictures, count: int, generator: torch.Generator) -> Pictures:
    picks = torch.randint(len(pictures.obj), (count,), generator=generator)
    return Pictures(pictures.pixels[picks], pictures.style[picks], pictures.obj[picks])


def _joined(parts: list[Pictures]) -> Pictures:
    columns = zip(*((p.pixels, p.style, p.obj) for p in parts), strict=True)
    return Pictures(*map(torch.cat, columns))


@torch.no_grad()
def _decoded(sources: Sources, drawn: Pictures) -> Pictures:
    """The same through the autoencoder."""
    latents = sources.vae.encode(drawn.pixels).latent_dist.mean
    pixels = sources.vae.decode(latents).sample.clamp(-1, 1)
    return Pictures(pixels, drawn.style, drawn.obj)


@torch.no_grad()
def _decoded_pool(sources: Sources, generator: torch.Generator) -> _Pool:
    pairs = sources.pictures.shape[0] * sources.pictures.shape[1]
    drawings, nothing = [], []
    for _ in range(POOL):
        drawn = draw(sources.pictures, torch.arange(pairs), generator)
        drawings.append(_decoded(sources, drawn))
        nothing.append(KINDS["decoded latents"](sources, pairs, generator))
    return _Pool(_joined(drawings), _joined(nothing))
