"""Too little memory, answered with what needs less: settings, with values for this very run.

Whoever typed a command is told options, whoever called a function is told settings of the recipe.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import OutOfMemoryError, Way, Wording
from erasure.memory import is_out_of_memory
from erasure.methods import Method, SalUn
from pipelines.configs.everyday import ERASE, fields_of
from pipelines.configs.settings import EraseRecipe


@dataclass(frozen=True, slots=True)
class Less:
    """What needs less memory."""

    same: tuple[Way, ...] = ()
    """These change the result by rounding alone."""
    other: tuple[Way, ...] = ()
    """These give another result."""
    resumes: bool = False
    """Whether the run can be resumed, and takes the former with it."""

    def said(self, wording: Wording = "option") -> str:
        """What to do next, as the end of a sentence."""
        typed = wording == "option"
        resume, force = ("--resume", "--force") if typed else ("resume=True", "force=True")
        same, other = ([way.said(wording) for way in ways] for ways in (self.same, self.other))
        ways = []
        if self.resumes and same:
            ways.append(f"go on with {resume} and {_listed(same)}")
        elif same:
            ways.append(f"give {_listed(same)}")
        if self.resumes and other:
            ways.append(f"begin anew with {force} and {_listed(other)}")
        elif other:
            ways.append(f"for another result {_listed(other)}")
        if not ways:
            return "nothing that can be set here needs less; use a device with more memory"
        return ", or ".join(ways)

    def forced(self) -> "Less":
        """The same for a command that holds its folder against other settings without --force."""

        def anew(way: Way) -> Way:
            typed, written = f"{way.option} --force", f"{way.setting} and force=True"
            return replace(way, option=typed, setting=written)

        return replace(self, same=tuple(map(anew, self.same)), other=tuple(map(anew, self.other)))


class NeedsLessError(OutOfMemoryError):
    """The memory was not enough; the sentence says which settings need less."""


def of_drawing(now: int, name: str = "drawing_batch", *, resumes: bool = False) -> Less:
    """While pictures are drawn, `now` at a time."""
    return Less(halved(name, now), resumes=resumes)


def of_encoding(size: int, *, resumes: bool = False) -> Less:
    """While pictures of `size` pixels a side are encoded; passes shrink by themselves."""
    half = size // 2
    way = Way(f"data.size {half} in the recipe", f"data.size = {half}", f" (now {size})")
    smaller = () if size < 16 else (way,)
    return Less(other=smaller, resumes=resumes)


def of_saliency(
    recipe: EraseRecipe,
    device: torch.device,
    *,
    resumes: bool = False,
    scope: str | None = "xattn",
) -> Less:
    """While the mask is measured; `scope` is of fewer weights, None where the model has none."""
    same = halved("saliency_batch", recipe.saliency.batch_size)
    if device.type != "cpu" and not recipe.saliency.offload:
        same += (_way("saliency_offload", True, "off"),)
    other: tuple[Way, ...] = ()
    if recipe.saliency.loss == "guided":
        other += (_way("saliency_loss", "plain", "guided"),)
    if recipe.scope == "full" and scope is not None:
        other += (_way("scope", scope, "full"),)
    return Less(same, other, resumes)


def narrower_scope(checkpoint: Checkpoint, component: str) -> str | None:
    """A scope of fewer weights than all that a component has; None where none is known."""
    family = checkpoint.architecture
    scopes = family.scopes if component == family.main else family.part(component).scopes
    scope = "xattn" if "xattn" in scopes else family.scope_defaults.get("xattn", "")
    return scope if scope in scopes and scope != "full" else None


def of_training(recipe: EraseRecipe, processes: int, *, text: bool = False) -> Less:
    """While the selected weights move, on as many processes; `text` says whether they are those of
    a text encoder, which is never in bfloat16."""
    config = recipe.training
    if config is None:  # a closed form holds one weight at a time
        return Less(resumes=True)
    each = -(-config.batch_size // processes)
    same = halved("micro_batch", min(config.micro_batch or each, each))
    if not recipe.checkpointing:
        same += (_way("checkpointing", True, "off"),)
    other: tuple[Way, ...] = ()
    if config.precision != "bf16-weights" and not text:
        other += (_way("precision", "bf16-weights", config.precision),)
    able = config.momentum if config.optimizer == "sgd" else True
    if config.optimizer == "adam":  # in 8 bits it decays weights in another way, so it is refused
        able = not config.weight_decay
    if config.moments == "fp32" and able:
        other += (_way("moments", "8bit", "fp32"),)
    if recipe.mask in ("salient", "random"):
        other += (_way("density", recipe.density / 2, f"{recipe.density:g}"),)
    elif recipe.mask == "all":
        other += (_way("mask", "salient", "all"),)
    return Less(same, (*other, *_without_frozen(recipe.method)), resumes=True)


def _without_frozen(method: Method) -> tuple[Way, ...]:
    """What lets the method not ask the base; nothing where there is no such setting."""
    if "frozen" not in method.needs or not isinstance(method, SalUn):
        return ()
    typed, written = (
        "--target moving and --kept noise",
        'method.target = "moving" and method.kept = "noise"',
    )
    return (Way(typed, written, ", which need no values of the base"),)


def halved(name: str, now: int) -> tuple[Way, ...]:
    """Half of what a parameter of a command sets; nothing where it cannot be less."""
    return () if now <= 1 else (_way(name, now // 2, now),)


def _way(name: str, value: bool | float | str, now: object) -> Way:
    """The setting of a parameter of `erasure erase`, or of another command that reads its own."""
    field = fields_of(ERASE).get(name, (name,))[0]
    written = f"{field} = {json.dumps(value)}"
    option = f"--{name.replace('_', '-')}"
    shown = f"{value:g}" if isinstance(value, float) else value
    return Way(option if value is True else f"{option} {shown}", written, f" (now {now})")


@contextmanager
def enough_memory(doing: str, less: Less, device: torch.device) -> Iterator[None]:
    """Say what needs less memory where the block runs out of it.

    Args:
        doing: what the block does, such as `drawing pictures`.

    Raises:
        NeedsLessError: it did.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, OutOfMemoryError) as err:
        if not is_out_of_memory(err):
            raise
        where = f" {err}" if isinstance(err, OutOfMemoryError) else ""
        remark = "; what was finished is kept" if less.resumes else ""
        happened = f"out of memory on {device.type} while {doing}{where}{remark}"
        raise NeedsLessError(f"{happened}: ", less) from err


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} or {last}" if first else last
