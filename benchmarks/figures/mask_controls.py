"""Does the mask matter? Erase concepts with each method and kind of mask, all else equal.

    python benchmarks/figures/mask_controls.py --out build/mask-controls
    python benchmarks/figures/mask_controls.py --out build/flow-masks --model demo-flow \\
        --concepts church --methods salun esd uce --seeds 0-1

Every style x object pair is drawn with five seeds, or those of `--seeds`, before and after, as
`erasure evaluate --suite canvas` does. One cell (concept, method, mask) is done at a time and kept
in `cells.jsonl`, so a run that was cut goes on; `table.md` is the table, and each cell's folder
holds its run and the pages of its evaluation. The settings are the recipe's own for each method.
"""

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import torch

from eval.rates.intervals import Proportion
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.run import run_evaluation
from pipelines.evaluation.settings import resolve_evaluation
from pipelines.process.progress import Reporter
from pipelines.run.erasing import run_erasure
from pipelines.run.preparing import prepare

MASKS = ("salient", "random", "inverse", "all")


def main() -> None:
    """Measure the missing cells and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("build/mask-controls"))
    parser.add_argument("--model", default="demo", help="an embedded model that draws the canvas")
    parser.add_argument("--concepts", nargs="+", default=["church", "dog", "sketch"])
    parser.add_argument("--methods", nargs="+", default=["salun"])
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=MASKS)
    parser.add_argument("--steps", type=int, help="training steps, in place of the recipe's")
    parser.add_argument("--lr", type=float, help="learning rate, in place of the recipe's")
    parser.add_argument("--seeds", default="0-4", help="of the pictures that are judged")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    cells = options.out / "cells.jsonl"
    done = _read(cells)
    train = {"steps": options.steps, "learning_rate": options.lr}
    train = {name: value for name, value in train.items() if value is not None}
    asked = []
    for concept, method, mask in product(options.concepts, options.methods, options.masks):
        wanted = {"model": options.model, "concept": concept, "method": method, "mask": mask}
        wanted |= {"settings": train, "seeds": options.seeds}
        cell = next((one for one in done if wanted.items() <= one.items()), None)
        if cell is None:
            cell = {**wanted, **measure(wanted, options.out)}
            with cells.open("a") as file:
                file.write(json.dumps(cell) + "\n")
        asked.append(cell)
    table = markdown(asked)
    (options.out / "table.md").write_text(table)
    print(table)


def measure(wanted: dict[str, Any], out: Path) -> dict[str, Any]:
    """One cell: erase, draw, judge. A closed form takes none of the settings of a training."""
    model, seeds = wanted["model"], wanted["seeds"]
    concept, method, mask = (wanted[name] for name in ("concept", "method", "mask"))
    reporter = Reporter()
    recipe, checkpoint = prepare(
        {
            "model": model,
            "concept": concept,
            "mask": mask,
            "method": {"name": method, **wanted["settings"]},
            "grid": {"seeds": "0"},
        }
    )
    folder = out / f"{concept}-{method}-{mask}"
    run = run_erasure(recipe, checkpoint, folder, force=True, reporter=reporter)
    tables = {"model": str(folder), "against": model, "suite": "canvas", "seeds": seeds}
    evaluation = folder / "evaluation"
    base = out / f"base-{model}-{seeds}"
    _share_base(base, evaluation)
    results = run_evaluation(resolve_evaluation(tables), evaluation, force=True, reporter=reporter)
    assert results is not None
    _share_base(evaluation, base)
    return {
        **_rates(results),
        "moved": run.moved,
        "unselected_identical": run.unselected_identical,
        "seconds": {stage: round(value, 1) for stage, value in run.seconds.items()},
    }


def _share_base(source: Path, target: Path) -> None:
    """The base's pictures are the same in every cell: drawn once, then copied."""
    for part in ("images/before", "manifest/before"):
        if (source / part).is_dir() and not (target / part).exists():
            shutil.copytree(source / part, target / part)


def _rates(results: Results) -> dict[str, Any]:
    """Shares recognised, [before, after, low, high] by name; low and high are of after."""
    after, before = results.summary.after, results.summary.before or {}
    pairs = {
        "erased": (before["ua"].complement(), after["ua"].complement()),
        "objects": (before["ira"], after["ira"]),
        "styles": (before["cra"], after["cra"]),
    }
    if any(row.erased and row.head == "style" for row in results.classes):
        pairs["objects"], pairs["styles"] = pairs["styles"], pairs["objects"]
    rejected = results.summary.rejected or {}
    return {
        **{name: _row(*pair) for name, pair in pairs.items()},
        "rejected": {name: [both.after.count, both.after.total] for name, both in rejected.items()},
    }


def _row(before: Proportion, after: Proportion) -> list[float]:
    return [before.share, after.share, after.low, after.high]


def markdown(cells: list[dict[str, Any]]) -> str:
    """The table, concepts in order, percent."""
    lines = [
        "| erased | method | mask | concept recognised | of these rejected | other objects "
        "| other styles | weights moved |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        erased, *others = (_percent(*cell[name]) for name in ("erased", "objects", "styles"))
        count, total = cell["rejected"]["ua"]
        lines.append(
            f"| {cell['concept']} | {cell['method']} | {cell['mask']} | {erased} "
            f"| {count} of {total} | {' | '.join(others)} | {cell['moved']:,} |"
        )
    return "\n".join(lines) + "\n"


def _percent(before: float, after: float, low: float, high: float) -> str:
    return f"{100 * before:.1f} -> {100 * after:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
