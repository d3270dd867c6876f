"""UnlearnCanvas: every style and every object erased by SalUn, and all others looked at."""

from collections.abc import Mapping
from typing import Final

from pipelines.reproducing.protocol import (
    Judging,
    NotMade,
    Protocol,
    Published,
    Sourced,
    StandIn,
    Task,
)
from prompts.canvas import OBJECTS as CANVAS_OBJECTS
from prompts.canvas import STYLES as CANVAS_STYLES
from prompts.suites.case import file_stem
from prompts.suites.unlearncanvas import GUIDANCE, OBJECTS, SEEDS, SIZE, STYLES

_RELEASE: Final = "arXiv:2402.11846, released code at 920cfd1,"
PORT: Final = f"{_RELEASE} machine_unlearning/mu_saliency_unlearn_salun"
_SAMPLING: Final = f"{_RELEASE} its sampling of the benchmark"
_TABLE: Final = "arXiv:2402.11846, table of styles and objects, as uc_result.csv of its board"
_EACH: Final = 3
"""Pictures of each pair of a style and an object in the port's lists."""

STYLE_TASKS: Final = tuple(
    Task(
        name=f"style-{file_stem(name.lower())}",
        concept=name,
        label=name,
        kind="style",
        forget=_EACH * len(OBJECTS),
        retain=_EACH * len(OBJECTS),
    )
    for name in STYLES
)
OBJECT_TASKS: Final = tuple(
    Task(
        name=f"object-{file_stem(name.lower())}",
        concept=name,
        label=name,
        kind="object",
        forget=_EACH * (len(STYLES) + 1),
        retain=_EACH * (len(OBJECTS) - 1),
    )
    for name in OBJECTS
)
_ROWS: Final[Mapping[str, tuple[float, ...]]] = {
    # Percent: style UA, IRA, CRA, object UA, IRA, CRA; then the Frechet distance.
    "ESD": (98.58, 80.97, 93.96, 92.15, 55.78, 44.23, 65.55),
    "FMN": (88.48, 56.77, 46.60, 45.64, 90.63, 73.46, 131.37),
    "UCE": (98.40, 60.22, 47.71, 94.31, 39.35, 34.67, 182.01),
    "CA": (60.82, 96.01, 92.70, 46.67, 90.11, 81.97, 54.21),
    "SalUn": (86.26, 90.39, 95.08, 86.91, 96.35, 99.59, 61.05),
}
_FIGURES: Final = tuple(
    f"{kind} {rate}" for kind in ("style", "object") for rate in ("ua", "ira", "cra")
)


def published(*kinds: str) -> tuple[Published, ...]:
    """The rows of the board for the kinds that are erased."""
    shares = tuple(
        Published(figure=figure, value=round(percent / 100, 6), method=method, source=_TABLE)
        for method, row in _ROWS.items()
        for figure, percent in zip(_FIGURES, row, strict=False)
        if figure.split()[0] in kinds
    )
    distances = tuple(
        Published(figure="fid", value=row[-1], method=method, unit="distance", source=_TABLE)
        for method, row in _ROWS.items()
    )
    return (*shares, *distances)


def stand_in(*kinds: str) -> StandIn:
    """The styles and objects of the canvas in place of those of the benchmark."""
    names = {"style": CANVAS_STYLES, "object": CANVAS_OBJECTS}
    return StandIn(
        tasks=tuple(
            Task(name=f"{kind}-{file_stem(name)}", concept=name, label=name, kind=kind)  # type: ignore[arg-type]
            for kind in kinds
            for name in names[kind]
        ),
        judges=("canvas",),
        said=("the styles and objects of the canvas stand for those of UnlearnCanvas",),
    )


