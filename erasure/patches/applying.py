"""Put a patch into weights and take it out again: in place or as a copy, checked on both sides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.errors import PatchError
from erasure.patches.patch import Patch, PatchEntry
from erasure.patches.strength import between, require_strength


def apply_patch(
    weights: Mapping[str, Tensor], patch: Patch, *, strength: float = 1.0, check: bool = True
) -> None:
    """Turn the base into the edited weights, in place: `apply_patch(unet.state_dict(), patch)`.

    Needs memory for one parameter. The weights may lie on any device and in a wider type than the
    patch was made in, since widening keeps the value.

    Args:
        weights: name -> weight of the base; changed in place.
        patch: what to put into them.
        strength: how much of the edit, from -10 to 10: a weight becomes base + strength * (edited -
            base), see `erasure.patches.strength.between`. At 0 that is the base and at 1 the edit,
            to the bit. At any other strength no hash says what must come out, and `remove_patch`
            does not lead back: keep the base, or use `erasure.patched_pipeline`.
        check: hash the weights as they are and as the whole edit would make them, and refuse
            another base and another outcome. Two passes over all of them.

    Raises:
        ConfigError: the strength is no such number.
        PatchError: they are not the base, or would not become what the patch says it leads to, or
            not finite at this strength; then nothing was changed.

    Examples:
        >>> weights = {name: weight.clone() for name, weight in checkpoint.network.items()}
        >>> apply_patch(weights, load_patch(Path("church.patch")))
        >>> apply_patch(weights, load_patch(Path("church.patch")))
        Traceback (most recent call last):
        erasure.errors.PatchError: ...
    """
    _in_place(weights, patch, "base" if check else None, strength)


def remove_patch(weights: Mapping[str, Tensor], patch: Patch, *, check: bool = True) -> None:
    """Turn the edited weights into the base again, in place and to the bit; see `apply_patch`.

    Args:
        weights: name -> weight of what the patch leads to; changed in place.
        patch: what to take out of them.
        check: hash the weights as they are and as they would become.

    Raises:
        PatchError: they are not what the patch leads to, or do not become its base; then they are
            as they were.

    Examples:
        >>> weights = {name: weight.clone() for name, weight in checkpoint.network.items()}
        >>> apply_patch(weights, load_patch(Path("church.patch")))
        >>> remove_patch(weights, load_patch(Path("church.patch")))
        >>> all(torch.equal(weights[name], weight) for name, weight in checkpoint.network.items())
        True
    """
    _in_place(weights, patch, "result" if check else None)


def patched(
    weights: Mapping[str, Tensor], patch: Patch, *, strength: float = 1.0
) -> dict[str, Tensor]:
    """The edited weights; those that moved are copies, the others are `weights`' own.

    Args:
        weights: name -> weight, of the base.
        patch: to be applied.
        strength: how much of the edit; see `apply_patch`.

    Raises:
        ConfigError, PatchError: as `apply_patch`.
    """
    return _copied(weights, patch, "base", strength)


def unpatched(weights: Mapping[str, Tensor], patch: Patch) -> dict[str, Tensor]:
    """The base weights; see `patched`."""
    return _copied(weights, patch, "result")


def require_base(weights: Mapping[str, Tensor], patch: Patch, state: str = "base") -> None:
    """Raise PatchError unless the weights are the patch's base, or its result.

    Args:
        weights: name -> weight.
        patch: to be applied or removed.
        state: `base` or `result`.
    """
    wanted = patch.info.base if state == "base" else patch.info.result
    actual = patch.info.hash(weights)
    if actual != wanted:
        if actual == patch.info.result:
            raise PatchError(
                f"the patch is applied already, as these weights are its result {actual[:12]} and "
                f"not its base {wanted[:12]}; give the base, or take the patch out"
            )
        if actual == patch.info.base:
            raise PatchError(
                f"the patch is not applied, as these weights are its base {actual[:12]} and not "
                f"its result {wanted[:12]}, so there is nothing to take out"
            )
        raise PatchError(
            f"the patch needs weights {wanted[:12]}, but these are {actual[:12]}; "
            "give the model it was made for"
        )


def _require_outcome(weights: Mapping[str, Tensor], patch: Patch, state: str = "result") -> None:
    """Raise PatchError unless a patch leads to what its header names; nothing is changed.

    A patch whose moved weights were cut out or exchanged, under a checksum made anew, would pass
    for the erasure that its header describes.

    Args:
        weights: name -> weight, before the patch is applied or removed.
        patch: to be applied or removed.
        state: what it leads to: `result` when applied, `base` when removed.
    """
    wanted = patch.info.result if state == "result" else patch.info.base
    outcome = patch.info.hash(_Flipped(weights, patch))
    if outcome != wanted:
        raise PatchError(
            f"the patch leads to weights {outcome[:12]}, but its header names {wanted[:12]}, so "
            "its content is not what it says; get the patch again from its source"
        )


@dataclass(frozen=True, slots=True)
class _Flipped(Mapping[str, Tensor]):
    """The weights as the patch makes them, one parameter at a time, when asked for."""

    weights: Mapping[str, Tensor]
    patch: Patch
    strength: float = 1.0

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.patch.entries:
            return self.weights[name]
        alone = {name: self.weights[name].detach().clone()}
        _flip(alone, {name: self.patch.entries[name]}, self.strength)
        return alone[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def require_applies(weights: Mapping[str, Tensor], patch: Patch, state: str = "base") -> None:
    """Raise PatchError unless a patch fits the weights, belongs to them, and leads to what its
    header names; nothing is changed.

    Args:
        weights: name -> weight, before the patch is applied or removed.
        patch: to be applied or removed.
        state: what the weights must be: `base` for applying, `result` for removing.
    """
    for name, entry in patch.entries.items():
        _require_fits(name, weights.get(name), entry)
    require_base(weights, patch, state)
    _require_outcome(weights, patch, "base" if state == "result" else "result")


def _copied(
    weights: Mapping[str, Tensor], patch: Patch, state: str, strength: float = 1.0
) -> dict[str, Tensor]:
    require_strength(strength)
    require_applies(weights, patch, state)
    _require_finite(weights, patch, strength)
    flipped = _Flipped(weights, patch, strength)
    return {name: flipped[name] for name in weights}


def _in_place(
    weights: Mapping[str, Tensor], patch: Patch, state: str | None, strength: float = 1.0
) -> None:
    require_strength(strength)
    if state is not None:
        require_applies(weights, patch, state)
    for name, entry in patch.entries.items():
        _require_fits(name, weights.get(name), entry)
    _require_finite(weights, patch, strength)
    _flip(weights, patch.entries, strength)


def _require_finite(weights: Mapping[str, Tensor], patch: Patch, strength: float) -> None:
    """Raise PatchError where a weight would leave the numbers of its type; nothing is changed."""
    if strength in (0, 1):  # values that are there, of the base or of the patch
        return
    for name, entry in patch.entries.items():
        if not bool(moved_values(weights[name], entry, strength).isfinite().all()):
            raise PatchError(
                f"at strength {strength:g} {name} would hold values that are not finite in "
                f"{entry.dtype}; give a strength between 0 and 1"
            )


@torch.no_grad()
def _flip(
    weights: Mapping[str, Tensor], entries: Mapping[str, PatchEntry], strength: float = 1.0
) -> None:
    for name, entry in entries.items():
        weight = weights[name].detach()
        flat = weight.reshape(-1)  # a copy where the weight is not contiguous
        moved = moved_values(flat, entry, strength)
        flat[entry.positions(flat.device)] = moved.to(flat.device, flat.dtype)
        if flat.data_ptr() != weight.data_ptr():
            weight.copy_(flat.view(weight.shape))


def moved_values(weight: Tensor, entry: PatchEntry, strength: float) -> Tensor:
    """Values of the k weights that move, after it: (k,) in the type of the patch, on the CPU, since
    not every device has float64.

    Args:
        weight: of the base, in the type of the patch or a wider one, on any device.
        entry: of the same weight.
        strength: see `apply_patch`.
    """
    flat = weight.detach().reshape(-1)
    base = flat[entry.positions(flat.device)].to("cpu", entry.dtype)
    edited = (base.view(entry.difference.dtype) ^ entry.difference).view(entry.dtype)
    return between(base, edited, strength)


def _require_fits(name: str, weight: Tensor | None, entry: PatchEntry) -> None:
    if weight is None or tuple(weight.shape) != entry.shape:
        fault = "it is not there" if weight is None else f"its shape is {tuple(weight.shape)}"
        raise PatchError(
            f"the patch changes {name} of shape {entry.shape}, but {fault}; "
            "give the model it was made for"
        )
    if torch.promote_types(weight.dtype, entry.dtype) != weight.dtype:
        raise PatchError(
            f"the patch is for {name} in {entry.dtype}, but it is in {weight.dtype}; load the "
            "model in the type it is stored in"
        )
