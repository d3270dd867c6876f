"""Does the mask matter? Erase concepts from the demo with each kind of mask, all else equal.

    python benchmarks/mask_controls.py --out build/mask-controls

Every style x object pair is drawn with five seeds before and after. One cell (concept, mask) is
done at a time and kept in `cells.jsonl`, so a run that was cut goes on; `table.md` is the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from erasure.checkpoints.reading import read_checkpoint
from pipelines.erasing import plan_of, prepare, run_erasure
from pipelines.evaluating import CanvasRates, canvas_requests, measure_canvas
from pipelines.progress import Reporter

SEEDS = range(5)
MASKS = ("salient", "random", "inverse", "all")


def main() -> None:
    """Measure the missing cells and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("build/mask-controls"))
    parser.add_argument("--concepts", nargs="+", default=["church", "dog", "sketch"])
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=MASKS)
    parser.add_argument("--steps", type=int, help="training steps, in place of the recipe's")
    parser.add_argument("--lr", type=float, help="learning rate, in place of the recipe's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    cells = options.out / "cells.jsonl"
    done = {(c["concept"], c["mask"]): c for c in _read(cells)}
    train = {"steps": options.steps, "learning_rate": options.lr}
    for concept in options.concepts:
        for mask in options.masks:
            if (concept, mask) not in done:
                cell = measure(concept, mask, train, options.out)
                done[concept, mask] = cell
                with cells.open("a") as file:
                    file.write(json.dumps(cell) + "\n")
    table = markdown(list(done.values()))
    (options.out / "table.md").write_text(table)
    print(table)


def measure(concept: str, mask: str, train: dict[str, Any], out: Path) -> dict[str, Any]:
    """One cell: erase, draw, judge."""
    reporter = Reporter()
    recipe, checkpoint = prepare(
        {"model": "demo", "concept": concept, "mask": mask, "train": train, "grid": {"seeds": "0"}}
    )
    gone = plan_of(recipe, checkpoint).erased
    requests = canvas_requests(SEEDS)
    kept = out / f"before-{concept}.json"
    if not kept.exists():
        before = measure_canvas(
            checkpoint, gone, requests, recipe.grid.drawing, reporter=reporter, name="before"
        )
        kept.write_text(json.dumps(_shares(before)))
    run = run_erasure(recipe, checkpoint, out / f"{concept}-{mask}", force=True, reporter=reporter)
    after = measure_canvas(
        read_checkpoint(run.model),
        gone,
        requests,
        recipe.grid.drawing,
        reporter=reporter,
        name="after",
    )
    return {
        "concept": concept,
        "mask": mask,
        "before": json.loads(kept.read_text()),
        "after": _shares(after),
        "moved": run.moved,
        "unselected_identical": run.unselected_identical,
        "train_seconds": round(run.seconds["train"], 1),
    }


def markdown(cells: list[dict[str, Any]]) -> str:
    """The table, concepts in order, percent."""
    lines = [
        "| erased | mask | concept recognised | other objects | their styles | weights moved |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        shares = (
            f"{100 * cell['before'][name]:.1f} -> {100 * cell['after'][name]:.1f}"
            for name in ("erased", "objects", "styles")
        )
        lines.append(
            f"| {cell['concept']} | {cell['mask']} | {' | '.join(shares)} | {cell['moved']:,} |"
        )
    return "\n".join(lines) + "\n"


def _shares(rates: CanvasRates) -> dict[str, float]:
    return {name: getattr(rates, name).share for name in ("erased", "objects", "styles")}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
