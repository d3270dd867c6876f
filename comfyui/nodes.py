"""The three nodes: load a model with patches in it, put a patch on a model, look at a patch."""

from typing import Any, Final

import comfy.sd
import folder_paths
import torch
from comfy_api.v0_0_2 import ComfyExtension, io

from erasure.checkpoints.checks.quantised import refuse_quantised
from erasure.errors import ErasureError
from erasure.patches.single_file_patch import patch_single_file
from erasure.patches.strength import MOST
from erasure.storage.tensors.tensor_file import read_tensors

from . import files, reports
from .applying import apply_to_model

CATEGORY: Final = "erasure"
SLOTS: Final = 3
"""Patches that one Load node takes; more are joined before by `erasure patch stack`."""


def _strength(name: str = "strength") -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=-MOST,
        max=MOST,
        step=0.05,
        tooltip="0 is the base and 1 the whole edit; other numbers lie between or beyond them.",
    )


def _patch(name: str = "patch", *more: str) -> io.Combo.Input:
    """The choice of a patch, behind what else may be chosen; the first of that is the default."""
    return io.Combo.Input(
        name,
        options=[*more, *files.patch_names()],
        default=more[0] if more else None,
        tooltip="What takes a concept out of the model that it was made for: a file that `erasure "
        f"export --to patch` wrote, in models/{files.PATCHES}. Press R after putting one there.",
    )


class LoadModelWithErasure(io.ComfyNode):
    """File and patches -> MODEL, CLIP, VAE; the weights are patched before the model is built."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        more: list[Any] = []
        for n in range(2, SLOTS + 1):
            more += [_patch(f"patch_{n}", files.NONE), _strength(f"strength_{n}")]
        return io.Schema(
            node_id="ErasureLoadModel",
            display_name="Load Model with Erasure",
            category=CATEGORY,
            description="Loads a model with the edits of patches in it. The patches are put into "
            "the weights before the model is built, after their base was checked, so what is "
            "loaded is the edited model to the bit.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=files.model_names(),
                    tooltip="The model that the patches were made for: a safetensors file in "
                    f"models/{' or models/'.join(files.MODELS)}.",
                ),
                _patch(),
                _strength(),
                *more,
            ],
            outputs=[
                io.Model.Output(),
                io.Clip.Output(),
                io.Vae.Output(),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model_name: str,
        patch: str,
        strength: float,
        **more: Any,  # noqa: ANN401
    ) -> io.NodeOutput:
        path = files.model_path(model_name)
        wanted = [
            (name, files.read_patches(name), much) for name, much in _chosen(patch, strength, more)
        ]
        file = read_tensors(path)
        refuse_quantised(file.tensors, file.metadata, str(path))
        tensors = patch_single_file(file.tensors, [(patches, much) for _, patches, much in wanted])
        built = comfy.sd.load_state_dict_guess_config(
            tensors,
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            metadata=dict(file.metadata),
        )
        if built is None:
            raise ErasureError(f"ComfyUI cannot tell what model {path} holds; load another file")
        return io.NodeOutput(*built[:3], reports.loaded(wanted))

    @classmethod
    def fingerprint_inputs(
        cls,
        model_name: str,
        patch: str,
        strength: float,
        **more: Any,  # noqa: ANN401
    ) -> str:
        chosen = [files.patch_path(name) for name, _ in _chosen(patch, strength, more)]
        return files.fingerprint(files.model_path(model_name), *chosen)


def _chosen(patch: str, strength: float, more: dict[str, Any]) -> list[tuple[str, float]]:
    """Name and strength of each patch that is set."""
    rest = [(more.get(f"patch_{n}"), more.get(f"strength_{n}", 1.0)) for n in range(2, SLOTS + 1)]
    return [(patch, strength), *((n, s) for n, s in rest if n not in (None, files.NONE))]


class ApplyErasure(io.ComfyNode):
    """MODEL and patch -> MODEL; stacks with other patches and LoRAs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ErasureApply",
            display_name="Apply Erasure",
            category=CATEGORY,
            description="Puts a patch on a model, as a LoRA node does: it stacks, and its strength "
            "can be changed without loading again. Right to rounding; for the very weights use "
            "Load Model with Erasure.",
            inputs=[
                io.Model.Input("model"),
                _patch(),
                _strength(),
            ],
            outputs=[io.Model.Output(), io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(cls, model: Any, patch: str, strength: float) -> io.NodeOutput:  # noqa: ANN401
        patches = files.read_patches(patch)
        made = apply_to_model(model, patches, strength)
        return io.NodeOutput(made, reports.applied(patch, patches, strength))

    @classmethod
    def fingerprint_inputs(cls, patch: str, **more: Any) -> str:  # noqa: ANN401
        return files.fingerprint(files.patch_path(patch))


class ErasureInfo(io.ComfyNode):
    """Patch -> what it says of itself, and the picture beside it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ErasureInfo",
            display_name="Erasure Info",
            category=CATEGORY,
            description="What a patch takes out of which model, and how many weights it moves; and "
            "the picture of the same name beside it, such as the grid of a run.",
            inputs=[_patch()],
            outputs=[io.String.Output(display_name="text"), io.Image.Output()],
        )

    @classmethod
    def execute(cls, patch: str) -> io.NodeOutput:
        path = files.patch_path(patch)
        text, shown = reports.about(patch, files.read_patches(patch)), reports.picture(path)
        if shown is None:
            text += f"\nThere is no {path.with_suffix('.png').name} beside it to show."
            shown = torch.full((1, 64, 64, 3), 0.5)
        return io.NodeOutput(text, shown)

    @classmethod
    def fingerprint_inputs(cls, patch: str) -> str:
        path = files.patch_path(patch)
        beside = path.with_suffix(".png")
        return files.fingerprint(path, *([beside] if beside.is_file() else []))


class ErasureExtension(ComfyExtension):
    """The three nodes, as ComfyUI asks for them."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadModelWithErasure, ApplyErasure, ErasureInfo]


async def comfy_entrypoint() -> ErasureExtension:
    """Called once by ComfyUI when it starts."""
    files.register()
    return ErasureExtension()