ERASE: Final[Mapping[str, Sourced]] = {
    "mask": Sourced("salient", f"{PORT}/generate_mask.py, as arXiv:2310.12508 means it"),
    "density": Sourced(0.4, f"{PORT}/train-erase.py"),
    "scope": Sourced("xattn", f"{PORT}/train-erase.py"),
    "saliency.loss": Sourced("guided", f"{PORT}/generate_mask.py"),
    "saliency.guidance_scale": Sourced(
        8.5, "arXiv:2310.12508, released code, w = 7.5, which is 8.5 here"
    ),
    "saliency.draws": Sourced(1, f"{PORT}/generate_mask.py"),
    "saliency.batch_size": Sourced(4, f"{PORT}/generate_mask.py"),
    "method.name": Sourced("salun", f"{PORT}/train-erase.py"),
    "method.alpha": Sourced(1.0, f"{PORT}/train-erase.py"),
    "method.target": Sourced("moving", f"{PORT}/train-erase.py"),
    "method.kept": Sourced("noise", f"{PORT}/train-erase.py"),
    "method.batch_size": Sourced(4, f"{PORT}/train-erase.py"),
    "method.learning_rate": Sourced(1e-5, f"{PORT}/train-erase.py"),
    "method.optimizer": Sourced("adam", f"{PORT}/train-erase.py"),
    "method.weight_decay": Sourced(0.0, f"{PORT}/train-erase.py"),
    "method.precision": Sourced("fp32", f"{PORT}/train-erase.py"),
}
EVALUATE: Final[Mapping[str, Sourced]] = {
    "suite": Sourced("unlearncanvas", _SAMPLING),
    "seeds": Sourced(",".join(map(str, SEEDS)), _SAMPLING),
    "scheduler": Sourced("ddim", f"{_SAMPLING}, eta 0"),
    "steps": Sourced(100, _SAMPLING),
    "guidance": Sourced(GUIDANCE, _SAMPLING),
    "precision": Sourced("fp32", _SAMPLING),
}
JUDGING: Final = Judging(
    judges=(),
    wanted="the benchmark's two ViT-L/16 classifiers, of styles and of objects, as `python -m "
    "pipelines.reproducing.released_classifiers` writes them",
    heads=("style", "object"),
)
MODEL: Final = Sourced(
    "Stable Diffusion as UnlearnCanvas fine-tuned it on its 50 styles", f"{PORT}/train-erase.py"
)
PIXELS: Final = Sourced(SIZE, _SAMPLING)
EPOCHS: Final = Sourced(2, f"{PORT}/train-erase.py")
DIFFERS: Final = (
    "the mask is applied and selects the most salient weights, as SalUn's paper has it; the port "
    "compares a name with a list of tensors, so that its mask is never applied, and ranks the "
    "least salient first",
    "the saliency is guided against the empty prompt, as SalUn's paper has it; the port gives the "
    "concept's prompt for both, and takes an optimiser step while it measures",
    "density 0.4 is of the cross-attention, which is what moves; the port ranks the whole UNet and "
    "trains the cross-attention",
    "each step takes the next pictures of both lists; the port reads its first batches in every "
    "step",
    "a style gives way to the photograph of the same object, as the lists pair them; an object "
    "gives way to that of any other object, where the port's lists pair it with `Architectures`",
    "the photographs of an erased object are not retained; the port retains them",
    "the pictures of `in Seed Images style`, which the port also draws, are left out of all shares",
    "each picture has its own seed; the port seeds once for all pictures of a seed",
)
NOT_MADE: Final = (
    NotMade(
        what="FID",
        figure="fid",
        why="the release compares features of torchvision's Inception with the benchmark's own "
        "pictures, and counts drawings `in Seed Images style`, which are left out here",
        instead="only its own script has that scale; `erasure evaluate --metric frechet --features "
        "inception --reference FOLDER`, with that data set for the folder, makes one of FID's own "
        "network",
    ),
    NotMade(
        what="seconds, memory and storage",
        why="they are those of the table's machine",
        instead="erasure.json and --dry-run have ours",
    ),
)

PROTOCOL: Final = Protocol(
    name="unlearncanvas",
    title="UnlearnCanvas, 50 styles and 20 objects, by SalUn",
    model=MODEL,
    family="sd1",
    size=PIXELS,
    tasks=(*STYLE_TASKS, *OBJECT_TASKS),
    epochs=EPOCHS,
    erase=ERASE,
    evaluate=EVALUATE,
    judging=JUDGING,
    pictures="unlearncanvas",
    published=published("style", "object"),
    differs=DIFFERS,
    not_made=NOT_MADE,
    stand_in=stand_in("style", "object"),
    words="unlearncanvas",
)
