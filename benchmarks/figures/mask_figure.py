"""How fast does each mask forget, and what does it cost the rest? Rows for a figure.

    python benchmarks/figures/mask_figure.py --out build/mask-figure
    python benchmarks/figures/mask_figure.py --out build/mask-figure --plot docs
    python benchmarks/figures/mask_figure.py --out build/mask-figure --concepts guitar
    python benchmarks/figures/mask_figure.py --model demo-flow --out build/mask-figure-flow

A cell is one erasure of the model: concept x density x learning rate x mask x seed, the default
recipe otherwise. After it, 30 pictures of the concept (6 styles, 5 seeds) and 69 of all other
objects (3 styles, one seed) are drawn and judged. The grid is fixed: no rate was added or taken
away after a result had been seen.

Pictures to train on, their latents, the encoded prompts and the saliency scores are made once for
each concept and seed; what the base model answers to the retain samples is the same in all cells of
a concept and seed, and is remembered. A cell appends one line to the file of its concept, so the
run may be killed at any moment and goes on where it was, and two processes may share a folder where
each has concepts of its own (`--concepts`). Cells of the table that `--plot` wrote before
(`--known docs/mask.csv`) are not measured again. `--plot` draws and describes what rows there are.
"""

import argparse
import csv
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from erasure.architectures.building import build_network, schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.merge import count_moved, merge_selected
from erasure.diffusion.batches import PictureBatch, PictureBatches
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.summing import Measuring
from erasure.editing.proving import package_version
from erasure.masks.masks import SaliencyMask, inverse_mask, random_mask, salient_mask
from erasure.methods import SalUn
from erasure.seeds import generator_for
from erasure.storage.cache import TensorCache, content_key
from erasure.training.objective import Loss
from erasure.training.step import Step
from erasure.training.trainer import MaskedTrainer
from eval.judges.canvas import load_canvas_classifier, to_pixels
from pipelines.configs.recipe import dump_toml
from pipelines.configs.settings import DrawingConfig
from pipelines.data.concept_data import Gatherer
from pipelines.drawing.generation import draw_all
from pipelines.drawing.requests import Request
from pipelines.early import DEMO, DEMO_FLOW
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from pipelines.run.preparing import plan_of, prepare
from prompts.canvas import OBJECTS, SEEDS, STYLES, canvas_prompt

CONCEPTS: Final = ("church", "guitar")
RATES: Final = (2e-4, 5e-4, 1e-3, 2e-3)
DENSITIES: Final = (0.1, 0.03, 0.05, 0.5)
"""In the order of their cells: the two that tell most come first."""
MASKS: Final = ("salient", "random", "inverse")
RUN_SEEDS: Final = (0, 1, 2)
OTHER_STYLES: Final = STYLES[:3]
DRAWING: Final = DrawingConfig(steps=20, guidance=2.5, batch_size=33)
"""As the grid of the demo's recipe is drawn."""
LAST: Final = 15
"""Steps at the end over which losses are averaged."""


@dataclass(frozen=True, order=True)
class Cell:
    """One erasure."""

    concept: str
    seed: int
    density: float
    rate: float
    mask: str


def cells() -> list[Cell]:
    """All cells, in an order in which each beginning of the list is worth a look: the inverse mask,
    of which least is to be expected, comes after the other two."""
    return [
        Cell(concept, seed, density, rate, mask)
        for seed in RUN_SEEDS
        for concept in CONCEPTS
        for masks in (MASKS[:2], MASKS[2:])
        for density in DENSITIES
        for rate in RATES
        for mask in masks
    ]


