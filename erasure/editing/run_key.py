"""What makes two runs the same run: the hash by which a saved state is known."""

import hashlib
import inspect
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import TOKENS
from erasure.editing.own_code import imported_hash
from erasure.masks.mask_file import mask_hash
from erasure.masks.masks import SaliencyMask
from erasure.methods.protocol import Method
from erasure.storage.cache import content_key
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.train_config import TrainConfig
from erasure.training.unseen import UntilUnseen
from erasure.training.weights.low_rank import LowRank


def run_key(
    checkpoint: Checkpoint,
    data: ConceptData,
    mask: SaliencyMask,
    method: Method,
    *,
    origin: Mapping[str, Tensor] | None = None,
    until: UntilUnseen | None = None,
    low_rank: LowRank | None = None,
) -> str:
    """What makes two runs the same run; all of it decides the result, beyond rounding.

    Args:
        origin: weights whose answers are trained towards in place of the checkpoint's own.
        until: what may end the training.
        low_rank: how thin the factors are, where they move.
    """
    key = _key(checkpoint, data, mask, method)
    if origin is not None:
        key = content_key(run=key, origin=weights_hash(origin))
    if until is not None:
        key = content_key(run=key, until=until.key)
    if low_rank is not None:
        key = content_key(run=key, low_rank=repr(low_rank))
    return key


def _key(checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask, method: Method) -> str:
    fixed = method
    if isinstance(method, TrainConfig):
        fixed = replace(method, micro_batch=None)
    return content_key(
        base=checkpoint.network_hash(),
        **_of_component(checkpoint, mask.info.component),
        # Under the name of the first family, as saved states have been hashed since the first.
        unet=dict(checkpoint.description.components[checkpoint.architecture.main]),
        scheduler=dict(checkpoint.description.scheduler),
        data=weights_hash(_tensors(data)),
        mask=mask_hash(mask),
        method=f"{method.name} {fixed!r}",
        **({"code": code} if (code := code_of(method)) else {}),
    )


def code_of(method: Method) -> str:
    """Hash of the file that a method of the user's own stands in, and of the modules that it
    imports from beside it: once one is changed, a run is another one. Empty for a method of this
    package, and where no file can be read."""
    kind = type(method).__module__
    if kind.partition(".")[0] != __name__.partition(".")[0]:
        with suppress(OSError, TypeError, KeyError):
            module = sys.modules[kind]
            own = hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
            imported = imported_hash(Path(inspect.getfile(module)))
            return f"{own} {imported}" if imported else own
    return ""


def _tensors(data: ConceptData) -> dict[str, Tensor]:
    """All tensors of the data, by names that never change."""
    tensors = {
        "forget.mean": data.forget.mean,
        "forget.std": data.forget.std,
        "forget.prompt": data.forget.prompt,
        "replacements": data.replacements,
        "retain.mean": data.retain.mean,
        "retain.std": data.retain.std,
        "retain.prompt": data.retain.prompt,
    }
    # The names under which conditions have been hashed since the first saved states.
    for name, value in data.prompts.tensors.items():
        tensors["prompts" if name == TOKENS else f"added.{name}"] = value
    if data.owners is not None:
        tensors["owners"] = data.owners
    if data.anchors is not None:
        drawn = data.anchors.pictures
        tensors |= {"anchors.mean": drawn.mean, "anchors.std": drawn.std}
        tensors |= {"anchors.prompt": drawn.prompt, "anchors.targets": data.anchors.targets}
    if data.texts is not None:
        texts = data.texts
        tensors |= {"texts.forget": texts.forget, "texts.replacements": texts.replacements}
        tensors |= {"texts.retain": texts.retain, "texts.last": texts.last}
        if texts.concepts is not None:
            tensors["texts.concepts"] = texts.concepts
        if texts.pulls is not None:
            pulls = {entry.name: getattr(texts.pulls, entry.name) for entry in fields(texts.pulls)}
            tensors |= {f"texts.pulls.{name}": value for name, value in pulls.items()}
    return tensors


def _of_component(checkpoint: Checkpoint, component: str) -> dict[str, Any]:
    """What tells apart runs of another component than the main one, as its hash says nothing."""
    if component == checkpoint.architecture.main:
        return {}
    config = dict(checkpoint.description.components[component])
    base = checkpoint.hash_of(component)
    return {"component": component, "component_base": base, "component_config": config}
