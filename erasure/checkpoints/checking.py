"""Compare what a checkpoint holds with what its config asks for."""

from collections.abc import Collection, Mapping

from torch import Tensor

from erasure.checkpoints.wording import counted, few
from erasure.errors import CheckpointError


def require_names(
    found: Collection[str],
    wanted: Collection[str],
    where: str,
    *,
    remedy: str = "it is incomplete, fetch it again",
) -> None:
    """Raise CheckpointError where names of `wanted` are not in `found`."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CheckpointError(
            f"{where} lacks {len(missing)} of {len(wanted)} weights ({few(missing)}); {remedy}"
        )


def require_no_more(found: Collection[str], wanted: Collection[str], where: str) -> None:
    """Raise CheckpointError where `found` has names that are not in `wanted`."""
    surplus = sorted(set(found) - set(wanted))
    if surplus:
        raise CheckpointError(
            f"{where} has {counted(len(surplus))} its architecture has no place for "
            f"({few(surplus)}); only plain Stable Diffusion 1.x, 2.x and XL are supported"
        )


def require_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Raise CheckpointError where a weight has not the shape its config asks for."""
    wrong = [name for name in wanted if found[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{where} has {counted(len(wrong))} of another shape than the config says ({name} is "
            f"{list(found[name].shape)}, not {list(wanted[name].shape)}); for a model with its own "
            "sizes give --config FOLDER with its diffusers configs"
        )
