"""The whole main job on the embedded checkpoint, small enough for a coffee break."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from erasure.checkpoints.folder import write_folder
from erasure.checkpoints.reading import read_checkpoint
from erasure.checkpoints.single_file import write_single_file
from erasure.checkpoints.verify import verify
from erasure.errors import CheckpointError
from pipelines.erasing import Erased, plan_of, prepare, run_erasure
from pipelines.evaluating import CanvasRates, canvas_requests, measure_canvas
from pipelines.progress import Reporter

ERASED_SEEDS: Final = (0, 1, 2, 3, 4)
OTHER_SEEDS: Final = (0,)
"""Seeds for all other objects: one is enough for a first look; `evaluate` the rest."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found and where it lies."""

    erased: Erased
    before: CanvasRates
    after: CanvasRates
    paths: Mapping[str, Path]


def run_demo(concept: str, out: Path, *, force: bool, reporter: Reporter) -> Demo:
    """Mask, erase, grid, measure before and after, export both formats, verify.

    Raises:
        ErasureError: as the parts.
    """
    recipe, checkpoint = prepare({"model": "demo", "concept": concept})
    erased = run_erasure(recipe, checkpoint, out, force=force, reporter=reporter)
    edited = read_checkpoint(erased.model)
    gone = plan_of(recipe, checkpoint).erased
    requests = [
        row
        for row in canvas_requests(ERASED_SEEDS)
        if row[0] in gone or row[1] in gone or row[2].seed in OTHER_SEEDS
    ]
    before, after = (
        measure_canvas(model, gone, requests, recipe.grid.drawing, reporter=reporter, name=name)
        for name, model in (("before", checkpoint), ("after", edited))
    )
    file, folder = out / "erased.safetensors", out / "diffusers-fp32"
    with reporter.stage("export and verify", 2):
        write_single_file(edited, file, force=True)
        write_folder(edited, folder, dtype=torch.float32, force=True)
        for path in (file, folder, out):
            if not verify(path).passed:
                raise CheckpointError(f"{path} does not verify; run the demo again")
    paths = {
        "grid": out / "grid.png",
        "mask": out / "density.png",
        "loss": out / "loss.png",
        "model": erased.model,
        "single file": file,
        "diffusers fp32": folder,
        "record": out / "erasure.json",
    }
    return Demo(erased, before, after, paths)
