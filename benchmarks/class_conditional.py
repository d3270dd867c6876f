"""The paper's class forgetting, on the class-conditional model that comes with the package.

    python benchmarks/class_conditional.py --gold build/ddpm-checkpoint --out build/clothes

`--gold` is the work folder of `make ddpm-checkpoint ARGS="--only no-sneaker --only twin"`. A cell
is a method with a mask: it forgets the class with real pictures of Fashion-MNIST, then draws. One
cell is done at a time and kept in `cells.jsonl`, so a run that was cut goes on; `table.md` is the
table.
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
from eval.judges.clothes import load_clothes_classifier, to_grey
from eval.metrics.frechet import kernel_distance
from eval.rates.intervals import Proportion, wilson
from pipelines.class_checkpoint.check import DRAWING
from pipelines.class_checkpoint.garments import Garments, load_garments
from pipelines.drawing.generation import draw_all
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.erasing import run_erasure
from pipelines.run.models import open_model
from pipelines.run.preparing import prepare
from prompts.clothes import CLOTHES

FORGET, RETAIN = 400, 100
"""Real pictures to forget, and to retain of each other class."""
GONE, KEPT = 50, 20
"""Pictures drawn of the class, and of each other class."""
_FEATURES: Final[Any] = SimpleNamespace(name="clothes", is_inception=False)


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
    parser.add_argument("--gold", type=Path, default=Path("build/ddpm-checkpoint"))
    parser.add_argument("--concept", default="sneaker", choices=CLOTHES)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    train, unseen = load_garments()
    pictures = options.out / "pictures"
    write_pictures(train, options.concept, pictures)
    rows = {row["name"]: row for row in _read(options.out / "cells.jsonl")}

    def measured(name: str, model: Path | str, seconds: float | None = None) -> None:
        checkpoint = open_model(str(model))
        row = {"name": name, "seconds": seconds, **measure(checkpoint, options.concept, unseen)}
        rows[name] = row
        with (options.out / "cells.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    for name, folder in (
        ("the model itself", None),
        ("retrained without", "no-"),
        ("twin", "twin"),
    ):
        gold = f"{folder}{options.concept}" if folder == "no-" else folder
        path: Path | str = "ddpm-demo" if gold is None else options.gold / gold / "model"
        if name not in rows and (gold is None or Path(path).is_dir()):
            measured(name, path)
    for seed in options.seeds:
        for cell in CELLS:
            name = f"{cell.name}, seed {seed}"
            if name not in rows:
                run = options.out / "runs" / name.replace(", ", "-").replace(" ", "-")
                seconds = erased(cell, options.concept, options.steps, seed, pictures, run)
                measured(name, run, seconds)
    table = markdown(rows.values())
    (options.out / "table.md").write_text(table, encoding="utf-8")
    print(table)


def write_pictures(train: Garments, concept: str, folder: Path) -> None:
    """Write real pictures with their classes as captions, `forget` and `retain`."""
    for role in ("forget", "retain"):
        if (folder / role / "metadata.jsonl").exists():
            continue
        (folder / role).mkdir(parents=True, exist_ok=True)
        lines = []
        for label, name in enumerate(CLOTHES):
            if (name == concept) != (role == "forget"):
                continue
            chosen = (train.labels == label).nonzero()[:, 0][
                : FORGET if role == "forget" else RETAIN
            ]
            for number in chosen.tolist():
                file = f"{number:05d}.png"
                Image.fromarray(train.pixels[number, 0].numpy()).save(folder / role / file)
                lines.append(json.dumps({"file_name": file, "prompt": name}))
        (folder / role / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def erased(cell: Cell, concept: str, steps: int, seed: int, pictures: Path, run: Path) -> float:
    """Erase the class as a cell says; returns the seconds of mask and training."""
    own = cell.method == "fine-tuning"
    reporter = Reporter()
    real = {role: {"drawn": 0, "folder": str(pictures / role)} for role in ("forget", "retain")}
    recipe, checkpoint = prepare(
        {
            "model": "ddpm-demo",
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


def measure(checkpoint: Checkpoint, concept: str, unseen: Garments) -> dict[str, Any]:
    """Draw the class and the others, and look at both with the judge.

    The unlearning accuracy (UA) is the share of pictures of the class in which the judge does not
    see it. The distance is that of the judge's features of the other classes' pictures to those of
    as many real pictures of these classes that nothing was trained on.
    """
    others = [name for name in CLOTHES if name != concept]
    requests = [Request(concept, seed) for seed in range(GONE)]
    requests += [Request(name, seed) for name in others for seed in range(KEPT)]
    images = draw_all(checkpoint, requests, DRAWING, torch.device("cpu"))
    network = load_clothes_classifier()
    with torch.no_grad():
        features = network.features(to_grey(images))
        answers = network.head(features).argmax(1).tolist()
        real = network.features(_real(unseen, others))
    wanted = [CLOTHES.index(name) for name in others for _ in range(KEPT)]
    distance = kernel_distance(_FEATURES, features[GONE:], real)
    return {
        "forgotten": sum(answer != CLOTHES.index(concept) for answer in answers[:GONE]),
        "drawn": GONE,
        "right": sum(a == b for a, b in zip(answers[GONE:], wanted, strict=True)),
        "others": len(wanted),
        "distance": distance.value,
        "low": distance.low,
        "high": distance.high,
    }


def _real(unseen: Garments, names: Sequence[str], each: int = 200) -> Tensor:
    """Real pictures of classes, (N, 1, 32, 32) in [-1, 1]."""
    chosen = [(unseen.labels == CLOTHES.index(name)).nonzero()[:, 0][:each] for name in names]
    return unseen.pixels[torch.cat(chosen)].float() / 127.5 - 1


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
