"""Write a complete diffusers folder, in one step: it is there whole or not at all."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import config_file, encoder_of, require_component_names
from erasure.checkpoints.provenance import FILE_NAME, Provenance
from erasure.checkpoints.reading.reading_folder import EXTRAS_FILE, weights_file, weights_files
from erasure.checkpoints.writing.inventory import FILES, WEIGHTS, files_of, sealed_record
from erasure.checkpoints.writing.writing import Outgoing, Written, outgoing
from erasure.errors import CheckpointError
from erasure.local_paths import json_without_origin, without_origin
from erasure.storage.bare_names import require_bare, require_inside
from erasure.storage.claims import claimed
from erasure.storage.disk import disk_errors, refuse_existing, require_space
from erasure.storage.files import flush
from erasure.storage.tensors.casting import dtype_after
from erasure.storage.tensors.tensor_file import write_tensors
from erasure.storage.whole_folder import whole_folder


def write_folder(
    checkpoint: Checkpoint,
    path: Path,
    *,
    network: Mapping[str, Tensor] | None = None,
    provenance: Provenance | None = None,
    dtype: torch.dtype | None = None,
    card: str | None = None,
    force: bool = False,
) -> Written:
    """Write what `from_pretrained` of the family's diffusers pipeline loads.

    Args:
        checkpoint: where all but the main component comes from.
        path: the folder; it must not exist, or be a diffusers folder or empty and `force` be set.
        network: the edited main component, diffusers names; None writes the checkpoint's own.
        provenance: what was done to it; the last edit's `result_hash` is filled in. Goes into the
            header of its file and into `erasure.json`, with hashes of all that is written.
        dtype: type of the floating point weights; None keeps each tensor's own.
        card: text of `README.md`.
        force: replace what is there.

    Raises:
        CheckpointError: no tokenizer, path in the way or in use by another process, another
            network, a name that would leave the folder, a weight that is not finite in its type,
            disk full or read-only.

    Examples:
        >>> edit = erase(checkpoint, data, mask, SalUn(steps=2))
        >>> written = write_folder(
        ...     checkpoint, Path("edited"), network=edit.network, provenance=edit.provenance
        ... )
        >>> verify(written.path).passed
        True
    """
    refuse_existing(path, force=force)
    _require_replaceable(path)
    out = outgoing(checkpoint, path, network, provenance, dtype)
    names = checkpoint.description.tokenizers()
    tokenizers = {name: checkpoint.tokenizer_files(name) for name in names}
    _require_places(checkpoint, tokenizers)
    require_space(path, folder_size(checkpoint, dtype))
    with claimed(path):
        refuse_existing(path, force=force)  # another process may have ended since
        with disk_errors(path), whole_folder(path) as folder:
            _write_weights(checkpoint, out, folder, dtype)
            for name, config in _configs(checkpoint).items():
                _write_json(folder / config_file(name), config)
            for tokenizer, files in tokenizers.items():
                for name, content in files.items():
                    _write_bytes(folder / tokenizer / name, json_without_origin(content))
            for name, file in checkpoint.carried.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _copy(file, folder / name)
            _write_record(folder, out, checkpoint)
            if card is not None:
                _write_bytes(folder / "README.md", card.encode())
    return Written(path, out.network_hash, out.provenance, out.weights)


def folder_size(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> int:
    """Bytes the folder takes, headers and configs left out."""
    groups = [*checkpoint.components.values(), checkpoint.extras]
    tensors = [tensor for group in groups for tensor in group.values()]
    weights = sum(t.numel() * dtype_after(t, dtype).itemsize for t in tensors)
    return weights + sum(file.stat().st_size for file in checkpoint.carried.values())


def _write_record(folder: Path, out: Outgoing, checkpoint: Checkpoint) -> None:
    """`erasure.json`: the edits, and a hash of every component and of every other file there is.
    The card comes after it: people, and `evaluate --card`, write into that."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    others = [name for name in names if name not in weights_files(checkpoint.components)]
    record = (out.provenance or Provenance()).to_dict()
    words = {**record, WEIGHTS: dict(out.weights), FILES: files_of(folder, others)}
    _write_json(folder / FILE_NAME, sealed_record(words))


def _write_weights(
    checkpoint: Checkpoint, out: Outgoing, folder: Path, dtype: torch.dtype | None
) -> None:
    for component, weights in checkpoint.components.items():
        edited = component == checkpoint.architecture.main
        write_tensors(
            folder / component / weights_file(component),
            out.network if edited else weights,
            out.header() if edited else {},  # the record of all, in the file that was edited
            dtype=dtype,
        )
    if checkpoint.extras:
        write_tensors(folder / EXTRAS_FILE, checkpoint.extras, {}, dtype=dtype)


def _require_places(checkpoint: Checkpoint, tokenizers: Mapping[str, Mapping[str, bytes]]) -> None:
    """Raise CheckpointError where a name would leave the folder: the readers refuse such names,
    and this is the second wall."""
    require_component_names(checkpoint.description.model_index, f"{checkpoint.path}")
    for files in tokenizers.values():
        for name in files:
            require_bare(name, f"the tokenizer of {checkpoint.path}")
    for place in checkpoint.carried:
        require_inside(place, f"{checkpoint.path}")


def _configs(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    configs: dict[str, dict[str, Any]] = without_origin(dict(checkpoint.description.configs()))
    present = {name.partition("/")[0] for name in checkpoint.carried}
    present |= {"scheduler", *checkpoint.description.tokenizers(), *checkpoint.components}
    index = configs["model_index"]
    for name, value in index.items():
        if isinstance(value, list) and name not in present:
            index[name] = [None, None]  # a component whose files are not there
    # transformers loads a text encoder in the type its config names, diffusers all else in float32
    # unless told otherwise: half precision named here would make the two disagree.
    for tokenizer in checkpoint.description.tokenizers():
        text = configs[encoder_of(tokenizer)]
        text.pop("torch_dtype", None)
        text["dtype"] = "float32"
    return configs


def _require_replaceable(path: Path) -> None:
    """Even `force` removes only what is a model folder; a slip of the pen must not cost a home."""
    if path.is_dir() and any(path.iterdir()) and not (path / "model_index.json").is_file():
        raise CheckpointError(f"{path} is not empty and no diffusers folder; give another path")
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path} is a file; give the path of a folder")


def _copy(file: Path, to: Path) -> None:
    if file.suffix == ".json":
        _write_bytes(to, json_without_origin(file.read_bytes()))
    else:
        shutil.copyfile(file, to)
        flush(to)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    flush(path)  # the folder takes its name when all of it is on the disk
