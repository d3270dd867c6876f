"""Models and processors in the layout of `transformers`, from a folder or from the hub."""

import os
import pickle
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from eval.errors import EvalError
from prompts.hub import announce_hub

_UNREADABLE: Final = (
    OSError,  # not there, not to be downloaded, damaged config
    ValueError,  # a kind of model that it does not know
    KeyError,
    TypeError,
    RuntimeError,
    ImportError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What the libraries raise on what they cannot load."""


def short_name(source: str) -> str:
    """A hub id as it is, a folder by its own name: a result must not depend on where it lay."""
    path = _path(source)
    return Path(path).resolve().name if os.path.exists(path) else source


def load_part(kind: Any, source: str, **options: Any) -> Any:  # noqa: ANN401
    """A config, tokenizer or image processor: `kind.from_pretrained(source)`.

    Raises:
        EvalError: it cannot be had or read; names the offline choice.
    """
    announce_hub(source)
    try:
        return kind.from_pretrained(_path(source), **options)
    except _UNREADABLE as err:
        raise _unavailable(source, err) from err


def load_network(kind: Any, source: str, **options: Any) -> Any:  # noqa: ANN401
    """A model in float32 and evaluation mode, with every weight read from the file.

    The libraries fill weights that a file lacks with random numbers and only log it; such a model
    would judge at random.

    Args:
        kind: a class of `transformers` or `diffusers` with `from_pretrained`.
        source: a folder or hub id.
        options: for `from_pretrained`.

    Raises:
        EvalError: it cannot be had or read, or some of its weights are not there.
    """
    announce_hub(source)
    try:
        network, report = kind.from_pretrained(
            _path(source), output_loading_info=True, dtype=torch.float32, **options
        )
    except _UNREADABLE as err:
        raise _unavailable(source, err) from err
    lacking = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if lacking:
        raise EvalError(
            f"{source} lacks {len(lacking)} weights of a {kind.__name__}, such as {lacking[0]}; "
            "give a model that was trained for this"
        )
    return network.eval()


def _path(source: str) -> str:
    path = os.path.expanduser(source)
    return path if os.path.exists(path) else source


def _unavailable(source: str, err: BaseException) -> EvalError:
    reason = (str(err).splitlines() or [type(err).__name__])[0][:200]
    where = "be read" if os.path.exists(_path(source)) else "be had from the hub"
    return EvalError(
        f"the model {source} cannot {where} ({reason}); give the path of a folder that "
        "save_pretrained wrote, or use a judge whose weights come in a package: canvas, imagenet, "
        "nudenet, opennsfw; for features efficientnet-lite0"
    )
