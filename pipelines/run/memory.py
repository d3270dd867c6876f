"""Too little memory, answered with what needs less: options, with values for this very run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from erasure.errors import OutOfMemoryError
from erasure.memory import is_out_of_memory
from erasure.methods import Method, SalUn
from pipelines.configs.settings import EraseRecipe


@dataclass(frozen=True, slots=True)
class Less:
    """Options that need less memory, each as `--option value (now value)`."""

    same: tuple[str, ...] = ()
    """These change the result by rounding alone."""
    other: tuple[str, ...] = ()
    """These give another result."""
    resumes: bool = False
    """Whether the command has `--resume`, and takes the former with it."""

    def said(self) -> str:
        """What to do next, as the end of a sentence."""
        ways = []
        if self.resumes and self.same:
            ways.append(f"go on with --resume and {_listed(self.same)}")
        elif self.same:
            ways.append(f"give {_listed(self.same)}")
        if self.resumes and self.other:
            ways.append(f"begin anew with --force and {_listed(self.other)}")
        elif self.other:
            ways.append(f"for another result {_listed(self.other)}")
        if not ways:
            return "nothing that can be set here needs less; use a device with more memory"
        return ", or ".join(ways)


def of_drawing(now: int, option: str = "--drawing-batch", *, resumes: bool = False) -> Less:
    """While pictures are drawn, `now` at a time."""
    return Less(halved(option, now), resumes=resumes)


def of_encoding(size: int, *, resumes: bool = False) -> Less:
    """While pictures of `size` pixels a side are encoded; passes shrink by themselves."""
    smaller = () if size < 16 else (f"data.size {size // 2} in the recipe (now {size})",)
    return Less(other=smaller, resumes=resumes)


def of_saliency(recipe: EraseRecipe, device: torch.device, *, resumes: bool = False) -> Less:
    """While the mask is measured."""
    same = halved("--saliency-batch", recipe.saliency.batch_size)
    if device.type != "cpu" and not recipe.saliency.offload:
        same += ("--saliency-offload (now off)",)
    other: tuple[str, ...] = ()
    if recipe.saliency.loss == "guided":
        other += ("--saliency-loss plain (now guided)",)
    if recipe.scope == "full":
        other += ("--scope xattn (now full)",)
    return Less(same, other, resumes)


def of_training(recipe: EraseRecipe, processes: int) -> Less:
    """While the selected weights move, on as many processes."""
    config = recipe.training
    if config is None:  # a closed form holds one weight at a time
        return Less(resumes=True)
    each = -(-config.batch_size // processes)
    same = halved("--micro-batch", min(config.micro_batch or each, each))
    if not recipe.checkpointing:
        same += ("--checkpointing (now off)",)
    other: tuple[str, ...] = ()
    if config.precision != "bf16-weights":
        other += (f"--precision bf16-weights (now {config.precision})",)
    if config.moments == "fp32" and (config.optimizer != "sgd" or config.momentum):
        other += ("--moments 8bit (now fp32)",)
    if recipe.mask in ("salient", "random"):
        other += (f"--density {recipe.density / 2:g} (now {recipe.density:g})",)
    elif recipe.mask == "all":
        other += ("--mask salient (now all)",)
    unfrozen = _without_frozen(recipe.method)
    if unfrozen:
        other += (f"{unfrozen}, which need no values of the base",)
    return Less(same, other, resumes=True)


def _without_frozen(method: Method) -> str:
    """Options with which the method would not ask the base; nothing where there are none."""
    if "frozen" not in method.needs or not isinstance(method, SalUn):
        return ""
    return "--target moving and --kept noise"


def halved(option: str, now: int) -> tuple[str, ...]:
    """The option with half its value; nothing where it cannot be less."""
    return () if now <= 1 else (f"{option} {now // 2} (now {now})",)


@contextmanager
def enough_memory(doing: str, less: Less, device: torch.device) -> Iterator[None]:
    """Say what needs less memory where the block runs out of it.

    Args:
        doing: what the block does, such as `drawing pictures`.

    Raises:
        OutOfMemoryError: it did.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, OutOfMemoryError) as err:
        if not is_out_of_memory(err):
            raise
        where = f" {err}" if isinstance(err, OutOfMemoryError) else ""
        remark = "; what was finished is kept" if less.resumes else ""
        raise OutOfMemoryError(
            f"out of memory on {device.type} while {doing}{where}{remark}: {less.said()}"
        ) from err


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} or {last}" if first else last
