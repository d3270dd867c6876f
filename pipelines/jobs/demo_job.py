"""The whole main job on the embedded checkpoint, small enough for a coffee break."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.verification import verify
from erasure.checkpoints.writing.folder import write_folder
from erasure.checkpoints.writing.single_file import write_single_file
from erasure.errors import CheckpointError
from erasure.storage.files import atomic
from pipelines.evaluation.outcome.card import write_card
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.run import run_evaluation
from pipelines.evaluation.settings import PROTOCOLS, resolve_evaluation
from pipelines.process.progress import Reporter
from pipelines.run.erasing import Erased, run_erasure
from pipelines.run.preparing import plan_of, prepare
from prompts.canvas import canvas_set
from prompts.concepts.canvas_concepts import is_style

SHORTER: Final[Mapping[str, Any]] = {
    "method": {"steps": 100},
    "data": {"forget": {"drawn": 48}, "retain": {"drawn": 144}, "drawing": {"steps": 12}},
    "grid": {"drawing": {"steps": 12}},
}
"""Where the demo of an object asks for less than `erasure erase demo`, for its time. A style, which
is in every object, keeps the recipe of its own."""
SOLVER: Final[Mapping[str, Any]] = {"scheduler": "dpm++", "steps": 10}
"""How the pictures that are judged are drawn. They are nearer to those of many steps than those of
the canvas's own 25 of DDIM (root mean square 2.1 of 255 against 2.8, on 48 pairs of the canvas;
the judge says the same of both), for 40 % of the passes."""
OTHER_SEEDS: Final = (0,)
"""Seeds for all other objects: one is enough for a first look, `erasure evaluate` draws more."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found and where it lies."""

    erased: Erased
    results: Results
    """What was measured on a part of the canvas: the erased pairs by five seeds, others by one."""
    paths: Mapping[str, Path]


def tables_of(concept: str) -> Mapping[str, Any]:
    """Give the demo's own settings, which stand over the defaults of the canvas."""
    return {"model": "demo", "concept": concept, **({} if is_style(concept) else SHORTER)}


def run_demo(concept: str, out: Path, *, force: bool, reporter: Reporter) -> Demo:
    """Mask, erase, grid, evaluate, export both formats, verify.

    Raises:
        ErasureError: as the parts.
    """
    recipe, checkpoint = prepare(tables_of(concept))
    erased = run_erasure(recipe, checkpoint, out, force=force, reporter=reporter)
    edited = read_checkpoint(erased.model)
    gone = plan_of(recipe, checkpoint).erased
    tables = {
        **PROTOCOLS["canvas"],
        **SOLVER,
        "model": str(out),
        "against": "demo",
        "suite": "csv",
        "prompts": str(_write_prompts(gone, out / "prompts.csv")),
        "erased": gone,
    }
    evaluation = out / "evaluation"
    results = run_evaluation(resolve_evaluation(tables), evaluation, force=force, reporter=reporter)
    assert results is not None, "the demo runs in one process"
    write_card(results, erased.model)
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
        "results": evaluation / "results.json",
        "report": evaluation / "report.html",
    }
    return Demo(erased, results, paths)


def _write_prompts(gone: Sequence[str], path: Path) -> Path:
    """The part of the canvas that the demo draws, as a table that `evaluate` reads."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "prompt", "seed", "object", "style"))
        for case in canvas_set(None).cases:
            if case.seed in OTHER_SEEDS or set(gone) & set(case.labels.values()):
                labels = case.labels["object"], case.labels["style"]
                rows.writerow((case.case, case.prompt, case.seed, *labels))
    return path
