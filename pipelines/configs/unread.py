"""Settings that a run would not look at, refused by name where they were given.

A recipe file stands below the command line. What is not read because of an option over the file is
no fault of the file: `--mask random` makes a control of any run. What the file itself makes
useless, or the command line, is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from erasure.errors import ConfigError
from pipelines.configs.everyday import ERASE, EVALUATE, flags

Tables = Mapping[str, Any]

_KINDS: Final = ("salient", "random", "inverse", "all")
"""Kinds of masks; anything else is the path of a mask file."""
JUDGE_NAMES: Final = frozenset(
    ("canvas", "clothes", "imagenet", "nudenet", "opennsfw", "q16", "resnet50", "safety-checker")
)
"""The keys of `eval.judges.judges.JUDGES`, which itself takes long to import."""
_SALIENCY: Final = (
    "loss",
    "merge",
    "guidance_scale",
    "draws",
    "batch_size",
    "offload",
    "mapped",
    "groups",
    "precision",
    "checkpointing",
)
SOURCE: Final = (
    "drawn",
    "folder",
    "dataset",
    "dataset_config",
    "dataset_split",
    "prompt",
    "limit",
)
"""The settings of a set of pictures."""
_PICTURES: Final = tuple(f"data.{role}.{key}" for role in ("forget", "retain") for key in SOURCE)
"""What says which pictures to forget and to retain."""
_UNSEEN: Final = tuple(f"unseen.{key}" for key in ("every", "times", "pictures", "neighbours"))
_DRAWING: Final = ("data.drawing.steps", "data.drawing.guidance")
"""How pictures are drawn. The batch is not among these, as one option sets that of the grid with
it."""
_FACTORS: Final = ("low_rank.rank", "low_rank.alpha", "low_rank.masked", "low_rank")
"""The settings of factors, and last the table itself, which is not saved where none is read."""
_FLAGS: Final = flags(ERASE) | flags(EVALUATE)
"""Key of a recipe -> its flag; the others have none."""


def unread_by_erasure(
    tables: Tables,
    *,
    pictures: bool = True,
    anchors: bool = False,
    instead: bool = True,
    rows: bool = False,
    frozen: bool = True,
    trains: bool = True,
) -> dict[str, str]:
    """Key of an erasure's recipe, with dots -> why it would not be read.

    Args:
        tables: the whole recipe; what is missing has its default.
        pictures: whether the method or the mask needs any of the concept.
        anchors: whether the method needs pictures of what stands in.
        instead: whether the method reads what is to be seen in the concept's place.
        rows: whether the method reads a file that says what becomes of each prompt.
        frozen: whether the method asks the base while it trains.
        trains: whether the method takes steps of a training.
    """
    unread = dict(_of_mask(tables)) | dict(_of_rest(tables))
    unread |= dict.fromkeys(_FACTORS, why) if (why := _of_factors(tables, trains)) else {}
    if (judge := tables.get("judge")) is None or not _is_model(str(judge)):
        unread["labels"] = "the judge is no model given by folder or hub id"
    method, mask = value_at(tables, "method.name"), tables.get("mask")
    if not pictures:
        why = f"neither the method {method} nor the mask {mask} needs pictures"
        unread |= dict.fromkeys(_PICTURES, why)
        if not anchors:
            unread |= dict.fromkeys(_DRAWING, why)
    if anchors:  # which are drawn too
        unread = {key: why for key, why in unread.items() if key not in _DRAWING}
    else:
        unread["data.anchors.drawn"] = f"the method {method} needs no pictures of what stands in"
    if not instead:
        unread["instead"] = f"the method {method} puts nothing in the concept's place"
    if not frozen:
        unread["origin"] = f"the method {method} with these settings asks no base"
    if not tables.get("until_unseen"):
        unread |= dict.fromkeys(_UNSEEN, "until_unseen is off")
    elif not trains:
        unread["until_unseen"] = f"the method {method} solves at once and takes no steps"
    if not rows:
        unread["data.rows"] = f"the method {method} has no such prompts, which leco has"
    elif value_at(tables, "data.rows") is not None:
        why = "the file of data.rows says it of each row"
        unread |= dict.fromkeys(("method.action", "method.strength"), why)
    return unread


def _of_factors(tables: Tables, trains: bool) -> str:
    """Why the settings of factors would not be read; empty where they are."""
    if tables.get("moves") != "lora":
        return "weights move, and no factors without --as lora"
    method = value_at(tables, "method.name")
    return "" if trains else f"the method {method} solves for factors of its own rank"


def unread_by_evaluation(tables: Tables) -> dict[str, str]:
    """The same for the recipe of an evaluation."""
    metrics = set(tables.get("metrics") or ())
    reasons: dict[str, str] = {}
    if not metrics & {"frechet", "kid"}:
        reasons |= dict.fromkeys(("features", "reference"), "neither frechet nor kid is measured")
    for name in ("clip", "perceptual"):
        if name not in metrics:
            reasons[name] = f"{name} is not among the metrics"
    if not any(_is_model(str(judge)) for judge in tables.get("judges") or ()):
        reasons["labels"] = "no judge is a model given by folder or hub id"
    if tables.get("guard") is None:
        reasons["guard_text"] = "there is no guard"
    return reasons


def brought_by_suite(suite: object) -> dict[str, str]:
    """Key of an evaluation that each prompt of a suite brings itself -> why another would not be
    read."""
    why = f"every prompt of {suite} brings its own; another is drawn by --suite csv"
    brought = {"i2p": ("guidance", "size"), "unlearncanvas": ("guidance",)}
    return dict.fromkeys(brought.get(str(suite), ()), why)


def refuse_unread(
    over: Tables, under: Tables, unread: Mapping[str, str], alone: Mapping[str, str]
) -> None:
    """Raise ConfigError for a key that was given and would not be read.

    Args:
        over: what the command line gives, or a Python caller.
        under: a recipe file below it.
        unread: of both together: key -> why.
        alone: of the recipe file by itself.
    """
    for key, why in unread.items():
        name = ""
        if (value := value_at(over, key)) is not None:
            name = _FLAGS.get(key, key)
        elif key in alone and (value := value_at(under, key)) is not None:
            name = f"{key} of the recipe"
        if name:
            raise ConfigError(
                f"{name} is {str(value)[:80]!r} and would not be read, as {why}; leave it out"
            )


def _of_mask(tables: Tables) -> Iterator[tuple[str, str]]:
    mask = tables.get("mask") or "salient"
    why = f"the mask is {mask}" if mask in _KINDS else f"the mask is the file {mask}"
    if mask not in ("salient", "inverse"):
        yield from ((f"saliency.{key}", f"{why} and measures no gradient") for key in _SALIENCY)
    elif (loss := value_at(tables, "saliency.loss")) in ("plain", "own"):
        yield "saliency.guidance_scale", f"the saliency loss is {loss}"
    if mask in ("salient", "inverse") and not tables.get("concepts"):
        yield "saliency.merge", "there is a single concept"
    if mask == "all" or mask not in _KINDS:
        yield "density", why
    if mask not in _KINDS:
        yield "scope", why


def _of_rest(tables: Tables) -> Iterator[tuple[str, str]]:
    optimizer = value_at(tables, "method.optimizer")
    if optimizer not in (None, "sgd"):
        yield "method.momentum", f"the optimizer is {optimizer}"
    for role in ("forget", "retain"):
        folder, dataset = (value_at(tables, f"data.{role}.{key}") for key in ("folder", "dataset"))
        if folder is None and dataset is None:
            why = f"the pictures to {role} come from no folder and no data set"
            yield from ((f"data.{role}.{key}", why) for key in ("prompt", "limit"))
        if dataset is None:
            why = f"the pictures to {role} come from no data set"
            yield from ((f"data.{role}.{key}", why) for key in ("dataset_config", "dataset_split"))
    if 0 == value_at(tables, "data.forget.drawn") == value_at(tables, "data.retain.drawn"):
        why = "no pictures are drawn to forget or to retain"
        yield from ((f"data.drawing.{key}", why) for key in ("steps", "guidance"))


def _is_model(judge: str) -> bool:
    """Whether a judge is given by folder or hub id, and so takes labels."""
    return judge.rpartition("=")[2] not in JUDGE_NAMES


def value_at(tables: Tables, key: str) -> Any:  # noqa: ANN401
    """The value of a dotted key; None where there is none."""
    value: Any = tables
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
