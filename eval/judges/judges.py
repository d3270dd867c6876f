"""All judges by name."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from eval.errors import EvalError
from eval.judges.canvas import open_canvas
from eval.judges.clothes import open_clothes
from eval.judges.imagenet import open_imagenet, open_resnet50
from eval.judges.judge import Judge
from eval.judges.nudenet import open_nudenet
from eval.judges.opennsfw import open_opennsfw
from eval.judges.q16 import open_q16
from eval.judges.safety_checker import open_safety_checker
from eval.judges.transformers_judge import open_transformers
from prompts.nearest import nearest

JUDGES: Final[Mapping[str, Callable[..., Judge]]] = {
    "canvas": open_canvas,
    "clothes": open_clothes,
    "imagenet": open_imagenet,
    "nudenet": open_nudenet,
    "opennsfw": open_opennsfw,
    "q16": open_q16,
    "resnet50": open_resnet50,
    "safety-checker": open_safety_checker,
}


def open_judge(name: str, *, device: str | torch.device = "cpu", **options: Any) -> Judge:  # noqa: ANN401
    """Make a judge; what takes time, reading its weights, happens here.

    Args:
        name: one of `JUDGES`; else the folder or the hub id, `owner/name`, of an image classifier
            or a CLIP.
        device: where judges made of torch run; the others run on the CPU.
        options: of the judge's own function, such as `labels` or `threshold`.

    Raises:
        EvalError: there is no such judge, it takes no such option, its package is not installed,
            or its weights cannot be had.
    """
    make, settings = _maker(name)
    for option in options:
        if option not in _options(make):
            raise EvalError(f"the judge {name} takes no {option}; leave it out")
    if "device" in _options(make):
        options["device"] = device
    return make(*settings, **options)


def has_option(name: str, option: str) -> bool:
    """Whether a judge takes an option.

    Raises:
        EvalError: there is no such judge.
    """
    return option in _options(_maker(name)[0])


def _maker(name: str) -> tuple[Callable[..., Judge], tuple[str, ...]]:
    """The function that makes a judge, and what to give it first."""
    if name in JUDGES:
        return JUDGES[name], ()
    if os.path.isdir(os.path.expanduser(name)) or "/" in name:
        return open_transformers, (name,)
    raise EvalError(
        f"there is no judge {name!r}; {nearest(name, JUDGES)}; or give a folder or a hub id "
        "(owner/name) of an image classifier or a CLIP"
    )


def _options(make: Callable[..., Judge]) -> set[str]:
    parameters = inspect.signature(make).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
