"""Turn a classifier of UnlearnCanvas' release into a folder that `--judge` takes, value by value.

    python -m pipelines.reproducing.released_classifiers style50.pth --out FOLDER --allow-pickle

The release pickles the weights of a ViT-L/16 as timm names them. Neither the names of its classes
nor what is done to a picture stands in the file; they are those of the release's scripts. Only
tensors and plain values are read, with `weights_only=True`.

Source: arXiv:2402.11846, released code at 920cfd1, machine_unlearning/evaluation.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor

from erasure.errors import CheckpointError, ErasureError
from erasure.storage.bare_names import shown
from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json
from erasure.storage.regular_files import require_regular
from erasure.storage.tensors.pickles import plain_tensor
from erasure.storage.tensors.tensor_file import write_tensors
from eval.errors import EvalError
from eval.judges.transformers_judge import open_transformers
from prompts.concepts.unlearncanvas_concepts import SEED_IMAGES
from prompts.suites.unlearncanvas import OBJECTS, STYLES

LABELS: Final = (tuple(sorted((*STYLES, SEED_IMAGES))), OBJECTS)
"""Classes of the two heads in the order of their numbers."""
_WANTED: Final = "give style50.pth or style50_cls.pth of the release's cls_model"
_HEAD: Final = 64
"""Channels of an attention head, in timm's ViT-L as in its smaller ones."""
_BLOCK: Final = r"^blocks\.(\d+)\."
_LAYER: Final = r"vit.encoder.layer.\1."
_KIND: Final = r"(?=(?:weight|bias)$)"
_NAMES: Final = (
    # timm's name -> that of the folders on the hub.
    (r"^cls_token$", "vit.embeddings.cls_token"),
    (r"^pos_embed$", "vit.embeddings.position_embeddings"),
    (rf"^patch_embed\.proj\.{_KIND}", "vit.embeddings.patch_embeddings.projection."),
    (rf"{_BLOCK}norm1\.{_KIND}", f"{_LAYER}layernorm_before."),
    (rf"{_BLOCK}attn\.proj\.{_KIND}", f"{_LAYER}attention.output.dense."),
    (rf"{_BLOCK}norm2\.{_KIND}", f"{_LAYER}layernorm_after."),
    (rf"{_BLOCK}mlp\.fc1\.{_KIND}", f"{_LAYER}intermediate.dense."),
    (rf"{_BLOCK}mlp\.fc2\.{_KIND}", f"{_LAYER}output.dense."),
    (rf"^norm\.{_KIND}", "vit.layernorm."),
    (rf"^head\.{_KIND}", "classifier."),
)
_QKV: Final = re.compile(rf"{_BLOCK}attn\.qkv\.(weight|bias)$")
_PICTURES: Final[Mapping[str, Any]] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "resample": 2,  # bilinear, without keeping the sides' ratio
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def convert(path: Path, out: Path) -> Path:
    """Write the folder of a released classifier and open it as a judge; returns it.

    Args:
        path: of the pickle.
        out: the folder, which must not exist.

    Raises:
        CheckpointError: the file cannot be read so, holds no such network, or `out` exists.
        EvalError: what was written is no judge.
    """
    with disk_errors(out):
        there = out.exists()  # a name that is too long for the disk may raise
    if there:
        raise CheckpointError(f"{out} exists; give another --out, or remove it")
    weights = _weights(path)
    config = _config(weights, path)
    renamed = dict(_renamed(weights, path))
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(out), TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as beside:
        folder = Path(beside) / "judge"
        folder.mkdir()
        write_tensors(folder / "model.safetensors", renamed, {})
        size = {"height": config["image_size"], "width": config["image_size"]}
        write_json(folder / "config.json", config)
        write_json(folder / "preprocessor_config.json", {**_PICTURES, "size": size})
        open_transformers(str(folder))  # so that nothing stays of what is refused
        folder.replace(out)
    return out


def _config(weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The network as its weights' shapes have it."""
    try:
        width, _, patch, _ = weights["patch_embed.proj.weight"].shape
        places = weights["pos_embed"].shape[1] - 1
        inner = weights["blocks.0.mlp.fc1.weight"].shape[0]
        classes = weights["head.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as err:
        raise CheckpointError(
            f"{path} has no weights of a ViT as timm names them ({err}); {_WANTED}"
        ) from err
    labels = next((names for names in LABELS if len(names) == classes), None)
    if labels is None:
        raise CheckpointError(
            f"{path} tells {classes} classes apart, and the release's tell {len(LABELS[0])} styles "
            f"or {len(LABELS[1])} objects; {_WANTED}"
        )
    side = isqrt(max(places, 0))
    if not (width and patch and places and side * side == places and width % _HEAD == 0):
        raise CheckpointError(
            f"{path} has {width} channels, patches of {patch} pixels and {places} places, and a "
            f"ViT of the release has a multiple of {_HEAD} channels and a square of places; "
            f"{_WANTED}"
        )
    layers = sum(name.endswith(".attn.qkv.weight") for name in weights)
    numbers = {block[1] for name in weights if (block := re.match(_BLOCK, name))}
    if numbers != {str(number) for number in range(layers)}:
        raise CheckpointError(
            f"{path} has blocks of the numbers {', '.join(sorted(numbers))[:80]}, which do not "
            f"count from 0 with an attention in each; {_WANTED}"
        )
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": width // _HEAD,
        "layer_norm_eps": 1e-6,
        "patch_size": patch,
        "image_size": patch * side,
        "id2label": {str(index): name for index, name in enumerate(labels)},
        "label2id": {name: index for index, name in enumerate(labels)},
    }


def _renamed(weights: Mapping[str, Tensor], path: Path) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names that transformers reads; timm keeps query, key and value of all
    heads below each other in one."""
    for name, value in weights.items():
        if (together := _QKV.match(name)) is not None:
            number, kind = together.groups()
            if value.dim() == 0 or len(value) == 0 or len(value) % 3:
                raise CheckpointError(
                    f"{path} holds {shown(name)} of shape {tuple(value.shape)}, which is no query, "
                    f"key and value below each other; {_WANTED}"
                )
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                yield f"vit.encoder.layer.{number}.attention.attention.{part}.{kind}", rows
            continue
        for pattern, theirs in _NAMES:
            if re.match(pattern, name):
                yield re.sub(pattern, theirs, name), value
                break
        else:
            raise CheckpointError(
                f"{path} holds {shown(name)}, which no ViT of timm has; {_WANTED}"
            )


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(require_regular(path), map_location="cpu", weights_only=True)
    except Exception as err:  # what is damaged in a pickle may raise anything
        reason = str(err).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True ({reason}); {_WANTED}"
        ) from err
    state = content.get("model_state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no weights under model_state_dict; {_WANTED}")
    read = {str(name): plain_tensor(v, str(name), path).contiguous() for name, v in state.items()}
    for name, value in read.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path} holds {shown(name)}, which is not finite; {_WANTED}")
    return read


def main() -> int:
    """Convert the file that is named."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproducing.released_classifiers")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--allow-pickle", action="store_true", help="the file is a pickle")
    options = parser.parse_args()
    try:
        if not options.allow_pickle:
            raise CheckpointError(
                f"{options.file} is a pickle, which can run code when it is opened; give "
                "--allow-pickle to read it with weights_only=True"
            )
        print(convert(options.file, options.out))
    except (ErasureError, EvalError) as err:
        print(err, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
