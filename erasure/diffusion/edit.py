"""Erase a concept from a checkpoint: move the weights that a mask selects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.keeper import Keeper
from erasure.diffusion.schedule import NoiseSchedule
from erasure.diffusion.task import Task
from erasure.editing.proving import Edit, proved, seen_by, work_of
from erasure.editing.run_key import run_key
from erasure.errors import ConfigError, TrainingError
from erasure.masks.mask_file import require_base, require_component
from erasure.masks.masks import (
    SaliencyMask,
    require_allowed,
    require_weights,
)
from erasure.methods.protocol import Method, asks_base
from erasure.moving.component import data_for, require_recomputed
from erasure.team import ALONE, Team, require_same
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.unseen import UntilUnseen
from erasure.training.weights.low_rank import LowRank
from erasure.work import Work, work_table


def erase(
    checkpoint: Checkpoint,
    data: ConceptData,
    mask: SaliencyMask,
    method: Method,
    *,
    concept: str = "",
    concepts: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
    origin: Mapping[str, Tensor] | None = None,
    until: UntilUnseen | None = None,
    spent: Mapping[str, Work] | None = None,
    low_rank: LowRank | None = None,
    device: torch.device | None = None,
    checkpointing: bool = False,
    stream: bool = False,
    team: Team = ALONE,
    state: Path | None = None,
    save_every: int = 50,
    on_ready: Callable[[], None] = lambda: None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Edit:
    """Move selected weights of the component that the method edits, so that the model forgets.

    Args:
        checkpoint: the model that is to forget; it is not changed.
        data: what the method names among its needs: pictures, prompts, or both.
        mask: made from this checkpoint.
        method: how to erase, with all its settings.
        concept: noted in the provenance.
        concepts: each of several that are erased together, noted likewise.
        record: further settings to note in the provenance; plain JSON values.
        origin: weights of the same component of the base that the checkpoint was once edited from:
            its answers are trained towards in place of the checkpoint's own, so that a later run
            does not carry on what an earlier one did to the rest. Leave what was erased before out
            of the data: the origin still answers to it.
        until: looks at the training between its steps and may end it; the record says what was
            seen.
        spent: stage -> what it took before `data` was encoded, such as drawing its pictures; the
            record counts it with the rest.
        low_rank: lets a training move factors of the mask's layers in place of their weights; the
            mask is one of whole layers then, see `erasure.lora.module_mask`. A closed form has
            factors of its own rank.
        device: where to train; CPU if none.
        checkpointing: recompute activations in the backward pass; less memory, more time.
        stream: keep the blocks of the main component in main memory while they do not compute, and
            recompute them; for models whose weights do not fit the device.
        team: shares every batch; all are given the same and get the same edit.
        state: file to keep a training in and to continue from where it exists; None keeps nothing.
            The state before the last is kept beside it, with `.old` behind the name, and is used
            where the last is damaged. Both stay when the run ends or is interrupted; call
            `erasure.storage.state_file.drop` when the result is safe. On a team all read them, the
            first writes them, and they fit a team of any size.
        save_every: steps between two saves.
        on_ready: called when a training has nothing left to refuse and has taken no step, before it
            reads its state; a closed form, which may find its system singular at any weight, never
            calls it.
        on_step: told of each step; what it raises stops the run with its state saved.

    Raises:
        MaskError: the mask belongs to another base, or selects what no mask of the family may.
        ConfigError: the data lack what the method needs.
        TrainingError: the loss is not finite, the memory is not enough or another process is gone
            (the last good state is saved), the states are damaged or belong to another run, or the
            processes are not at the same run.

    Examples:
        >>> mask = find_mask(checkpoint, data, density=0.5)
        >>> edit = erase(checkpoint, data, mask, SalUn(steps=2), concept="church")
        >>> 0 < edit.provenance.last.moved <= mask.selected
        True
    """
    component = component_of(method, checkpoint)
    require_component(mask.info, component)
    require_base(mask.info, checkpoint.hash_of(component))
    require_weights(mask, checkpoint.components[component])
    if component == checkpoint.architecture.main:
        require_allowed(mask, checkpoint.architecture.never_masked)
    require_origin(origin, checkpoint, method)
    if checkpointing:
        require_recomputed(checkpoint, "checkpointing")
    if stream and origin is not None:
        raise ConfigError(
            "stream keeps the weights in main memory, where no origin can be put in their place; "
            "leave one of both out"
        )
    if until is not None and not isinstance(method, TrainConfig):
        raise ConfigError(
            f"the method {method.name} takes no steps of a training that could be ended when "
            "the concept is no longer seen; leave until_unseen out, or choose one that trains"
        )
    run = run_key(checkpoint, data, mask, method, origin=origin, until=until, low_rank=low_rank)
    require_same(team, int(run[:15], 16), "model, mask, pictures or settings")
    task = Task(
        checkpoint=checkpoint,
        data=data_for(checkpoint, component, data),
        mask=mask,
        device=device or torch.device("cpu"),
        checkpointing=checkpointing,
        stream=stream,
        origin=origin,
        low_rank=low_rank,
        team=team,
        keeper=Keeper(state, save_every, run, on_ready),
        until=until,
    )
    noises = method.needs & {"pictures", "anchors"}
    if not isinstance(task.schedule, NoiseSchedule) and noises:
        task.outcome.facts["times"] = repr(task.schedule)  # they decide the result, and are chosen
    history: list[Step] = []
    _run(method.run(task), history, on_step, task.keeper)
    work = work_of(task, spent or {})
    said = {**seen_by(task), "work": work_table(work), **(record or {})}
    return proved(task, method, (concept, tuple(concepts)), said, history)


def component_of(method: Method, checkpoint: Checkpoint) -> str:
    """The component that a method edits: what it says, or the main one.

    Raises:
        ConfigError: the model has no such component.
    """
    return checkpoint.architecture.require_editable(getattr(method, "component", ""))


def require_origin(
    origin: Mapping[str, Tensor] | None, checkpoint: Checkpoint, method: Method
) -> None:
    """Raise ConfigError where an origin would not be asked, or is no model of the same kind."""
    if origin is None:
        return
    if not asks_base(method):
        raise ConfigError(
            f"the method {method.name} with these settings asks no base, so an origin would not be "
            "read; leave it out, or choose settings that ask the base, such as kept = base"
        )
    own = checkpoint.components[component_of(method, checkpoint)]
    shapes = {name: tuple(weight.shape) for name, weight in own.items()}
    if shapes != {name: tuple(weight.shape) for name, weight in origin.items()}:
        raise ConfigError(
            "the origin has other weights than this model; give the base that it was edited from"
        )


def _run(
    steps: Iterator[Step], history: list[Step], on_step: Callable[[Step], None], keeper: Keeper
) -> None:
    """All steps. State is saved between steps alone, where it is whole: a step that failed was not
    taken, and whoever wants to stop raises from `on_step`."""
    try:
        for step in steps:
            history.append(step)
            try:
                on_step(step)
            except BaseException:
                keeper.save(history)
                raise
            keeper.after(history)
    except TrainingError:
        keeper.rescue(history)
        raise
