"""The paper's class forgetting, on the class-conditional models of clothes and of icons.

    python benchmarks/class_conditional.py --gold build/ddpm-checkpoint --out build/clothes
    python benchmarks/class_conditional.py --data icons --gold build/ddpm-icons --out build/icons

`--gold` is the work folder of `make ddpm-checkpoint ARGS="--only no-sneaker --only twin"`; that of
icons (`ARGS="--data icons"`, and again with `--only no-church`) holds the model itself too. A cell
is a method with a mask: it forgets the class with real pictures of Fashion-MNIST or of icons, then
draws. One cell is done at a time and kept in `cells.jsonl`, so a run that was cut goes on;
`table.md` is the table.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import torch
from PIL import Image
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.denoiser import Denoiser
from erasure.methods.gradient.salun import SalUn
from erasure.training.objective import Loss
from eval.judges.canvas import load_canvas_classifier, to_pixels
from eval.judges.clothes import WEIGHTS, load_clothes_classifier, to_grey
from eval.metrics.frechet import kernel_distance
from eval.rates.intervals import Proportion, wilson
from pipelines.class_checkpoint.check import DRAWING
from pipelines.class_checkpoint.pictures import ClassPictures, image_of
from pipelines.class_checkpoint.worlds import WORLDS, World, best_of
from pipelines.drawing.generation import draw_all
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.erasing import run_erasure
from pipelines.run.models import open_model
from pipelines.run.preparing import prepare

FORGET, RETAIN = 400, 100
"""Real pictures to forget, and to retain of each other class."""
GONE, KEPT = 50, 20
"""Pictures drawn of the class, and of each other class."""
_FEATURES: Final[Any] = SimpleNamespace(name="classes", is_inception=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning(SalUn):
    """Training on the rest alone: the control of a method that only forgets by not rehearsing."""

    name: ClassVar[str] = "fine-tuning"
    title: ClassVar[str] = "train on all other classes alone"
    source: ClassVar[str] = "the baseline FT of arXiv:2310.12508, table 1"

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        """Give the retain loss of SalUn, and none for what is forgotten."""
        made = SalUn.__call__(self, student, frozen, batch)
        return Loss(0.0 * made.forget, made.retain)


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table that is an erasure."""

    method: str
    mask: str = "salient"
    settings: Mapping[str, Any] = field(default_factory=dict)
    pictures: bool = True
    """Whether it learns from pictures; what draws for itself is given none."""

    @property
    def name(self) -> str:
        """What its folder and its row are called."""
        return f"{self.method}, {self.mask} mask"


CELLS: Final = (
    *(Cell("salun", mask) for mask in ("salient", "random", "inverse", "all")),
    *(Cell("ascent", mask) for mask in ("salient", "all")),
    *(Cell("erasediff", mask) for mask in ("salient", "all")),
    *(Cell(method, "all", pictures=False) for method in ("esd", "sdd")),
    *(Cell("fine-tuning", mask, {"kept": "noise"}) for mask in ("salient", "all")),
)


