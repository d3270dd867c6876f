"""An architecture of the test's own goes through mask, erase, folder and proof, and nothing outside
`architectures` asks which architecture a model is."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import Toy, ToyDenoiser, toy_data
from torch import Tensor, nn

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.loading import loaded
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.unet.sd1 import SD1
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import Description
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import Esd, SalUn

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
    scopes={"full": lambda name: True, "told": lambda name: name.startswith("told.")},
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
    mask = find_mask(flat, toy_data(), "all", scope="told")
    assert set(mask.entries) == {"told.weight", "told.bias"}
    with pytest.raises(ConfigError, match="scope 'xattn' is unknown; known are full, told"):
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
    rooms = ("unet", "transformer")
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
    # `description` holds the published configs by key, and one of them has two sizes. The other
    # half calls networks of classifiers so.
    exempt = (
        ROOT / "erasure" / "architectures",
        ROOT / "erasure" / "checkpoints" / "description.py",
    )
    asked = {}
    for package in ("erasure", "eval", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            half = "classifiers" in path.parts
            if not half and not any(path.is_relative_to(place) for place in exempt):
                lines = list(branches(path.read_text(encoding="utf-8")))
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
