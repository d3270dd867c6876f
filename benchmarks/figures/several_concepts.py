"""Several concepts in one run against the same ones one after the other, on the demo.

    python benchmarks/figures/several_concepts.py --out build/several-concepts

Each cell is a method and a way; `together` erases all concepts in one run, `in turn` erases the
next one from the model of the run before. A training takes as many steps in all in both. The model
at the end is drawn as `erasure evaluate --suite canvas` does and held against the demo. A cell that
is measured stays in `cells.jsonl`, so a run that was cut goes on; `table.md` is the table.
"""

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from erasure.methods import method_kind
from erasure.training.train_config import TrainConfig
from erasure.work import Work
from eval.rates.intervals import Difference, Proportion
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.run import run_evaluation
from pipelines.evaluation.settings import resolve_evaluation
from pipelines.process.progress import Reporter
from pipelines.run.erasing import run_erasure
from pipelines.run.preparing import prepare

WAYS = ("together", "in turn")


def main() -> None:
    """Measure the missing cells and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("build/several-concepts"))
    parser.add_argument("--methods", nargs="+", default=["uce", "salun"])
    parser.add_argument("--concepts", nargs="+", default=["church", "dog", "truck", "sketch"])
    parser.add_argument("--steps", type=int, default=160, help="of a training, of all concepts")
    parser.add_argument("--rate", type=float, help="of a training, in place of the recipe's")
    parser.add_argument("--batch-size", type=int, help="of a training, likewise")
    parser.add_argument("--warmup", type=int, help="of a training, likewise")
    parser.add_argument("--mask", help="of a training, likewise")
    parser.add_argument("--scope", help="of a training, likewise")
    parser.add_argument("--drawn", type=int, default=48, help="pictures of each concept")
    parser.add_argument("--limit", type=int, default=240, help="pictures of an evaluation")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    cells = options.out / "cells.jsonl"
    done = {(cell["method"], cell["way"]): cell for cell in _read(cells)}
    for method in options.methods:
        for way in WAYS:
            if (method, way) not in done:
                done[method, way] = cell = measure(method, way, options)
                with cells.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(cell) + "\n")
    table = markdown(list(done.values()), options.concepts)
    (options.out / "table.md").write_text(table, encoding="utf-8")
    print(table)


def measure(method: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One cell: erase, draw, judge."""
    groups = [options.concepts] if way == "together" else [[one] for one in options.concepts]
    model, seconds, work, last = "demo", 0.0, Work(), options.out
    for number, concepts in enumerate(groups):
        last = options.out / f"{method}-{way.replace(' ', '-')}-{number}"
        began = time.monotonic()
        counts = erased(method, model, concepts, options.steps // len(groups), last, options)
        seconds += time.monotonic() - began
        work += Work(**{name: counts[name] for name in Work().to_dict()})
        model = str(last)
    results = judged(model, last / "evaluation", options)
    return {
        "method": method,
        "way": way,
        "seconds": round(seconds),
        "work": work.to_dict(),
        **_facts_of(results),
    }


def erased(
    method: str,
    model: str,
    concepts: Sequence[str],
    steps: int,
    out: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The work of one run, which is made unless it is there."""
    if not (out / "erasure.json").exists():
        tables = {
            "model": model,
            "concept": concepts[0],
            "concepts": list(concepts[1:]),
            "method": {"name": method},
            "grid": {"seeds": "0", "drawing": {"steps": 4}},
        }
        tables |= _training(method, steps, options)
        recipe, checkpoint = prepare({name: value for name, value in tables.items() if value})
        run_erasure(recipe, checkpoint, out, force=out.exists(), reporter=Reporter())
    record = json.loads((out / "erasure.json").read_text(encoding="utf-8"))
    work: dict[str, Any] = record["config"]["work"]
    return work


def _training(method: str, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """What a recipe says of a training; nothing of a closed form, and what is None is left to the
    defaults."""
    kind = method_kind(method)
    if not issubclass(kind, TrainConfig):
        return {}
    own = {"steps": steps, "learning_rate": options.rate, "batch_size": options.batch_size}
    own["warmup"] = options.warmup
    pictures = {"forget": {"drawn": options.drawn}, "retain": {"drawn": 2 * options.drawn}}
    return {
        "mask": options.mask,
        "scope": options.scope,
        "method": {"name": method, **own},
        "data": pictures if "pictures" in kind().needs else {},
    }


def judged(model: str, out: Path, options: argparse.Namespace) -> Results:
    """The evaluation of a model; the pictures of the demo are drawn once for all cells."""
    first = options.out / "demo-drawn"
    _copy_drawn(first, out)
    tables = {"model": model, "against": "demo", "suite": "canvas", "limit": options.limit}
    results = run_evaluation(resolve_evaluation(tables), out, force=False, reporter=Reporter())
    assert results is not None
    _copy_drawn(out, first)
    return results


def _copy_drawn(source: Path, out: Path) -> None:
    """Take over what an evaluation drew and judged of the demo, where there is none yet."""
    for part in ("images", "manifest", "judgements"):
        for path in (source / part).glob("before*"):
            target = out / part / path.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if path.is_dir() else shutil.copy)(path, target)


def _facts_of(results: Results) -> dict[str, Any]:
    """What the table says: each concept recognised, and what became of the rest."""
    rows = {row.label: row for row in results.classes if row.erased}
    summary = results.summary
    rest = {"other objects": "ira", "other styles": "cra"}
    return {
        "pictures": results.suite.cases,
        "concepts": {
            label: [_plain(row.after), None if row.before is None else row.before.share]
            for label, row in rows.items()
        },
        "rest": {
            words: [_plain(summary.after[name]), _change((summary.difference or {}).get(name))]
            for words, name in rest.items()
        },
        "verdict": summary.verdict,
    }


def _plain(rate: Proportion) -> list[float]:
    return [rate.count, rate.total, rate.share, rate.low, rate.high]


def _change(change: Difference | None) -> list[float] | None:
    return None if change is None else [change.value, change.low, change.high]


def markdown(cells: Sequence[dict[str, Any]], concepts: Sequence[str]) -> str:
    """The table: a row a cell."""
    rest = ("other objects", "other styles")
    heads = ["method", "way", *(f"{name} recognised" for name in concepts), *rest]
    heads += ["passes forward / back", "prompts read", "seconds"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for cell in cells:
        work = cell["work"]
        row = [f"`{cell['method']}`", cell["way"]]
        row += [_recognised(cell["concepts"].get(name)) for name in concepts]
        row += list(_rest(cell["rest"], rest))
        row += [f"{work['forward']:,} / {work['backward']:,}", f"{work['text']:,}"]
        row.append(str(cell["seconds"]))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _recognised(entry: Any) -> str:  # noqa: ANN401
    if entry is None:
        return "not drawn"
    (count, total, _, low, high), _ = entry
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def _rest(entries: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        (count, total, _, _, _), change = entries[name]
        by = (
            ""
            if change is None
            else " ({:+.0f}, {:+.0f} to {:+.0f})".format(*(100 * value for value in change))
        )
        yield f"{count} of {total}{by}"


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