def main() -> None:
    """Measure the missing rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("build/class-conditional"))
    parser.add_argument("--data", choices=list(WORLDS), default="clothes")
    parser.add_argument("--gold", type=Path, help="work folder of the training")
    parser.add_argument("--concept", help="a class; the one that a model was trained without")
    parser.add_argument("--data-path", type=Path, help="folder of the idx files or of the icons")
    parser.add_argument("--only", default="", help="cells to make, as salun-salient,salun-random")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    world = WORLDS[options.data]
    clothes = options.data == "clothes"
    gold_folder = options.gold or Path("build") / ("ddpm-checkpoint" if clothes else "ddpm-icons")
    base: Path | str = "ddpm-demo" if clothes else gold_folder / "base" / "model"
    concept = options.concept or world.left_out
    if concept not in world.classes:
        parser.error(f"--concept is {concept!r}; give {', '.join(world.classes)}")
    by_name = {f"{cell.method}-{cell.mask}": cell for cell in CELLS}
    names = options.only.split(",") if options.only else list(by_name)
    if unknown := sorted(set(names) - set(by_name)):
        parser.error(f"--only names {unknown[0]!r}; give some of {', '.join(by_name)}")
    options.out.mkdir(parents=True, exist_ok=True)
    train, unseen = world.load(options.data_path)
    pictures = options.out / "pictures"
    write_pictures(world, train, concept, pictures)
    rows = {row["name"]: row for row in _read(options.out / "cells.jsonl")}

    def measured(name: str, model: Path | str, seconds: float | None = None) -> None:
        checkpoint = open_model(str(model))
        seen = measure(world, checkpoint, concept, unseen)
        row = {"name": name, "seconds": seconds, **seen}
        rows[name] = row
        with (options.out / "cells.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    for name, folder in (
        ("the model itself", None),
        ("retrained without", "no-"),
        ("twin", "twin"),
    ):
        gold = f"{folder}{concept.replace(' ', '-')}" if folder == "no-" else folder
        path: Path | str = base if gold is None else gold_folder / gold / "model"
        if name not in rows and (gold is None or Path(path).is_dir()):
            measured(name, path)
    for seed in options.seeds:
        for cell in map(by_name.get, names):
            assert cell is not None
            name = f"{cell.name}, seed {seed}"
            if name not in rows:
                run = options.out / "runs" / name.replace(", ", "-").replace(" ", "-")
                seconds = erased(str(base), cell, concept, options.steps, seed, pictures, run)
                measured(name, run, seconds)
    table = markdown(rows.values())
    (options.out / "table.md").write_text(table, encoding="utf-8")
    print(table)


def write_pictures(world: World, train: ClassPictures, concept: str, folder: Path) -> None:
    """Write real pictures with their classes as captions, `forget` and `retain`."""
    for role in ("forget", "retain"):
        if (folder / role / "metadata.jsonl").exists():
            continue
        (folder / role).mkdir(parents=True, exist_ok=True)
        lines = []
        for label, name in enumerate(world.classes):
            if (name == concept) != (role == "forget"):
                continue
            chosen = (train.labels == label).nonzero()[:, 0][
                : FORGET if role == "forget" else RETAIN
            ]
            for number in chosen.tolist():
                file = f"{number:05d}.png"
                image_of(train.pixels[number]).save(folder / role / file)
                lines.append(json.dumps({"file_name": file, "prompt": name}))
        (folder / role / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def erased(
    model: str, cell: Cell, concept: str, steps: int, seed: int, pictures: Path, run: Path
) -> float:
    """Erase the class as a cell says; returns the seconds of mask and training."""
    own = cell.method == "fine-tuning"
    reporter = Reporter()
    real = {role: {"drawn": 0, "folder": str(pictures / role)} for role in ("forget", "retain")}
    recipe, checkpoint = prepare(
        {
            "model": model,
            "concept": concept,
            "mask": cell.mask,
            "seed": seed,
            **({"code": f"{Path(__file__)}:FineTuning"} if own else {}),
            "method": {**({} if own else {"name": cell.method}), "steps": steps, **cell.settings},
            **({"data": real} if cell.pictures else {}),
            "grid": {"seeds": "0"},
        }
    )
    run_erasure(recipe, checkpoint, run, force=True, reporter=reporter)
    return sum(spent for name, spent in reporter.seconds.items() if "draw" not in name)


def measure(
    world: World, checkpoint: Checkpoint, concept: str, unseen: ClassPictures
) -> dict[str, Any]:
    """Draw the class and the others, and look at both with the judge.

    The unlearning accuracy (UA) is the share of pictures of the class in which the judge does not
    see it. The distance is that of the judge's features of the other classes' pictures to those of
    as many real pictures of these classes that nothing was trained on.
    """
    classes = world.classes
    others = [name for name in classes if name != concept]
    requests = [Request(concept, seed) for seed in range(GONE)]
    requests += [Request(name, seed) for name in others for seed in range(KEPT)]
    images = draw_all(checkpoint, requests, DRAWING, torch.device("cpu"))
    answers = best_of(world.judge(WEIGHTS), world.head, images)
    wanted = [name for name in others for _ in range(KEPT)]
    real = _real(unseen, [classes.index(name) for name in others])
    distance = kernel_distance(_FEATURES, _features(world, images[GONE:]), _features(world, real))
    return {
        "forgotten": sum(answer != concept for answer in answers[:GONE]),
        "drawn": GONE,
        "right": sum(a == b for a, b in zip(answers[GONE:], wanted, strict=True)),
        "others": len(wanted),
        "distance": distance.value,
        "low": distance.low,
        "high": distance.high,
    }


@torch.no_grad()
def _features(world: World, images: Sequence[Image.Image]) -> Tensor:
    """What the last layer of the judge reads of pictures, (N, D)."""
    parts = [images[start : start + 500] for start in range(0, len(images), 500)]
    if world.name == "clothes":
        clothes = load_clothes_classifier()
        return torch.cat([clothes.features(to_grey(part)) for part in parts])
    canvas = load_canvas_classifier()
    return torch.cat([canvas.body(to_pixels(part)) for part in parts])


def _real(unseen: ClassPictures, labels: Sequence[int], each: int = 200) -> list[Image.Image]:
    """Real pictures of classes."""
    chosen = [(unseen.labels == label).nonzero()[:, 0][:each] for label in labels]
    return [image_of(one) for one in unseen.pixels[torch.cat(chosen)]]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def markdown(rows: Any) -> str:  # noqa: ANN401
    """The table, intervals beside every figure."""
    lines = [
        "| | UA, % | others right, % | distance of the others x 1000 |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        gone = wilson(row["forgotten"], row["drawn"])
        others = wilson(row["right"], row["others"])
        low, value, high = (1000 * row[key] for key in ("low", "distance", "high"))
        lines.append(
            f"| {row['name']} | {_share(gone)} | {_share(others)} "
            f"| {value:.1f} ({low:.1f} to {high:.1f}) |"
        )
    return "\n".join(lines) + "\n"


def _share(one: Proportion) -> str:
    return f"{100 * one.share:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


if __name__ == "__main__":
    main()
