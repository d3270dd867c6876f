"""Write LoRA files: thin factors, or full differences, by kohya's names or those of diffusers."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.layout.clip import PREFIX
from erasure.errors import CheckpointError, Way, way
from erasure.lora.extracting import moved_in
from erasure.lora.names import Naming, Place, known_naming, spelled
from erasure.lora.rows import Fused, fused_names
from erasure.lora.stated import ADAPTER, OURS
from erasure.solving.factors import Factors
from erasure.storage.disk import refuse_taken_file
from erasure.storage.tensors.tensor_file import DATA_HASH, write_tensors


@dataclass(frozen=True, slots=True)
class WrittenLora:
    """What came out."""

    path: Path
    layers: int
    rank: int
    """The largest of any layer; 0 of full differences."""
    alpha: float
    """The same of every layer of a file with kohya's names; 0 of full differences."""
    numbers: int
    """How many numbers the file holds."""


def write_lora(
    path: Path,
    factors: Mapping[str, Mapping[str, Factors]],
    checkpoint: Checkpoint,
    *,
    naming: Naming = "kohya",
    alpha: float | None = None,
    dtype: torch.dtype = torch.float32,
    words: Mapping[str, str] | None = None,
    force: bool = False,
) -> WrittenLora:
    """Write factors of weights; every layer's alpha is stated.

    With kohya's names all layers have one alpha, whatever their ranks: some readers look at one
    alone. What is added is alpha / rank up down in every reader, so the factors are scaled to it.
    With the names of diffusers each layer's alpha is its rank, so that readers that pass over the
    header's settings add the same.

    Args:
        path: ends in `.safetensors`.
        factors: component -> name of a weight -> what is added to it.
        checkpoint: whose layers they are.
        alpha: of kohya's form; the largest rank if none.
        dtype: type of the numbers.
        words: of this package, for the header.
        force: replace what is there.

    Raises:
        CheckpointError: wrong ending, path in the way, no factors, or a number that is not finite
            in the type, or an alpha that is 0 in it.
        ConfigError: the family has no such names.
    """
    require_place(path, force=force)
    flat = {
        Place(component, name.removesuffix(".weight")): one
        for component, own in factors.items()
        for name, one in own.items()
        if len(one.down)  # none of a change of zero, which no reader could scale
    }
    if not flat:
        raise CheckpointError("there are no factors to write; give an edit that has any")
    ranks = {place: len(one.down) for place, one in flat.items()}
    named = _named(flat, checkpoint, naming)
    top = max(len(one.down) for one, _ in named.values())
    common = _alpha(float(top if alpha is None else alpha), dtype)
    tensors: dict[str, Tensor] = {}
    for key, (one, shape) in named.items():
        scale = len(one.down) / common if naming == "kohya" else 1.0
        up, down = (scale * one.up).float(), one.down.float().reshape(-1, *shape[1:])
        up = up if len(shape) == 2 else up[:, :, None, None]
        parts = (".lora_up", ".lora_down") if naming == "kohya" else (".lora_B", ".lora_A")
        tensors |= {f"{key}{parts[0]}.weight": up, f"{key}{parts[1]}.weight": down}
        if naming == "kohya":
            tensors[f"{key}.alpha"] = torch.tensor(common)
    require_finite(tensors, dtype)
    header = _header(checkpoint, words or {})
    if naming == "kohya":
        kernels = any(tensor.dim() == 4 for tensor in tensors.values())
        header |= _kohya_words(checkpoint, top, common, kernels=kernels)
    else:
        header[ADAPTER] = json.dumps(_peft(ranks), sort_keys=True)
    write_tensors(path, tensors, header, dtype=dtype)
    numbers = sum(t.numel() for t in tensors.values())
    return WrittenLora(path, len(flat), top, common, numbers)


def _alpha(alpha: float, dtype: torch.dtype) -> float:
    """An alpha as a file of that type holds it: readers divide by what stands there."""
    stored = float(torch.tensor(alpha, dtype=torch.float64).to(dtype))
    if not 0 < stored < inf:
        raise CheckpointError(
            f"the alpha {alpha:g} is {stored:g} as {dtype}; give another, or a wider type with ",
            Way("--dtype fp32", "dtype=torch.float32"),
        )
    return stored


def _named(
    flat: Mapping[Place, Factors], checkpoint: Checkpoint, naming: Naming
) -> dict[str, tuple[Factors, tuple[int, ...]]]:
    """Name in the file -> factors, and the shape of the weight that they are of.

    Raises:
        CheckpointError: kohya's names have no place for a layer.
        ConfigError: see `spelled`.
    """
    together = fused_names(checkpoint) if known_naming(naming) == "kohya" else {}
    if not together:
        names = spelled(checkpoint, naming)
        shapes = {p: checkpoint.components[p.component][p.weight].shape for p in flat}
        return {names[place]: (one, tuple(shapes[place])) for place, one in flat.items()}
    placed = {share.place for fused in together.values() for share in fused.shares}
    homeless = [place for place in flat if place not in placed]
    if homeless:
        raise CheckpointError(
            f"{homeless[0].module} of the {homeless[0].component} has factors, and kohya's names "
            "have no place for it; give ",
            way("naming", "diffusers"),
        )
    joined = {name: (fused.factors(flat), fused) for name, fused in together.items()}
    return {
        name: (one, _shape(fused, checkpoint))
        for name, (one, fused) in joined.items()
        if one is not None
    }


