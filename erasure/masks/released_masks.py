"""Masks of the paper's released code: name -> int64 tensor of 0 and 1, CompVis UNet names.

Names may carry `module.` or `model.diffusion_model.`; diffusers names are read too. The release
writes pickles (6.9 GB for SD 1.x), which can run code when opened, so they need a yes; the same
tensors in a safetensors file are read freely.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure.checkpoints.layout.unet import diffusers_names, original_names
from erasure.errors import CheckpointError, MaskError, way
from erasure.masks.masks import MaskInfo, SaliencyMask
from erasure.masks.packed import PackedBits
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.pickles import plain_tensor
from erasure.storage.tensors.tensor_file import tensors_in

_PREFIX: Final = re.compile(r"^(module\.|model\.diffusion_model\.)+")
_ORIGINAL: Final = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "out.")
_NUMBERS: Final = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
)
_PICKLES: Final = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def load_released_mask(path: Path, *, allow_pickle: bool = False, base: str = "") -> SaliencyMask:
    """Read a mask file of the released code, or its tensors stored as safetensors.

    Args:
        path: `.safetensors`, or a pickle (`.pt`, `.pth`, `.bin`, `.ckpt`, `.pkl`).
        allow_pickle: read pickles, with `weights_only=True`, which opens tensors alone.
        base: hash of the model the caller says it belongs to; the file itself does not tell.

    Raises:
        MaskError: the file is missing, damaged, a pickle without `allow_pickle`, or no such mask.
    """
    if not require_regular(path, MaskError).is_file():
        raise MaskError(f"there is no mask file {path}; give the path of one")
    is_pickle = path.suffix.lower() in _PICKLES
    if is_pickle and not allow_pickle:
        raise MaskError(
            f"{path} is a pickle, which can run code when opened; if you trust it, pass ",
            way("allow_pickle", True),
            ", or save its tensors as .safetensors first",
        )
    values = _read_pickle(path) if is_pickle else _read_safetensors(path)
    try:
        return from_released(values, base=base)
    except MaskError as err:
        raise MaskError(f"{path}: ", err) from err


def from_released(values: Mapping[str, Tensor], *, base: str = "") -> SaliencyMask:
    """A mask under diffusers names from tensors of 0 and 1 of any usual number type.

    The release ranks the whole UNet, so names of a whole UNet are wanted, and its density is
    taken to be the share of ones.

    Raises:
        MaskError: a value is neither 0 nor 1, the numbers are of an unusual type, or the names are
            not those of one UNet.
    """

    def entries() -> Iterator[tuple[str, Tensor]]:
        for name, new in _new_names(values).items():
            if values[name].dtype not in _NUMBERS:
                raise MaskError(
                    f"{name} is stored as {values[name].dtype}, as no mask is; give it in uint8"
                )
            entry = values[name] == 1
            if torch.count_nonzero(entry) != torch.count_nonzero(values[name]):
                raise MaskError(f"{name} holds values other than 0 and 1; this is no mask")
            yield new, entry

    mask = SaliencyMask(PackedBits.of(entries()), MaskInfo(base=base))
    if not mask.selected:
        raise MaskError("the mask selects no weight; make another")
    return mask.with_info(MaskInfo(density=mask.density, base=base))


def _new_names(names: Iterable[str]) -> dict[str, str]:
    """Name in the file -> diffusers name."""
    in_file = list(names)
    plain = [_PREFIX.sub("", name) for name in in_file]
    if len(set(plain)) < len(plain):
        raise MaskError("two names of the mask differ only in their prefix; keep one of them")
    try:
        if any(name.startswith(_ORIGINAL) for name in plain):
            new = diffusers_names(plain)
            return {old: new[name] for old, name in zip(in_file, plain, strict=True)}
        original_names(plain)  # Only to refuse names of another architecture.
    except CheckpointError as err:
        raise MaskError(f"this is no mask of a Stable Diffusion UNet: {err}") from err
    return dict(zip(in_file, plain, strict=True))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return tensors_in(file)
    except (SafetensorError, OSError) as err:
        raise MaskError(f"{path} is damaged, unreadable or no safetensors file") from err


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # Mapped, so that 6.9 GB of int64 need not fit in memory; only zip files can be.
        values = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as err:  # what is damaged in a pickle may raise anything
        raise MaskError(f"{path} is damaged, or holds more than tensors") from err
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items()
    ):
        raise MaskError(f"{path} is no dict of tensors, so no mask of the released code")
    try:
        return {name: plain_tensor(value, name, path) for name, value in values.items()}
    except CheckpointError as err:
        raise MaskError(str(err)) from err
