"""Compare what a checkpoint holds with what its config asks for."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from torch import Tensor

from erasure.checkpoints.checks.finite import is_finite
from erasure.checkpoints.wording import counted, few
from erasure.errors import CONFIG, CheckpointError, Worded
from erasure.storage.tensors.mapped import let_go

_OWN_SIZES: Final = (
    "for a model with its own sizes give ",
    CONFIG,
    " with its diffusers configs",
)


def require_names(
    names: Collection[str],
    wanted: Collection[str],
    where: str,
    *,
    remedy: Sequence[str | Worded] = ("it is incomplete, fetch it again",),
) -> None:
    """Raise CheckpointError where names of `wanted` are not in `names`."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise CheckpointError(
            f"{where} lacks {len(missing)} of {len(wanted)} weights ({few(missing)}); ",
            *remedy,
        )


def require_no_more(names: Collection[str], wanted: Collection[str], where: str) -> None:
    """Raise CheckpointError where `names` has names that are not in `wanted`."""
    surplus = sorted(set(names) - set(wanted))
    if surplus:
        raise CheckpointError(
            f"{where} has {counted(len(surplus))} its architecture has no place for "
            f"({few(surplus)}); only plain models of the supported families can be edited"
        )


def require_shapes(
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    where: str,
    *,
    remedy: Sequence[str | Worded] = _OWN_SIZES,
) -> None:
    """Raise CheckpointError where a weight has not the shape its config asks for."""
    wrong = [name for name in wanted if weights[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{where} has {counted(len(wrong))} of another shape than the config says ({name} is "
            f"{list(weights[name].shape)}, not {list(wanted[name].shape)}); ",
            *remedy,
        )


def require_finite(
    components: Mapping[str, Mapping[str, Tensor]], path: Path, sources: Mapping[str, Path]
) -> None:
    """Raise CheckpointError where a weight is NaN or infinite, naming component and tensor.

    Each weight is read once and not copied. Pages of mapped files that were read for it are let go,
    so that a model which is only looked at does not fill the memory.

    Args:
        path: of the model.
        sources: component -> where it is from, of those that are not from there.
    """
    for component, weights in components.items():
        broken = [name for name, weight in weights.items() if not is_finite(weight)]
        if broken:
            place = sources.get(component, path)
            raise CheckpointError(
                f"the {component} of {place} has NaN or infinite values in {counted(len(broken))} "
                f"({few(broken)}), so it can neither draw nor be trained; fetch it again, or make "
                "it again in a wider type"
            )
        let_go(weights.values())
