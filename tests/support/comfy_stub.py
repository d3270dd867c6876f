"""What the nodes use of ComfyUI, as its contract has it: written here, not taken from there.

`docs/comfyui.md` says against which version of the real code the nodes were run.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

Key = str | tuple[str, tuple[int, int, int]]
PREFIX = "diffusion_model."
IN_FILE = "model.diffusion_model."


class WeightAdapterBase:
    """Adapters are told from other patches by this class."""


class Model:
    """A `ModelPatcher`: weights that stay as they are, and patches that are computed on demand."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = dict(weights)
        self.patches: dict[str, list[tuple[float, Any, tuple[int, int, int] | None]]] = {}

    def clone(self) -> "Model":
        other = Model(self.weights)
        other.patches = {key: list(patches) for key, patches in self.patches.items()}
        return other

    def get_key_patches(self, prefix: str) -> dict[str, list[Any]]:
        return {k: [(w, None)] for k, w in self.weights.items() if k.startswith(prefix)}

    def add_patches(self, patches: Mapping[Key, Any], strength: float) -> list[Key]:
        taken: list[Key] = []
        for key, patch in patches.items():
            name, offset = (key, None) if isinstance(key, str) else key
            if name in self.weights:
                self.patches.setdefault(name, []).append((strength, patch, offset))
                taken.append(key)
        return taken

    def computed(
        self, dtype: torch.dtype = torch.float32, *, rebuilt: bool = False
    ) -> Mapping[str, Tensor]:
        """The weights with the patches in them, computed in a type, and stored in their own."""
        done = dict(self.weights)
        for name, patches in self.patches.items():
            weight = self.weights[name].to(dtype, copy=True)
            for strength, adapter, offset in patches:
                if rebuilt:  # as an adapter is when its tensors are brought to the device
                    moved = tuple(tensor.clone() for tensor in adapter.weights)
                    adapter = type(adapter)(adapter.loaded_keys, moved)
                assert isinstance(adapter, WeightAdapterBase)
                assert adapter.calculate_shape(name) is None
                rows = weight if offset is None else weight.narrow(*offset)
                out = adapter.calculate_weight(
                    rows, name, strength, 1.0, offset, lambda a: a, dtype, None
                )
                assert out is not None
                if offset is None:  # of rows, what stands in the weight itself is taken
                    weight = out
            done[name] = weight.to(self.weights[name].dtype)
        return done


def load_state_dict_guess_config(
    sd: dict[str, Tensor], embedding_directory: object = None, metadata: object = None
) -> tuple[Model, dict[str, Tensor], dict[str, Tensor], None] | None:
    """MODEL, CLIP and VAE; it empties what it is told, as the real one does."""
    if not any(name.startswith(IN_FILE) for name in sd):
        return None
    network = {n.removeprefix("model."): sd.pop(n) for n in list(sd) if n.startswith(IN_FILE)}
    clip = {n: sd.pop(n) for n in list(sd) if n.startswith("cond_stage_model.")}
    vae = {n: sd.pop(n) for n in list(sd) if n.startswith("first_stage_model.")}
    return Model(network), clip, vae, None


class _Kind:
    """A kind of input and output, such as `io.Float`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def Input(self, name: str, **more: Any) -> SimpleNamespace:  # noqa: ANN401
        return SimpleNamespace(kind=self.name, id=name, **more)

    def Output(self, **more: Any) -> SimpleNamespace:  # noqa: ANN401
        return SimpleNamespace(kind=self.name, **more)


class NodeOutput:
    def __init__(self, *args: Any) -> None:  # noqa: ANN401
        self.args = args


def _modules(models: Path) -> Iterator[tuple[str, ModuleType]]:
    places: dict[str, tuple[list[str], set[str]]] = {
        "checkpoints": ([str(models / "checkpoints")], {".safetensors", ".ckpt"}),
        "diffusion_models": ([str(models / "diffusion_models")], {".safetensors"}),
    }

    def listed(kind: str) -> list[str]:
        folders, endings = places[kind]
        files = (path for folder in folders for path in Path(folder).glob("*"))
        return [path.name for path in files if path.suffix in endings]

    def full(kind: str, name: str) -> str | None:
        paths = (Path(folder) / name for folder in places[kind][0])
        return next((str(path) for path in paths if path.is_file()), None)

    kinds = {
        name: _Kind(name) for name in ("Model", "Clip", "Vae", "String", "Float", "Combo", "Image")
    }
    io = SimpleNamespace(
        ComfyNode=type("ComfyNode", (), {}), Schema=SimpleNamespace, NodeOutput=NodeOutput, **kinds
    )
    yield "comfy", _module("comfy", __path__=[])
    yield "comfy.weight_adapter", _module("w", WeightAdapterBase=WeightAdapterBase)
    yield "comfy.sd", _module("s", load_state_dict_guess_config=load_state_dict_guess_config)
    yield "comfy_api", _module("comfy_api", __path__=[])
    extension = type("ComfyExtension", (), {})
    yield "comfy_api.v0_0_2", _module("v", ComfyExtension=extension, io=io)
    yield (
        "folder_paths",
        _module(
            "folder_paths",
            models_dir=str(models),
            folder_names_and_paths=places,
            get_filename_list=listed,
            get_full_path=full,
            get_folder_paths=lambda kind: [],
        ),
    )


def _module(name: str, **members: object) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    module.__dict__.update(members)
    return module


@contextmanager
def comfy(models: Path) -> Iterator[Callable[[Path], ModuleType]]:
    """ComfyUI is there, with its models in this folder; yields how it loads a folder of nodes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in _modules(models):
            patch.setitem(sys.modules, name, module)
        sys.modules["comfy"].sd = sys.modules["comfy.sd"]  # type: ignore[attr-defined]

        def load(folder: Path) -> ModuleType:
            name = str(folder).replace(".", "_x_")
            spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            return module

        before = set(sys.modules)
        yield load
        for name in set(sys.modules) - before:
            if name.startswith("/"):
                del sys.modules[name]