def _shape(fused: Fused, checkpoint: Checkpoint) -> tuple[int, ...]:
    """The shape of what a name stands for: a kernel of one layer, or a matrix of several."""
    place = fused.shares[0].place
    return (fused.rows, *checkpoint.components[place.component][place.weight].shape[1:])


def write_differences(
    path: Path,
    before: Checkpoint,
    after: Checkpoint,
    *,
    dtype: torch.dtype = torch.float32,
    words: Mapping[str, str] | None = None,
    force: bool = False,
) -> tuple[WrittenLora, float]:
    """Write whole differences of all weights that moved: `NAME.diff`, of a bias `NAME.diff_b`.

    ComfyUI and A1111 read them as they read a LoRA. Zeros are written too, so such a file is as
    large as the layers that moved. A1111 looks at a bias only beside a weight's difference, so one
    of zeros stands beside a bias that moved alone.

    Returns:
        What was written, and the largest distance of a weight from the edited one when a reader
        adds them in float32 and stores the sum in the base's type.

    Raises:
        CheckpointError: as `write_lora`; the two are equal, or no pair of base and edit.
    """
    require_place(path, force=force)
    names = spelled(before, "kohya")
    tensors: dict[str, Tensor] = {}
    off = 0.0
    for component, name, change in moved_in(before, after):
        module, _, kind = name.rpartition(".")
        key = names.get(Place(component, module))
        if key is None or kind not in ("weight", "bias"):
            raise CheckpointError(
                f"{name} of the {component} moved, and LoRA files have no name for it; give ",
                Way("--to patch", "the two models to save_patches"),
            )
        stored = change.to(dtype)
        old, new = before.components[component][name], after.components[component][name]
        tensors[f"{key}.diff" if kind == "weight" else f"{key}.diff_b"] = stored
        if kind == "bias":
            beside = before.components[component][f"{module}.weight"]
            tensors.setdefault(f"{key}.diff", torch.zeros(beside.shape, dtype=dtype))
        sums = (old.float() + stored.float()).to(old.dtype).double()
        off = max(off, float((sums - new.double()).abs().max()))
    require_finite(tensors, dtype)
    write_tensors(path, tensors, _header(before, words or {}), dtype=dtype)
    numbers = sum(t.numel() for t in tensors.values())
    layers = sum(name.endswith(".diff") for name in tensors)
    return WrittenLora(path, layers, 0, 0.0, numbers), off


def require_place(path: Path, *, force: bool) -> None:
    """Raise CheckpointError where a LoRA file cannot go to a path."""
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} must end in .safetensors, so that other tools read it")
    refuse_taken_file(path, force=force)


def require_finite(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Raise CheckpointError where a number is not finite in the type that it is written in."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor.to(dtype)).all()):
            raise CheckpointError(
                f"{name} is not finite as {dtype}; give a wider type with ",
                Way("--dtype fp32", "dtype=torch.float32"),
            )


def _header(checkpoint: Checkpoint, words: Mapping[str, str]) -> dict[str, str]:
    """What says whose LoRA it is: of ModelSpec 1.0.1, and of this package."""
    prediction = checkpoint.description.prediction_type
    family = checkpoint.architecture.modelspec.get(prediction, checkpoint.architecture.key)
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{family}/lora",
        "modelspec.implementation": checkpoint.architecture.implementation,
        "modelspec.prediction_type": "v" if prediction.startswith("v") else prediction,
        DATA_HASH: "",
        **{f"{OURS}{key}": value for key, value in words.items()},
    }


def _kohya_words(
    checkpoint: Checkpoint, rank: int, alpha: float, *, kernels: bool
) -> dict[str, str]:
    """The least that kohya's own extractor writes."""
    names = checkpoint.architecture.lora
    assert names is not None
    prediction = checkpoint.description.prediction_type
    version = names.version.get(prediction, "")
    own = {"conv_dim": str(rank), "conv_alpha": str(alpha)} if kernels else {}
    return {
        "ss_v2": str(version.startswith("sd_v2")),
        "ss_base_model_version": version,
        "ss_network_module": names.module,
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
        "ss_network_args": json.dumps(own),
    }


def _peft(ranks: Mapping[Place, int]) -> dict[str, Any]:
    """The settings of peft as diffusers writes them: every layer's alpha is its rank.

    Layers of CLIP are named without their first word, which peft finds with and without it: newer
    transformers have left it out, and diffusers takes it from the keys of a file alone.
    """
    settings: dict[str, Any] = {}
    for component in dict.fromkeys(place.component for place in ranks):
        own = {p.module: rank for p, rank in ranks.items() if p.component == component}
        clip = any(name.startswith(PREFIX) for name in own)
        start = "" if clip else "^"
        modules = {name.removeprefix(PREFIX): rank for name, rank in own.items()}
        common = Counter(modules.values()).most_common(1)[0][0]
        others = {f"{start}{name}": rank for name, rank in modules.items() if rank != common}
        set_to = {
            "r": common,
            "lora_alpha": common,
            "rank_pattern": others,
            "alpha_pattern": others,
            "target_modules": sorted(modules),
            "lora_bias": False,
            "use_dora": False,
        }
        settings |= {f"{component}.{key}": value for key, value in set_to.items()}
    return settings
