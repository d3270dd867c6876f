"""Five tiny models that lie at known distances, a judge of brightness, and their measurement."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from eval.judges.judge import Judgement
from pipelines.audit.damage.looks import Measure
from pipelines.distances.models import Models
from pipelines.distances.settings import DistanceRecipe
from pipelines.run.judging.cell_judge import CellJudge
from support.tiny import random_pictures, seeded, write_tiny_pipeline

UNET = Path("unet") / "diffusion_pytorch_model.safetensors"
AWAY = {"retrained": 0.0, "twin": 0.01, "audited": 0.05, "base": 0.2}
"""Role -> size of the noise on its weights; the retrained one is the middle of all."""


@dataclass
class Bright:
    """Says how bright a picture is."""

    name: str = "bright"
    protocol: ClassVar[dict[str, float]] = {"threshold": 0.5}

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        return [Judgement(scores={"bright": float(np.asarray(one).mean())}) for one in images]


def bright_judge(*_: object, **__: object) -> CellJudge:
    """Sees the concept in every picture brighter than middle grey."""
    return CellJudge(Bright(), "bright", lambda seen: seen.scores["bright"] > 127)


class Coarse:
    """Features of a picture: its pixels in sixteen blocks."""

    name = "coarse"
    protocol: ClassVar[dict[str, int]] = {"blocks": 16}
    is_inception = False

    def __call__(self, pictures: Sequence[Image.Image], /) -> torch.Tensor:
        rows = [np.asarray(one.resize((4, 4), Image.Resampling.BOX)) for one in pictures]
        return torch.tensor(np.stack(rows)).flatten(1).float() / 255


def coarse_measure(_: object) -> Measure:
    """What measures how far pictures lie apart, without a download."""
    return Measure(Coarse())  # type: ignore[arg-type]


def nudge(folder: Path, size: float, seed: int, file: Path = UNET) -> None:
    """Add noise to every weight of a model's main component."""
    values = load_file(folder / file)
    draw = seeded(seed)
    for name in sorted(values):
        noise = torch.randn(values[name].shape, generator=draw)
        values[name] = values[name] + size * noise
    save_file(values, folder / file, metadata={"format": "pt"})


def write_models(
    folder: Path, write: Callable[[Path], Path] = write_tiny_pipeline, file: Path = UNET
) -> dict[str, Path]:
    """Role -> folder of a model.

    Args:
        write: writes one.
        file: of its main component, below the folder.
    """
    first = write(folder / "retrained")
    models = {"retrained": first}
    for number, (role, size) in enumerate(AWAY.items()):
        if role != "retrained":
            models[role] = folder / role
            shutil.copytree(first, models[role])
            nudge(models[role], size, number, file)
    return models


def write_pictures(folder: Path, count: int, seed: int) -> Path:
    """Pictures of noise as PNG."""
    folder.mkdir()
    pixels = random_pictures(["a church"] * count, seed).pixels.numpy()
    for number, one in enumerate(pixels):
        Image.fromarray(one.transpose(1, 2, 0)).save(folder / f"{number}.png")
    return folder


def tiny_recipe(models: dict[str, Path], pictures: Path | None, **own: Any) -> DistanceRecipe:  # noqa: ANN401
    """The smallest measurement."""
    values: dict[str, Any] = {
        "model": str(models["audited"]),
        "concept": "church",
        "retrained": str(models["retrained"]),
        "twin": str(models["twin"]),
        "base": str(models["base"]),
        "pictures": None if pictures is None else str(pictures),
        "draws": 12,
        "shown": 6,
        "bins": 2,
        "samples": 2,
        "steps": 2,
        "guidance": 2.0,
        "size": 16,
        "device": "cpu",
        "cache": str(models["base"].parent / "cache"),
    }
    return DistanceRecipe(**{**values, **own})


def write_curves(opened: Models, path: Path, *, without: str = "") -> Path:
    """An audit of these models, whose curves are written by hand."""
    names = {"audited": "audited", "base": "base", "retrained": "retrained-1"}
    names |= {"twin": "retrained-2"}
    shares = {"audited": (6, 9), "base": (10, 10), "retrained-1": (0, 3), "retrained-2": (1, 4)}

    def mark(passes: float, count: int) -> dict[str, object]:
        return {"draws": 1, "passes": passes, "share": {"count": count, "total": 10}}

    lines = {n: {"curve": [mark(10.0, a), mark(100.0, b)]} for n, (a, b) in shares.items()}
    arms = [
        {"arm": f"{step} steps", "lines": {n: {"count": c, "total": 10} for n in shares}}
        for step, c in ((5, 2), (10, 7))
    ]
    arms[0]["lines"]["retrained-1"] = {"count": 1, "total": 10}  # type: ignore[index]
    arms[1]["lines"]["retrained-1"] = {"count": 3, "total": 10}  # type: ignore[index]
    listed = {
        line: {"weights": opened.checkpoints[role].hashes(), "role": role}  # type: ignore[index]
        for role, line in names.items()
        if role != without
    }
    values = {
        "format": "diffusion-erasure audit 1",
        "concept": "church",
        "models": listed,
        "attacks": [
            {"name": "words", "lines": lines, "arms": []},
            {"name": "relearning", "lines": lines, "arms": arms},
        ],
    }
    path.write_text(json.dumps(values))
    return path
