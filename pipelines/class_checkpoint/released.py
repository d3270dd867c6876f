"""Turn a checkpoint of SalUn's DDPM into a folder that all commands take, value by value.

    python -m pipelines.class_checkpoint.released ckpt.pth --out FOLDER --allow-pickle

The release pickles a list: the weights, the optimiser's state, the step, and the averaged weights
where it kept them. Only tensors and plain values are read, with `weights_only=True`.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor

from erasure.architectures.labels.released import CLASS, PIPELINE
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import CheckpointError, ErasureError
from erasure.storage.bare_names import shown
from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.pickles import plain_tensor
from erasure.storage.tensors.tensor_file import write_tensors
from pipelines.class_checkpoint.recipe import noise_schedule

_WRAPPED: Final = "module."
"""What a network in several processes puts before each name."""
_AVERAGED: Final = 3
"""Place of the averaged weights in the list."""


def convert(path: Path, out: Path, *, side: int = 32, averaged: bool = False) -> Path:
    """Write the folder of a released checkpoint and read it again; returns it.

    Args:
        path: of the pickle.
        out: the folder, which must not exist.
        side: pixels a side that the network was trained on; the file does not say.
        averaged: take the averaged weights in place of those of the last step.

    Raises:
        CheckpointError: the file cannot be read so, holds no such network, or `out` exists.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists; give another --out, or remove it")
    if side < 1:
        raise CheckpointError(f"side is {side} pixels; give 1 or more: 32, or 64 for STL-10")
    weights = _weights(path, averaged=averaged)
    config = config_of(weights, side, str(path))
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as beside, disk_errors(out):
        folder = Path(beside) / "model"
        _write(folder, weights, config)
        read_checkpoint(folder)  # so that nothing stays of what is refused
        folder.replace(out)
    return out


def _write(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    index = {"_class_name": PIPELINE, "unet": ["erasure", CLASS]}
    scheduler: Any = noise_schedule()
    scheduler.save_pretrained(folder / "scheduler")
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    write_tensors(folder / "unet" / "diffusion_pytorch_model.safetensors", weights, {})
    for file, content in (("unet/config.json", config), ("model_index.json", index)):
        write_json(folder / file, content)


def config_of(weights: Mapping[str, Tensor], side: int, where: str) -> dict[str, Any]:
    """Read the sizes of the network off the shapes of its weights.

    Raises:
        CheckpointError: they are not those of such a network.
    """
    try:
        width, channels = weights["conv_in.weight"].shape[:2]
        levels = _count(weights, r"down\.(\d+)\.")
        wide = [weights[f"down.{n}.block.0.conv1.weight"].shape[0] for n in range(levels)]
        classes = weights["classes_emb.weight"].shape[0]
        blocks = _count(weights, r"down\.0\.block\.(\d+)\.")
        multipliers = [one // width for one in wide]
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as err:
        raise CheckpointError(
            f"{where} has no weights of the DDPM of SalUn's release ({err}); give its ckpt.pth"
        ) from err
    return {
        "_class_name": CLASS,
        "sample_size": side,
        "in_channels": channels,
        "num_class_embeds": classes + 1,
        "width": width,
        "multipliers": multipliers,
        "blocks": blocks,
        "attention": [side >> n for n in range(levels) if f"down.{n}.attn.0.q.weight" in weights],
    }


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max(int(m[1]) for name in weights if (m := re.match(pattern, name)))


def _weights(path: Path, *, averaged: bool) -> dict[str, Tensor]:
    try:
        content = torch.load(require_regular(path), map_location="cpu", weights_only=True)
    except Exception as err:  # what is damaged in a pickle may raise anything
        reason = str(err).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True ({reason}); give the ckpt.pth of the "
            "release"
        ) from err
    place = _AVERAGED if averaged else 0
    parts: Sequence[Any] = content if isinstance(content, list) else [content]
    state = parts[place] if place < len(parts) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path} holds no {'averaged ' if averaged else ''}weights in its place {place}; leave "
            "--averaged out, or give the ckpt.pth of the release"
        )
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        own = str(name).removeprefix(_WRAPPED)
        if not isinstance(value, Tensor) or own in weights:
            what = "is there twice" if own in weights else "is no tensor"
            raise CheckpointError(
                f"{path} holds an entry {shown(own)} that {what}; give the ckpt.pth of the release"
            )
        weights[own] = plain_tensor(value, own, path).contiguous()
    return weights


def main() -> int:
    """Convert the file that is named."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.class_checkpoint.released")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=32, help="pixels; 64 for STL-10")
    parser.add_argument("--averaged", action="store_true", help="take the averaged weights")
    parser.add_argument("--allow-pickle", action="store_true", help="the file is a pickle")
    options = parser.parse_args()
    try:
        if not options.allow_pickle:
            raise CheckpointError(
                f"{options.file} is a pickle, which can run code when it is opened; give "
                "--allow-pickle to read it with weights_only=True"
            )
        written = convert(options.file, options.out, side=options.side, averaged=options.averaged)
        print(written)
    except ErasureError as err:
        print(err, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
