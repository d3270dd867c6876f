"""Architectures of the test's own and of docs/extending.md go through mask, erase, folder, file and
proof, and nothing outside `architectures` asks which architecture a model is."""

import ast
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.console import QUICK, erasure
from support.tiny import Toy, ToyDenoiser, global_seed, toy_data
from torch import Tensor, nn

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.loading import loaded
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.unet.sd1 import SD1
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import Description
from erasure.diffusion.schedule import RectifiedFlow
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import Esd, SalUn
from pipelines.data.concept_data import Gatherer

ROOT = Path(__file__).parents[2]


class Flat(Toy):
    """A network of a flow model, with a saved table of no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(3))


def flat_of(config: Mapping[str, Any]) -> nn.Module:
    if config["kind"] != "flat":
        raise ValueError("no flat network")
    return Flat()


def build_flat(checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
    weights = {name: value.to(dtype, copy=True) for name, value in checkpoint.network.items()}
    config = checkpoint.description.components["transformer"]
    network: nn.Module = loaded(flat_of, config, weights, "transformer")
    return network


def check_flat(description: Description, where: str) -> tuple[str, ...]:
    if description.components["transformer"].get("kind") != "flat":
        raise CheckpointError(f"{where} is no flat model; give one whose kind is flat")
    return ()


# All that a new family needs; what it does not name is that of Stable Diffusion 1.x.
FLAT: Architecture = replace(
    SD1,
    key="flat",
    title="Flat",
    pipeline="FlatPipeline",
    main="transformer",
    parts=(
        Part(
            component="transformer",
            title="transformer",
            prefix="model.",
            build=flat_of,
            to_original=dict,
            to_diffusers=dict,
        ),
    ),
    check_configs=check_flat,
    build_network=build_flat,
    denoiser=ToyDenoiser,
    schedule=lambda config: RectifiedFlow(),
    scopes={"full": lambda name: True, "text": lambda name: name.startswith("text.")},
    never_masked=lambda name: name == "table",
)


@pytest.fixture
def flat() -> Checkpoint:
    scheduler = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    }
    index = {
        "_class_name": "FlatPipeline",
        "transformer": ["diffusers", "Flat"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    return Checkpoint(
        architecture=FLAT,
        path=Path("flat"),
        components={"transformer": Flat().state_dict()},
        description=Description(
            model_index=index, scheduler=scheduler, components={"transformer": {"kind": "flat"}}
        ),
    )


def test_an_own_architecture_is_masked_erased_written_read_and_proved(
    flat: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_data()
    mask = find_mask(flat, data, density=0.5, concept="church")
    assert "table" not in mask.entries
    edit = erase(flat, data, mask, SalUn(steps=3, batch_size=2, learning_rate=1e-2))
    moved = {name for name, value in flat.network.items() if not value.equal(edit.network[name])}
    assert moved
    assert moved <= set(mask.entries)
    assert all(
        torch.equal(edit.network[name][~entry], flat.network[name][~entry])
        for name, entry in mask.entries.items()
    )
    monkeypatch.setitem(ARCHITECTURES, "flat", FLAT)  # type: ignore[arg-type]
    out = tmp_path / "out"
    write_folder(flat, out, network=edit.network, provenance=edit.provenance)
    assert (out / "transformer" / "diffusion_pytorch_model.safetensors").is_file()
    again = read_checkpoint(out)
    assert again.architecture is FLAT
    assert again.edits[-1].result_hash == again.network_hash() != flat.network_hash()
    verified = verify(out)
    assert verified.passed
    assert "transformer after its edits" in {check.name for check in verified.checks}


# The page's own family, from the command line


@pytest.fixture
def mixer(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the page's family, in the registry for this test."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    file = tmp_path / "own_family.py"
    file.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("own_family", file)
    assert spec is not None
    assert spec.loader is not None
    own: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    monkeypatch.setitem(ARCHITECTURES, "mixer", own.MIXER)  # type: ignore[arg-type]
    folder = tmp_path / "mixer"
    shutil.copytree(tiny_folder, folder)
    unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder / "unet")
    config = {name: unet[name] for name in ("in_channels", "cross_attention_dim", "sample_size")}
    (folder / "mixer").mkdir()
    (folder / "mixer" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with global_seed(0):
        weights = own.Mixer(**config).state_dict()
    save_file(weights, folder / "mixer" / "diffusion_pytorch_model.safetensors")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    del index["unet"]
    index |= {"_class_name": "MixerPipeline", "mixer": ["own_family", "Mixer"]}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def test_the_page_s_family_is_erased_from_and_goes_into_a_file_and_back(
    mixer: Path, tmp_path: Path
) -> None:
    recipe, run, file = tmp_path / "quick.toml", tmp_path / "run", tmp_path / "church.safetensors"
    recipe.write_text(QUICK, encoding="utf-8")
    line = ("--concept", "church", "--recipe", recipe, "--steps", 2, "--device", "cpu")
    said = erasure("erase", mixer, *line, "--out", run, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["unselected_identical"] is True
    base, edited = read_checkpoint(mixer), read_checkpoint(run / "model")
    assert edited.architecture.key == "mixer"
    assert base.network_hash() != edited.network_hash()
    said = erasure("verify", run, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["mixer"] == edited.network_hash()
    said = erasure("export", run, "--out", file, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["notices"] == []
    assert erasure("verify", file).code == 0
    said = erasure("export", file, "--to", "diffusers", "--out", tmp_path / "back")
    assert said.code == 0, said.err
    back = read_checkpoint(tmp_path / "back")
    assert {name: back.hash_of(name) for name in back.components} == {
        name: edited.hash_of(name) for name in edited.components
    }


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        (("--checkpointing",), "checkpointing"),
        (("--stream",), "stream"),
        (("--set", "saliency.checkpointing=true"), "saliency.checkpointing"),
        (("--set", "grid.drawing.stream=true"), "grid.drawing.stream"),
    ],
)
def test_a_network_that_recomputes_nothing_is_told_before_anything_is_drawn(
    option: tuple[str, ...],
    setting: str,
    mixer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draws(gatherer: Gatherer) -> None:
        raise AssertionError("pictures are drawn")

    monkeypatch.setattr(Gatherer, "gather", draws)
    recipe = tmp_path / "quick.toml"
    recipe.write_text(QUICK, encoding="utf-8")
    line = ("--concept", "church", "--recipe", recipe, "--steps", 2, "--device", "cpu", *option)
    said = erasure("erase", mixer, *line, "--out", tmp_path / "run")
    assert said.code == 2
    assert f"{setting} is on, and the network of " in said.err
    assert "(Mixer) has no enable_gradient_checkpointing" in said.err
    assert f"leave {setting} out" in said.err
    assert not (tmp_path / "run").exists()


def test_whoever_calls_functions_is_told_the_same(flat: Checkpoint) -> None:
    data, mask = toy_data(), find_mask(flat, toy_data(), "all")
    with pytest.raises(ConfigError, match=r"^checkpointing is on, and .* leave checkpointing out$"):
        erase(flat, data, mask, SalUn(steps=1), checkpointing=True)
    with pytest.raises(ConfigError, match=r"^stream is on, and .* leave stream out$"):
        erase(flat, data, mask, SalUn(steps=1), stream=True)
    with pytest.raises(ConfigError, match=r"leave saliency\.checkpointing out$"):
        find_mask(flat, data, density=0.5, config=SaliencyConfig(checkpointing=True))


def test_a_file_of_a_family_without_published_configs_asks_for_a_folder(
    mixer: Path, tmp_path: Path
) -> None:
    whole, bare = tmp_path / "whole.safetensors", tmp_path / "bare.safetensors"
    assert erasure("export", mixer, "--out", whole).code == 0
    save_file(load_file(whole), bare)  # without the header, and so without configs
    said = erasure("export", bare, "--to", "diffusers", "--out", tmp_path / "out")
    assert said.code == 2
    assert "no configs of mixer come with this package; give --config FOLDER" in said.err
    line = ("--config", mixer, "--to", "diffusers", "--out", tmp_path / "out")
    said = erasure("export", bare, *line)
    assert said.code == 0, said.err
    assert read_checkpoint(tmp_path / "out").network_hash() == read_checkpoint(mixer).network_hash()


def test_the_page_s_check_names_what_a_config_has_too_much(mixer: Path) -> None:
    file = mixer / "mixer" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "round": True}), encoding="utf-8")
    said = erasure("export", mixer, "--out", mixer.with_name("out.safetensors"))
    assert said.code == 2
    assert "config has too much or too little: round" in said.err


class Bent:
    """A forward process that is neither of betas nor a straight line."""

    def draw(self, generator: torch.Generator) -> Tensor:
        return torch.rand(1, generator=generator)

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return x_0 + t.view(-1, 1, 1, 1) ** 2 * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise


def test_a_method_that_its_schedule_cannot_serve_is_refused(flat: Checkpoint) -> None:
    data, mask = toy_data(), find_mask(flat, toy_data(), "all")
    bent = replace(flat, architecture=replace(FLAT, schedule=lambda config: Bent()))
    with pytest.raises(ConfigError, match="need a schedule of discrete betas or of rectified flow"):
        erase(bent, data, mask, Esd(steps=1))


def test_its_own_scopes_hold_and_others_are_unknown(flat: Checkpoint) -> None:
    mask = find_mask(flat, toy_data(), "all", scope="text")
    assert set(mask.entries) == {"text.weight", "text.bias"}
    with pytest.raises(ConfigError, match="scope 'xattn' is unknown; known are full, text"):
        find_mask(flat, toy_data(), "all", scope="xattn")


def test_its_own_check_refuses_a_config(
    flat: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "flat", FLAT)  # type: ignore[arg-type]
    other = replace(flat, description=flat.description.having(transformer={"kind": "round"}))
    write_folder(other, tmp_path / "round")
    with pytest.raises(CheckpointError, match="is no flat model"):
        read_checkpoint(tmp_path / "round")


def branches(source: str) -> Iterator[str]:
    """What in a source asks for a single family: an import of its module, or a comparison."""
    rooms = ("unet", "transformer", "labels")
    modules = {f"erasure.architectures.{room}.{key}" for room in rooms for key in ARCHITECTURES}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            yield f"line {node.lineno} imports {node.module}"
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if all(ast.unparse(side).endswith(".architecture") for side in sides):
                continue  # whether two models are of one family
            for side in sides:
                text = ast.unparse(side)
                if text.endswith((".architecture", "architecture.key", "architecture.title")):
                    yield f"line {node.lineno} compares {text}"
                if isinstance(side, ast.Constant) and side.value in ARCHITECTURES:
                    yield f"line {node.lineno} compares with {text}"


def test_nothing_outside_architectures_asks_for_a_family() -> None:
    # The other half calls networks of classifiers so.
    own = ROOT / "erasure" / "architectures"
    asked = {}
    for package in ("erasure", "eval", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            half = "classifiers" in path.parts
            if not half and not path.is_relative_to(own):
                source = path.read_text(encoding="utf-8")
                # To walk the tree of a file that has no such word takes longer than all others.
                named = "architecture" in source or any(key in source for key in ARCHITECTURES)
                lines = list(branches(source)) if named else []
                if lines:
                    asked[str(path.relative_to(ROOT))] = lines
    assert asked == {}


@pytest.mark.parametrize(
    "source",
    [
        "from erasure.architectures.unet.sdxl import SDXL",
        "if checkpoint.architecture is X: ...",
        "if checkpoint.architecture.title == 'a title': ...",
        "one = checkpoint.architecture.key == other",
        "if family in ('a',) or key == 'sdxl': ...",
    ],
)
def test_a_branch_on_a_family_is_seen(source: str) -> None:
    assert len(list(branches(source))) == 1
