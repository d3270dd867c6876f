"""SalUn's class-wise forgetting: each of the ten ImageNette classes from Stable Diffusion."""

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
from prompts.canvas import OBJECTS
from prompts.suites.case import file_stem
from prompts.suites.imagenette import CLASSES

_RELEASE: Final = "arXiv:2310.12508, released code at a6e89fd,"
_MASK: Final = f"{_RELEASE} SD/train-scripts/generate_mask.py"
_TRAIN: Final = f"{_RELEASE} SD/train-scripts/random_label.py"
_READ: Final = f"{_RELEASE} SD/train-scripts/dataset.py"
_DRAW: Final = f"{_RELEASE} SD/eval-scripts/generate-images.py"
_README: Final = f"{_RELEASE} SD/README.md"
_TABLE: Final = "arXiv:2310.12508, table of class-wise forgetting on ImageNette"
_BASE: Final = "arXiv:2303.07345, table of ImageNette classes, 500 pictures a class"

_PICTURES: Final = (963, 955, 993, 858, 941, 956, 961, 931, 951, 960)
"""Pictures of each class in the train split, 9,469 in all. Source: the data set."""
_TASKS: Final = tuple(
    Task(
        name=file_stem(one.name.lower()),
        concept=one.name,
        label=one.name,
        kind="class",
        forget=count,
        retain=sum(_PICTURES) - count,
    )
    for one, count in zip(CLASSES, _PICTURES, strict=True)
)
_FORGOTTEN: Final = {
    # Percent, in the order of the classes.
    "SalUn": (100.0, 100.0, 99.8, 100.0, 99.6, 100.0, 100.0, 100.0, 98.8, 100.0),
    "ESD": (99.4, 100.0, 100.0, 96.8, 98.6, 99.8, 100.0, 100.0, 99.6, 99.8),
    "FMN": (42.4, 27.2, 93.8, 48.4, 23.8, 45.0, 41.4, 53.6, 15.4, 34.4),
}
_RECOGNISED: Final = (78.4, 92.5, 15.6, 66.0, 73.8, 99.6, 85.4, 75.4, 97.4, 98.0)
"""Percent of Stable Diffusion 1.4's own pictures, in the order of the classes."""

PROTOCOL: Final = Protocol(
    name="salun-imagenette",
    title="SalUn, class-wise forgetting on ImageNette",
    model=Sourced(
        "Stable Diffusion 1.4, sd-v1-4-full-ema.ckpt read without its moving average", _TRAIN
    ),
    family="sd1",
    size=Sourced(512, _READ),
    tasks=_TASKS,
    epochs=Sourced(5, _TRAIN),
    erase={
        "instead": Sourced("next", _TRAIN),
        "mask": Sourced("salient", _MASK),
        "density": Sourced(0.5, _MASK),
        "scope": Sourced("full", _MASK),
        "saliency.loss": Sourced("guided", _MASK),
        "saliency.guidance_scale": Sourced(8.5, f"{_MASK}, whose w = 7.5 is 8.5 here"),
        "saliency.draws": Sourced(1, _MASK),
        "saliency.batch_size": Sourced(8, _MASK),
        "method.name": Sourced("salun", _TRAIN),
        "method.alpha": Sourced(0.5, _README),
        "method.target": Sourced("moving", _TRAIN),
        "method.kept": Sourced("noise", _TRAIN),
        "method.batch_size": Sourced(8, _TRAIN),
        "method.learning_rate": Sourced(1e-5, _TRAIN),
        "method.optimizer": Sourced("adam", _TRAIN),
        "method.weight_decay": Sourced(0.0, _TRAIN),
        "method.precision": Sourced("fp32", _TRAIN),
    },
    evaluate={
        "suite": Sourced("imagenette", f"{_RELEASE} SD/prompts/imagenette.csv"),
        "samples": Sourced(100, _DRAW),
        "scheduler": Sourced("lms", _DRAW),
        "steps": Sourced(100, _DRAW),
        "guidance": Sourced(7.5, _DRAW),
        "precision": Sourced("fp32", _DRAW),
    },
    judging=Judging(
        judges=("resnet50",),
        wanted="torchvision's ResNet-50 with its V2 weights",
        substitutes={
            "imagenet": "EfficientNet-Lite0 stands in for ResNet-50: hold it against the model's "
            "own pictures under the same judge, not against the table"
        },
    ),
    pictures="imagenette",
    dataset=Sourced(("frgfm/imagenette", "160px"), _READ),
    published=(
        *(
            Published(
                figure=f"ua/{one.name}",
                value=percent / 100,
                method=method,
                source=_TABLE,
                checked=False,
            )
            for method, column in _FORGOTTEN.items()
            for one, percent in zip(CLASSES, column, strict=True)
        ),
        *(
            Published(
                figure=f"base/{one.name}",
                value=percent / 100,
                method="Stable Diffusion 1.4",
                source=_BASE,
                pictures=500,
            )
            for one, percent in zip(CLASSES, _RECOGNISED, strict=True)
        ),
        *(
            Published(
                figure="fid",
                value=value,
                method=method,
                unit="distance",
                source=f"{_TABLE}, average",
                checked=False,
            )
            for method, value in (("SalUn", 1.22), ("ESD", 1.49))
        ),
    ),
    differs=(
        "pictures a class: the release draws 100 and is followed; the shares of the table are "
        "multiples of 0.2 %, which 100 pictures cannot give, so the paper seems to count 500 "
        "(--samples 500)",
        "epochs and alpha: the script's 5 epochs and the README's alpha 0.5 are followed; the "
        "script's own default of alpha is 0.1, and an example in the release names a run of 10 "
        "epochs",
        "the mask is applied and selects the most salient half, as the paper has it; until "
        "2024-05-15 the release did not apply it, and until 2023-12-17 it took the least salient "
        "half",
        "each step takes the next pictures to forget, as the paper has it; until 2026-02-27 the "
        "release read its first batch in every step",
        "both predictions of the forget term see the same noised picture, as the paper has it; the "
        "release draws two posterior samples",
        "the first picture of a class starts from the release's own noise; the release takes the "
        "others from one stream, and here each has a seed of its own",
        "a diffusers folder of Stable Diffusion 1.4 holds the moving average of the weights, and "
        "the release begins from those without it",
    ),
    not_made=(
        NotMade(
            what="FID",
            figure="fid",
            why="the release casts pictures of [-1, 1] to whole numbers, so that three values are "
            "left, and compares 64 features",
            instead="only the release's own script has that scale; `erasure evaluate --metric "
            "frechet --features inception --reference FOLDER` makes a real one",
        ),
    ),
    stand_in=StandIn(
        tasks=tuple(
            Task(name=file_stem(name), concept=name, label=name, kind="class", stands_for=one.name)
            for name, one in zip(OBJECTS, CLASSES, strict=False)
        ),
        judges=("canvas",),
        said=(
            "the ten objects of the canvas that stand for the classes, as fish for tench, are "
            "erased",
        ),
    ),
)
