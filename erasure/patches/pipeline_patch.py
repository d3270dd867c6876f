"""A patch in a pipeline of diffusers: put in for good, or for the length of a block."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erasure.checkpoints.layout.clip import with_prefix
from erasure.errors import PatchError
from erasure.patches.applying import apply_patch, require_applies
from erasure.patches.patch import Patch
from erasure.patches.patch_file import load_patches
from erasure.patches.strength import require_strength


def patch_pipeline(pipeline: Any, path: Path | str, strength: float = 1.0) -> None:  # noqa: ANN401
    """Put the edit of a patch file into a pipeline, in place: no copy of the model is made.

    At strength 1 the weights are those of the edited model and at 0 those of the base, to the bit;
    what comes out is held against the patch's hashes before anything changes. Between them, and up
    to 10 in either direction, a weight is base + strength * (edited - base), and no hash says what
    must come out.

    Args:
        pipeline: of diffusers, such as `StableDiffusionPipeline`, with the weights that the patch
            was made for, in the type it was made in or a wider one, on any device. Patch it before
            weights are offloaded to where they cannot be reached (`enable_sequential_cpu_offload`).
        path: a file that `erasure export --to patch` wrote.
        strength: how much of the edit.

    Raises:
        CheckpointError: there is no such file, or it is no safetensors file.
        ConfigError: the strength is no number from -10 to 10.
        PatchError: the file is damaged or no patch, or the pipeline is not what it was made for;
            then nothing was changed.

    Examples:
        >>> pipeline = StableDiffusionPipeline.from_pretrained("model")
        >>> patch_pipeline(pipeline, "church.patch", strength=0.8)
    """
    for weights, patch in _matched(pipeline, path, strength):
        apply_patch(weights, patch, strength=strength, check=False)


@contextmanager
def patched_pipeline(
    pipeline: Any,  # noqa: ANN401
    path: Path | str,
    strength: float = 1.0,
) -> Iterator[None]:
    """Put the edit of a patch file into a pipeline for the length of a `with` block.

    At its end every weight that moved gets the very bits back that it had, at any strength, also
    where the block raised an error or the pipeline went to another device. The weights that the
    patch does not name are not touched. Memory: the weights that move, once more, on the CPU.

    Args:
        pipeline: as in `patch_pipeline`.
        path: a file that `erasure export --to patch` wrote.
        strength: how much of the edit.

    Raises:
        CheckpointError: there is no such file, or it is no safetensors file.
        ConfigError: the strength is no number from -10 to 10.
        PatchError: as in `patch_pipeline`.

    Examples:
        >>> pipeline = StableDiffusionPipeline.from_pretrained("model")
        >>> with patched_pipeline(pipeline, "church.patch"):
        ...     pass  # draw what the edited model draws
    """
    matched = _matched(pipeline, path, strength)
    before = [(patch, _values(weights, patch)) for weights, patch in matched]
    try:
        for weights, patch in matched:
            apply_patch(weights, patch, strength=strength, check=False)
        yield
    finally:
        for patch, values in before:
            _put_back(_weights(pipeline, patch.info.component), patch, values)


def _matched(
    pipeline: Any,  # noqa: ANN401
    path: Path | str,
    strength: float,
) -> list[tuple[Mapping[str, Tensor], Patch]]:
    """Weights of the pipeline and the patch for them, checked against each other."""
    require_strength(strength)
    patches = load_patches(Path(path))
    matched = [(_weights(pipeline, name), patch) for name, patch in patches.items()]
    for weights, patch in matched:
        require_applies(weights, patch)
    return matched


def _weights(pipeline: Any, component: str) -> Mapping[str, Tensor]:  # noqa: ANN401
    """The weights of a component, shared with it, under the names that patches have for them."""
    network = getattr(pipeline, component, None)
    if not isinstance(network, nn.Module):
        raise PatchError(
            f"the patch changes the {component}, and {type(pipeline).__name__} has none; give the "
            "pipeline of the model it was made for"
        )
    weights = network.state_dict()
    if any(weight.is_meta for weight in weights.values()):
        raise PatchError(
            f"the weights of the {component} are offloaded and cannot be reached; patch the "
            "pipeline before offloading is enabled"
        )
    return with_prefix(weights) if component.startswith("text_encoder") else weights


def _values(weights: Mapping[str, Tensor], patch: Patch) -> dict[str, Tensor]:
    """The weights that the patch moves, as they are: name -> (k,), copies on the CPU."""
    return {
        name: weights[name].detach().reshape(-1)[entry.positions(weights[name].device)].cpu()
        for name, entry in patch.entries.items()
    }


@torch.no_grad()
def _put_back(weights: Mapping[str, Tensor], patch: Patch, values: Mapping[str, Tensor]) -> None:
    for name, entry in patch.entries.items():
        weight = weights[name].detach()
        flat = weight.reshape(-1)  # a copy where the weight is not contiguous
        flat[entry.positions(flat.device)] = values[name].to(flat)
        if flat.data_ptr() != weight.data_ptr():
            weight.copy_(flat.view(weight.shape))
