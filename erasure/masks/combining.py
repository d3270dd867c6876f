"""Several masks made one: what all select, or what any selects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from erasure.errors import MaskError
from erasure.masks.mask_file import require_component
from erasure.masks.masks import REST, MaskInfo, SaliencyMask
from erasure.masks.packed import PackedBits
from erasure.work import Work


def intersection(masks: Sequence[SaliencyMask]) -> SaliencyMask:
    """What every mask selects: symmetric, idempotent, and never denser than the sparsest.

    Raises:
        MaskError: they belong to different models, do not fit each other, or share no weight.

    Source: arXiv:2504.12782, which trains the weights that lie in the masks of several seeds and
        prompts.
    """
    _require_alike(masks)
    names = [name for name in masks[0].entries if all(name in mask.entries for mask in masks)]
    entries = PackedBits.of((name, _folded(masks, name, both=True)) for name in names)
    if not any(entries.counts().values()):
        raise MaskError("the masks share no weight; take denser ones, or their union")
    return _described(entries, masks, "intersection")


def union_of(masks: Sequence[SaliencyMask]) -> SaliencyMask:
    """What any mask selects.

    Raises:
        MaskError: they belong to different models, or do not fit each other.
    """
    _require_alike(masks)
    names = dict.fromkeys(name for mask in masks for name in mask.entries)
    entries = PackedBits.of((name, _folded(masks, name, both=False)) for name in names)
    return _described(entries, masks, "union")


def _folded(masks: Sequence[SaliencyMask], name: str, *, both: bool) -> Tensor:
    parts = [mask.entries[name] for mask in masks if name in mask.entries]
    folded = parts[0].clone()
    for part in parts[1:]:
        (torch.logical_and if both else torch.logical_or)(folded, part, out=folded)
    return folded


def _require_alike(masks: Sequence[SaliencyMask]) -> None:
    first = masks[0]
    shapes = first.bits.shapes
    for other in masks[1:]:
        require_component(other.info, first.info.component)
        if other.info.base != first.info.base:
            raise MaskError(
                f"the masks belong to different models ({first.info.base[:12]} and "
                f"{other.info.base[:12]}); make them from one"
            )
        for name, shape in other.bits.shapes.items():
            if name in shapes and shapes[name] != shape:
                raise MaskError(
                    f"the masks of {name} have shapes {tuple(shapes[name])} and {tuple(shape)}; "
                    "make them from one model"
                )
    rests = {rest for mask in masks if (rest := (mask.info.measured or {}).get(REST))}
    if len(rests) > 1:
        raise MaskError(
            "the masks were measured with different text encoders, VAEs or configs; make them from "
            "one model"
        )


def _described(entries: PackedBits, masks: Sequence[SaliencyMask], how: str) -> SaliencyMask:
    """With what the masks have in common; where they differ, what is known of each."""
    first = masks[0].info
    infos = [mask.info for mask in masks]
    made = SaliencyMask(entries, MaskInfo())

    def joined(field: str) -> str:
        return ", ".join(dict.fromkeys(value for one in infos if (value := getattr(one, field))))

    scopes = {one.scope for one in infos}
    return made.with_info(
        replace(
            first,
            density=made.density,
            scope=scopes.pop() if len(scopes) == 1 else "full",
            loss=f"{how} of {len(masks)}: {joined('loss')}".rstrip(": "),
            seed=first.seed if len({one.seed for one in infos}) == 1 else None,
            concept=joined("concept"),
            work=_work_of(infos),
            measured=_shared(infos),
        )
    )


def _shared(infos: Sequence[MaskInfo]) -> Mapping[str, str] | None:
    """How all of them were measured; None where one does not say."""
    known = [one.measured for one in infos if one.measured is not None]
    if len(known) < len(infos):
        return None
    first, *others = known
    return {k: v for k, v in first.items() if all(one.get(k) == v for one in others)} or None


def _work_of(infos: Sequence[MaskInfo]) -> Work | None:
    """What all took together; None where one does not say."""
    total = Work()
    for info in infos:
        if info.work is None:
            return None
        total += info.work
    return total
