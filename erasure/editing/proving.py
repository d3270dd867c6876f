"""An edit: the new values in the base, proved to be where the mask allows them, and recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor

from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.merge import count_moved, count_rounded_away, merge_selected
from erasure.checkpoints.provenance import Provenance
from erasure.component_names import FIRST_MAIN
from erasure.diffusion.precision import rounded
from erasure.diffusion.task import Task
from erasure.errors import TrainingError
from erasure.masks.mask_file import mask_hash
from erasure.methods.protocol import Method
from erasure.solving.factors import Factors
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.unseen import Curve
from erasure.training.weights.selected import moved_outside
from erasure.work import Work


@dataclass(frozen=True, slots=True)
class Edit:
    """A component of a model, the main one or a text encoder, which has unlearned a concept.

    Examples:
        >>> edit = erase(checkpoint, data, mask, SalUn(steps=2), concept="church")
        >>> edit.provenance.last.concept, edit.unselected_identical
        ('church', True)
        >>> edit.network.keys() == checkpoint.network.keys()
        True
    """

    network: Mapping[str, Tensor] = field(repr=False)
    """diffusers name -> weight in the base's stored type; the base's own tensor if not selected."""
    provenance: Provenance
    """The edits that the checkpoint came with, and this one behind them."""
    history: tuple[Step, ...] = field(repr=False)
    unselected_identical: bool
    """Whether every unselected weight kept its bits, in training and in `network`: always true, as
    an edit that is not raises an error; said here so that a result can state it."""
    factors: Mapping[str, Factors] = field(default_factory=dict, repr=False)
    """Name of a weight -> its change as a thin product, of what trained factors moved and of a
    closed form's weights that were free in full; before rounding to the stored type, so a LoRA of
    it loses nothing."""
    component: str = FIRST_MAIN
    """Which component `network` is, by its folder in the diffusers layout."""
    curve: Curve | None = None
    """What was seen in the course of the training, where somebody looked at it."""


def proved(
    task: Task,
    method: Method,
    named: tuple[str, tuple[str, ...]],
    record: Mapping[str, Any],
    history: list[Step],
) -> Edit:
    """Put the new values into the base, tensor by tensor, and prove that no other weight moved."""
    checkpoint, mask, outcome = task.checkpoint, task.mask, task.outcome
    base = checkpoint.components[task.component]
    strays: list[str] = []
    merged, lost = dict(base), 0
    for name, weight in base.items():
        value = outcome.value_of(name)
        if value is None:
            continue
        chosen = {name: mask.entries[name]} if name in mask.entries else {}
        if name not in outcome.values:  # of these the mask alone says which are taken
            before = rounded({name: weight}, outcome.precision)
            strays += moved_outside(before, {name: value.float()}, chosen)
        merged |= merge_selected({name: weight}, {name: value}, chosen)
        if chosen:
            lost += count_rounded_away(weight, value, merged[name], chosen[name])
    strays += moved_outside(base, merged, mask.entries)
    if strays:
        raise TrainingError(
            f"unselected weights moved in {len(strays)} tensors, {strays[0]} first; this is a "
            "fault of this program, so the result is not written; please report it"
        )
    if lost:
        outcome.facts["rounded_away"] = lost
    made = EditRecord(
        base=checkpoint.name,
        base_hash=checkpoint.hash_of(task.component),
        component=task.component,
        result_hash=weights_hash(merged),
        mask_hash=mask_hash(mask),
        concept=named[0],
        concepts=named[1],
        objective=repr(method),
        config={
            "method": method.name,
            "facts": dict(outcome.facts),
            **_lora(task, method),
            **record,
        },
        density=mask.info.density,
        selected=mask.selected,
        moved=count_moved(base, merged),
        total=sum(v.numel() for v in base.values()),
        version=package_version(),
    )
    provenance = Provenance(edits=(*checkpoint.edits, made))
    steps, factors = tuple(history), dict(outcome.factors)
    component, curve = task.component, outcome.curve
    return Edit(merged, provenance, steps, not strays, factors, component, curve)


def _lora(task: Task, method: Method) -> dict[str, Any]:
    """What the record says of an edit that is a LoRA: rank, alpha and the layers."""
    if task.low_rank is None:
        return {}
    own = isinstance(method, TrainConfig)
    how = task.low_rank
    ranks = {name: len(one.down) for name, one in task.outcome.factors.items()}
    rank = how.rank if own else max(ranks.values(), default=0)
    said = {"rank": rank, "alpha": how.strength if own else float(rank)}
    masked = [name for name, count in task.mask.counts().items() if count]
    modules = list(task.outcome.factors) or masked
    return {"lora": {**said, "masked": how.masked, "modules": modules}}


def package_version() -> str:
    """Version of the installed distribution, or `0+source` where none is installed."""
    try:
        return version("diffusion-erasure")
    except PackageNotFoundError:
        return "0+source"


def work_of(task: Task, spent: Mapping[str, Work]) -> dict[str, Work | None]:
    """Stage -> what it took; None where a mask or a state of an older version does not say."""
    trained = task.outcome.work
    curve, until = task.outcome.curve, task.until
    looks = Work() if curve is None or until is None else until.cost.times(len(curve.looks))
    return {
        **spent,
        "encode": task.data.work,
        "mask": task.mask.info.work,
        "method": None if trained is None else trained + task.tally.work,
        "looks": looks,
    }


def seen_by(task: Task) -> dict[str, Any]:
    """What the record says of the looks at the training."""
    if task.until is None or task.outcome.curve is None:
        return {}
    return {"until_unseen": {**task.until.described, **task.outcome.curve.to_dict()}}
