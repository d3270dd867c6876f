"""Which files of a component's folder hold its weights: plain or a variant, whole or in shards.

Both spellings of a variant's shards are read, `NAME.fp16-00001-of-00002.safetensors` and
`NAME-00001-of-00002.fp16.safetensors`, and both of its index, `NAME.safetensors.index.fp16.json`
and `NAME.fp16.safetensors.index.json`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from erasure.checkpoints.checks.containment import inside
from erasure.checkpoints.description import read_json
from erasure.checkpoints.reading.checking import require_names
from erasure.checkpoints.wording import few, listed
from erasure.errors import CheckpointError
from erasure.storage.bare_names import require_bare
from erasure.storage.tensors.pickles import read_pickle
from erasure.storage.tensors.tensor_file import TensorFile, read_tensors

_PLAIN: Final = "plain"
_BY_INDEX: Final = "diffusion_pytorch_model"
"""The stem of diffusers, which looks for an index first; transformers looks for one file."""
_LAST: Final = ("non_ema",)
"""Variants that are taken only where there is no other: the weights before averaging."""
_FOREIGN: Final = (".onnx", ".msgpack", ".h5", ".gguf", ".pb", ".xml")


@dataclass
class _Set:
    """One set of weights: a file, or shards and perhaps their index."""

    whole: Path | None = None
    index: Path | None = None
    shards: dict[int, Path] = field(default_factory=dict)
    """Number -> file."""
    count: int = 0
    """How many shards there should be, as their names say."""


def read_weights(
    folder: Path, stem: str, pickled_stem: str, *, root: Path, allow_pickle: bool = False
) -> TensorFile:
    """Read one set of a component's weights; a note says which, where there are several.

    A plain set comes before variants, of these fp16 first, and pickles last. Where a set is there
    as one file and in shards that an index names, the one is read that the library of the component
    loads: diffusers takes the shards, transformers the file.

    Args:
        folder: of the component.
        stem: name of its `.safetensors` file without the ending.
        pickled_stem: the same of its `.bin` file.
        root: of the model; no file may lead out of it.
        allow_pickle: whether `.bin` files are read, too.

    Raises:
        CheckpointError: there is none, a shard is missing, or a file is damaged or refused.
    """
    for start, ending in ((stem, "safetensors"), (pickled_stem, "bin")):
        sets = _find_sets(folder, start, ending)
        if sets:
            variant = min(sets, key=lambda name: (name in _LAST, name != _PLAIN, name != "fp16"))
            notes = _several(folder, sets, variant)
            chosen, doubled = _once(folder, sets[variant], by_index=start == _BY_INDEX)
            weights = _read_set(folder, chosen, root, allow_pickle=allow_pickle)
            return replace(weights, notes=(*notes, *doubled))
    raise CheckpointError(_none(folder, f"{stem}.safetensors"))


def has_weights(folder: Path, stem: str, pickled_stem: str) -> bool:
    """Whether `read_weights` has anything to read there."""
    return bool(_find_sets(folder, stem, "safetensors") or _find_sets(folder, pickled_stem, "bin"))


def _find_sets(folder: Path, stem: str, ending: str) -> dict[str, _Set]:
    """Variant -> its files; `plain` is the set without a variant in its names."""
    variant = r"(?:\.(?P<{}>[\w-]+?))?"
    name = re.compile(
        re.escape(stem)
        + variant.format("a")
        + r"(?:-(?P<number>\d{5})-of-(?P<count>\d{5}))?"
        + variant.format("b")
        + rf"\.{ending}(?P<index>\.index{variant.format('c')}\.json)?"
    )
    sets: dict[str, _Set] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = name.fullmatch(file.name)
        if match is None or file.is_dir():
            continue  # what is no regular file is refused by name when it is read
        one = sets.setdefault(match["a"] or match["b"] or match["c"] or _PLAIN, _Set())
        if match["index"]:
            one.index = file
        elif match["number"]:
            one.shards[int(match["number"])] = file
            one.count = max(one.count, int(match["count"]))
        else:
            one.whole = file
    return sets


def _once(folder: Path, chosen: _Set, *, by_index: bool) -> tuple[_Set, tuple[str, ...]]:
    """One way to read a set, and a note where there are two.

    An index of which shards are gone was left by an earlier writing, and does not count.
    """
    complete = chosen.shards and len(chosen.shards) == chosen.count
    if chosen.whole is None or chosen.index is None or not complete:
        return chosen, ()
    taken = "the shards are" if by_index else f"{chosen.whole.name} is"
    note = f"{folder} holds its weights as one file and in shards; {taken} taken"
    return replace(chosen, whole=None) if by_index else chosen, (note,)


def _read_set(folder: Path, chosen: _Set, root: Path, *, allow_pickle: bool) -> TensorFile:
    def read(file: Path) -> TensorFile:
        inside(file, root)
        return (
            read_pickle(file, allowed=allow_pickle) if file.suffix == ".bin" else read_tensors(file)
        )

    if chosen.whole is not None:
        return read(chosen.whole)
    places = _places(inside(chosen.index, root)) if chosen.index is not None else {}
    names = sorted(set(places.values())) or _numbered(folder, chosen)
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{folder} lacks {len(absent)} of the {len(names)} files of its weights "
            f"({few(absent)}); fetch the model again"
        )
    files = [read(folder / name) for name in names]
    tensors = {name: weight for file in files for name, weight in file.tensors.items()}
    require_names(tensors, places, str(folder))
    return TensorFile(tensors, files[0].metadata)


def _places(index: Path) -> dict[str, str]:
    """Weight -> bare name of the file that holds it."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} has no weight_map; fetch it again")
    return {weight: require_bare(name, f"weight_map of {index}") for weight, name in places.items()}


def _numbered(folder: Path, chosen: _Set) -> list[str]:
    """Shards by their numbers, where no index names them."""
    absent = [number for number in range(1, chosen.count + 1) if number not in chosen.shards]
    if absent or not chosen.shards:
        raise CheckpointError(
            f"{folder} has {len(chosen.shards)} of {chosen.count} shards of its weights, and no "
            "index that names them; fetch the model again"
        )
    return [chosen.shards[number].name for number in sorted(chosen.shards)]


def _several(folder: Path, sets: dict[str, _Set], taken: str) -> tuple[str, ...]:
    if len(sets) == 1:
        return ()
    return (f"{folder} holds several sets of weights, {listed(sorted(sets))}; {taken} is taken",)


def _none(folder: Path, wanted: str) -> str:
    others = _others(folder)
    if not folder.is_dir() or not others:
        return f"{folder} has no {wanted}; the pipeline folder is incomplete"
    return (
        f"{folder} has no {wanted}, but {few(others)}, which cannot be read; give the model as "
        ".safetensors"
    )


def _others(folder: Path) -> Sequence[str]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file.name for file in files if file.suffix in _FOREIGN]