def main() -> None:
    """Measure the missing cells, or draw the figure of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("build/mask-figure"))
    parser.add_argument("--model", default=DEMO, choices=(DEMO, DEMO_FLOW))
    parser.add_argument("--concepts", nargs="+", choices=CONCEPTS, default=CONCEPTS)
    parser.add_argument("--known", type=Path, metavar="CSV", help="a table of cells that are there")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write mask.png, .csv and .md")
    parser.add_argument("--most", type=int, help="cells to measure now; all if none")
    options = parser.parse_args()
    known = known_rows(options.known) if options.known is not None else []
    if options.plot is not None:
        from mask_plot import write_figure

        write_figure([*known, *read_rows(options.out, CONCEPTS)], options.plot)
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    options.out.mkdir(parents=True, exist_ok=True)
    for concept in options.concepts:
        drop_broken_line(rows_of(options.out, concept))
    measured = [*known, *read_rows(options.out, options.concepts)]
    if others := {model_of(row) for row in measured} - {options.model}:
        raise SystemExit(
            f"there are rows of {others.pop()}; give another --out, --known or --model"
        )
    done = {cell_of(row) for row in measured}
    wanted = [cell for cell in cells() if cell.concept in options.concepts]
    missing = [cell for cell in wanted if cell not in done][: options.most]
    bench: Bench | None = None
    spent: list[float] = []
    for n, cell in enumerate(missing):
        if bench is None or (bench.concept, bench.seed) != (cell.concept, cell.seed):
            bench = Bench(cell.concept, cell.seed, options.out, options.model)
        row = bench.measure(cell)
        with rows_of(options.out, cell.concept).open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        spent.append(row["seconds"])
        left = len(missing) - n - 1
        hours = left * sum(spent) / len(spent) / 3600
        print(f"{row}\n{left} cells left, about {hours:.1f} h at this pace", flush=True)


def rows_of(out: Path, concept: str) -> Path:
    """Where the rows of a concept are."""
    return out / f"rows-{concept}.jsonl"


def read_rows(out: Path, concepts: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that were written whole."""
    paths = [path for concept in concepts if (path := rows_of(out, concept)).exists()]
    lines = [line for path in paths for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def known_rows(table: Path) -> list[dict[str, Any]]:
    """The rows of a table that was written before, numbers as numbers."""
    with table.open(newline="") as file:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def drop_broken_line(path: Path) -> None:
    """Take off what a killed run left behind the last whole row."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def cell_of(row: dict[str, Any]) -> Cell:
    """The cell that a row is of."""
    return Cell(row["concept"], row["seed"], row["density"], row["rate"], row["mask"])


def model_of(row: dict[str, Any]) -> str:
    """The embedded model that a row is of."""
    model: str = row["model"]
    return model


class Remembering:
    """A frozen denoiser that answers each question once: the base's part is the same in all cells.

    The noisy latents tell the questions apart, as each sample has noise of its own.
    """

    def __init__(self, denoise: Denoiser, memory: dict[bytes, Tensor]) -> None:
        self._denoise, self._memory = denoise, memory

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> (B, C, h, w)."""
        key = hashlib.sha256(x_t.numpy().tobytes()).digest()
        if key not in self._memory:
            self._memory[key] = self._denoise(x_t, t, condition)
        return self._memory[key]


class Bench:
    """All that the cells of one concept and seed share."""

    def __init__(
        self,
        concept: str,
        seed: int,
        out: Path,
        model: str = DEMO,
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        """Make or find it; `tables` go over the recipe of the model."""
        self.concept, self.seed, self.model = concept, seed, model
        asked = {"model": model, "concept": concept, "seed": seed}
        self.recipe, self.checkpoint = prepare({**asked, **(tables or {})})
        cache, reporter = TensorCache(out / "cache"), Reporter()
        device = torch.device("cpu")
        self.data = Gatherer(
            checkpoint=self.checkpoint,
            plan=plan_of(self.recipe, self.checkpoint),
            config=self.recipe.data,
            seed=seed,
            device=device,
            cache=cache,
            team=processes(device),
            reporter=reporter,
        ).gather()
        key = content_key(base=self.checkpoint.network_hash(), recipe=dump_toml(self.recipe))
        with reporter.stage("measure the saliency", 1):
            self.scores = cache.get("saliency", key, self._saliency)
        key = content_key(base=self.checkpoint.network_hash(), concept=concept)
        with reporter.stage("draw the base's pictures", len(self._requests())):
            self.before = cache.get("base", key, lambda: {"pixels": self._drawn(self.checkpoint)})
        self._answers: dict[bytes, Tensor] = {}

    def _saliency(self) -> dict[str, Tensor]:
        names = self.checkpoint.architecture.candidates(self.checkpoint.network, "full")
        return measure_scores(
            self.checkpoint, self.data, names, Measuring(config=self.recipe.saliency)
        )

    def _requests(self) -> list[Request]:
        own = [
            Request(canvas_prompt(self.concept, style), seed) for style in STYLES for seed in SEEDS
        ]
        others = [
            Request(canvas_prompt(obj, style), SEEDS[0])
            for obj in self._others()
            for style in OTHER_STYLES
        ]
        return own + others

    def _others(self) -> list[str]:
        return [obj for obj in OBJECTS if obj != self.concept]

    def _drawn(self, checkpoint: Checkpoint) -> Tensor:
        """(N, 3, 64, 64) float32 in [-1, 1]."""
        return to_pixels(draw_all(checkpoint, self._requests(), DRAWING, torch.device("cpu")))

    def mask(self, cell: Cell) -> SaliencyMask:
        """The mask that `erasure erase --mask` would make."""
        if cell.mask == "random":
            draw = generator_for(self.recipe.saliency.seed, "random mask")
            return random_mask(self.scores, cell.density, draw)
        make = salient_mask if cell.mask == "salient" else inverse_mask
        return make(self.scores, cell.density)

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Erase, draw, judge."""
        wall, busy = time.monotonic(), time.process_time()
        mask = self.mask(cell)
        network, history = self._trained(mask, cell.rate)
        trained = {name: value.detach() for name, value in network.state_dict().items()}
        merged = merge_selected(self.checkpoint.network, trained, mask.entries)
        main = self.checkpoint.architecture.main
        components = {**self.checkpoint.components, main: merged}
        after = self._drawn(replace(self.checkpoint, components=components))
        return {
            "model": self.model,
            **asdict(cell),
            **self._judged(after),
            "forget_loss": float(np.mean([step.forget for step in history[-LAST:]])),
            "retain_loss": float(np.mean([step.retain for step in history[-LAST:]])),
            "selected": mask.selected,
            "moved": count_moved(self.checkpoint.network, merged),
            "version": package_version(),
            "cpu_seconds": round(time.process_time() - busy, 1),
            "seconds": round(time.monotonic() - wall, 1),
        }

    def _trained(self, mask: SaliencyMask, rate: float) -> tuple[nn.Module, list[Step]]:
        network = build_network(self.checkpoint)
        method = self.recipe.method
        assert isinstance(method, SalUn)

        def objective(student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
            return method(student, Remembering(frozen, self._answers), batch)

        schedule = schedule_of(self.checkpoint)
        trainer = MaskedTrainer(
            network,
            self.checkpoint.architecture.denoiser,
            PictureBatches(self.data, schedule, method.seed, torch.device("cpu")),
            mask.entries,
            objective=objective,
            config=replace(method, learning_rate=rate),
            needs_frozen="frozen" in method.needs,
        )
        return network, list(trainer.steps())

    @torch.no_grad()
    def _judged(self, after: Tensor) -> dict[str, Any]:
        """What is left of the concept, and how the others fare; `after` as `_drawn`."""
        objects = load_canvas_classifier()(after)[0].softmax(1)  # (N, O)
        own = len(STYLES) * len(SEEDS)
        target = OBJECTS.index(self.concept)
        truth = [OBJECTS.index(obj) for obj in self._others() for _ in OTHER_STYLES]
        seen = objects.argmax(1)
        damage = (after[own:] - self.before["pixels"][own:]) / 2  # of pixels in [0, 1]
        return {
            "left": int((seen[:own] == target).sum()),
            "of": own,
            "unknown": int((seen[:own] == len(OBJECTS)).sum()),
            "probability": float(objects[:own, target].mean()),
            "recognised": int((seen[own:] == torch.tensor(truth)).sum()),
            "others": len(truth),
            "damage": float(damage.square().mean().sqrt()),
        }


if __name__ == "__main__":
    main()
