"""The nodes for ComfyUI against a stub of its contract, and against `apply_patch`."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from PIL import Image
from support.comfy_stub import Model, comfy
from support.models.tiny_chat import FLUX2_CONFIG, QWEN_IMAGE_CONFIG, Z_IMAGE_CONFIG
from support.models.tiny_flow import FLUX_CONFIG, SD3_CONFIG, SD3_KINDS
from support.models.tiny_models import randomise
from torch import Tensor, nn

from erasure.architectures.unet.stable_diffusion import OPENCLIP
from erasure.checkpoints import Checkpoint, write_single_file
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.layout import flux, flux2, sd3, z_image
from erasure.checkpoints.layout.renaming import Convert
from erasure.checkpoints.provenance import Provenance
from erasure.errors import CheckpointError, ConfigError, PatchError
from erasure.patches.applying import patched
from erasure.patches.patch import make_patch
from erasure.patches.patch_file import load_patch, save_patch
from erasure.patches.patch_stack import stacked
from erasure.patches.single_file_patch import Placed, patch_single_file
from erasure.storage.tensors.tensor_file import read_tensors, write_tensors

ROOT = Path(__file__).parents[2]
NODES = ROOT / "comfyui"
LOAD = {"strength": 1.0, "patch_2": "none", "strength_2": 1.0, "patch_3": "none", "strength_3": 1.0}


def edited(base: Mapping[str, Tensor], share: float, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, value in base.items():
        free = torch.rand(value.shape, generator=generator) < share
        change = 0.1 * torch.randn(value.shape, generator=generator)
        out[name] = torch.where(free, value + change.to(value.dtype), value)
    return out


@dataclass(frozen=True)
class Studio:
    """A ComfyUI with a model and two patches of it."""

    models: Path
    checkpoint: Checkpoint
    nodes: dict[str, Any]
    base: Mapping[str, Tensor]
    """The tensors of the single file of the base."""

    def run(self, node: str, **inputs: Any) -> Any:  # noqa: ANN401
        return self.nodes[node].execute(**inputs).args

    def file(self, network: Mapping[str, Tensor] | None = None) -> Mapping[str, Tensor]:
        """The tensors of a single file with this network, or of the base's."""
        if network is None:
            return self.base
        path = self.models / "written.safetensors"
        write_single_file(self.checkpoint.having("unet", network), path, force=True)
        return read_tensors(path).tensors

    def model(self) -> Model:
        """The base as ComfyUI holds it."""
        names = {n.removeprefix("model."): w for n, w in self.file().items()}
        return Model({n: w.clone() for n, w in names.items() if n.startswith("diffusion_model.")})

    def network(self, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A network under the names of ComfyUI."""
        to_original = self.checkpoint.architecture.main_part.to_original
        return {f"diffusion_model.{n}": w for n, w in to_original(network).items()}


@pytest.fixture(scope="module")
def studio(
    tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    models = tmp_path_factory.mktemp("models")
    for name in ("checkpoints", "diffusion_models", "erasure_patches"):
        (models / name).mkdir()
    base = tiny_checkpoint.network
    single = models / "checkpoints" / "base.safetensors"
    write_single_file(tiny_checkpoint, single)
    for seed, name in enumerate(("church", "dog")):
        patch = make_patch(base, edited(base, 0.2, seed), concepts=(name,))
        save_patch(models / "erasure_patches" / f"{name}.patch", patch)
    with comfy(models) as load:
        extension = asyncio.run(load(NODES).comfy_entrypoint())
        classes = asyncio.run(extension.get_node_list())
        nodes = {one.define_schema().node_id: one for one in classes}
        yield Studio(models, tiny_checkpoint, nodes, read_tensors(single).tensors)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    def raw(value: Tensor) -> Tensor:
        return value.contiguous().reshape(-1).view(torch.uint8)

    return set(one) == set(other) and all(torch.equal(raw(one[n]), raw(other[n])) for n in one)


def patch_of(studio: Studio, name: str) -> Any:  # noqa: ANN401
    return load_patch(studio.models / "erasure_patches" / f"{name}.patch")


@pytest.mark.default("0.5")
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_load_builds_the_model_of_the_patched_weights_to_the_bit(
    strength: float, studio: Studio
) -> None:
    inputs = {**LOAD, "model_name": "base.safetensors", "patch": "church.patch"}
    model, clip, vae, report = studio.run("ErasureLoadModel", **{**inputs, "strength": strength})
    expected = patched(studio.checkpoint.network, patch_of(studio, "church"), strength=strength)
    assert same(model.weights, studio.network(expected))
    file = studio.file()
    assert same(clip, {n: file[n] for n in file if n.startswith("cond_stage_model.")})
    assert same(vae, {n: file[n] for n in file if n.startswith("first_stage_model.")})
    assert ("to the bit" in report) == (strength != 0.5)
    assert ("no hash says" in report) == (strength == 0.5)


def test_load_takes_several_patches_and_adds_their_changes_up(studio: Studio) -> None:
    inputs = {**LOAD, "model_name": "base.safetensors", "patch": "church.patch"}
    inputs |= {"patch_3": "dog.patch", "strength_3": 0.5}
    model, _, _, report = studio.run("ErasureLoadModel", **inputs)
    both = [patch_of(studio, name) for name in ("church", "dog")]
    assert same(model.weights, studio.network(stacked(studio.checkpoint.network, both, [1.0, 0.5])))
    assert "dog.patch at strength 0.5" in report


def test_load_refuses_one_edit_put_in_twice(studio: Studio) -> None:
    inputs = {**LOAD, "model_name": "base.safetensors", "patch": "church.patch"}
    with pytest.raises(PatchError, match="patches 1 and 3 are one edit"):
        studio.run(
            "ErasureLoadModel", **{**inputs, "patch_2": "dog.patch", "patch_3": "church.patch"}
        )


def test_load_takes_a_network_alone(studio: Studio) -> None:
    alone = {
        n.removeprefix("model.diffusion_model."): w
        for n, w in studio.file().items()
        if n.startswith("model.")
    }
    with pytest.MonkeyPatch.context() as patch:
        built: list[dict[str, Tensor]] = []
        patch.setattr(
            sys.modules["comfy.sd"],
            "load_state_dict_guess_config",
            lambda sd, **_: built.append(dict(sd)) or (Model({}), None, None, None),
        )
        write_tensors(studio.models / "diffusion_models" / "alone.safetensors", alone, {})
        inputs = {**LOAD, "model_name": "alone.safetensors", "patch": "church.patch"}
        studio.run("ErasureLoadModel", **inputs)
    expected = studio.network(patched(studio.checkpoint.network, patch_of(studio, "church")))
    assert same(built[0], {n.removeprefix("diffusion_model."): w for n, w in expected.items()})


def test_load_refuses_another_base_and_a_quantised_file(studio: Studio) -> None:
    other = {n: w + 1 for n, w in studio.file().items()}
    scales = {**studio.file(), "model.diffusion_model.out.2.scale_weight": torch.ones(1)}
    for name, tensors, error, wanted in (
        ("other", other, PatchError, "give the model it was made for"),
        ("quantised", scales, CheckpointError, "quantised"),
        ("nothing", {"a": torch.ones(1)}, PatchError, "give the model it was made for"),
    ):
        write_tensors(studio.models / "checkpoints" / f"{name}.safetensors", tensors, {})
        inputs = {**LOAD, "model_name": f"{name}.safetensors", "patch": "church.patch"}
        with pytest.raises(error, match=wanted):
            studio.run("ErasureLoadModel", **inputs)
    with pytest.raises(PatchError, match="there is no 'away\\.patch'"):
        studio.run(
            "ErasureLoadModel", **{**LOAD, "model_name": "base.safetensors", "patch": "away.patch"}
        )


@pytest.mark.parametrize("rebuilt", [False, True])
def test_apply_at_strength_1_gives_the_edited_weights(rebuilt: bool, studio: Studio) -> None:
    model, report = studio.run(
        "ErasureApply", model=studio.model(), patch="church.patch", strength=1.0
    )
    expected = studio.network(patched(studio.checkpoint.network, patch_of(studio, "church")))
    assert same(model.computed(rebuilt=rebuilt), expected)
    assert "right to rounding" in report


def test_apply_leaves_the_model_that_came_in_as_it_was(studio: Studio) -> None:
    model = studio.model()
    studio.run("ErasureApply", model=model, patch="church.patch", strength=1.0)
    assert model.patches == {}
    assert same(model.computed(), studio.network(studio.checkpoint.network))


@pytest.mark.default("0.5", "-1.0")
@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.5, 2.0])
def test_apply_is_right_to_rounding_at_other_strengths(strength: float, studio: Studio) -> None:
    model, _ = studio.run(
        "ErasureApply", model=studio.model(), patch="church.patch", strength=strength
    )
    expected = studio.network(
        patched(studio.checkpoint.network, patch_of(studio, "church"), strength=strength)
    )
    for name, weight in model.computed(rebuilt=True).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)  # float32 sums


@pytest.mark.slow
def test_patches_stack_in_any_order_and_cancel(studio: Studio) -> None:
    def after(*steps: tuple[str, float]) -> Mapping[str, Tensor]:
        model: Any = studio.model()
        for patch, strength in steps:
            model, _ = studio.run("ErasureApply", model=model, patch=patch, strength=strength)
        return model.computed()

    both = [patch_of(studio, name) for name in ("church", "dog")]
    expected = studio.network(stacked(studio.checkpoint.network, both, [1.0, 1.0]))
    one = after(("church.patch", 1.0), ("dog.patch", 1.0))
    other = after(("dog.patch", 1.0), ("church.patch", 1.0))
    none = after(("church.patch", 1.0), ("church.patch", -1.0))
    base = studio.network(studio.checkpoint.network)
    for name in expected:
        torch.testing.assert_close(one[name], expected[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(other[name], expected[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(none[name], base[name], rtol=0, atol=1e-6)


def test_weights_in_half_precision_are_patched_in_it(studio: Studio) -> None:
    # As ComfyUI does with weights that stay off the device; where they were made in float16, too.
    half = {n: w.half() for n, w in studio.checkpoint.network.items()}
    change = edited(half, 0.2, 3)
    save_patch(studio.models / "erasure_patches" / "half.patch", make_patch(half, change))
    model, _ = studio.run(
        "ErasureApply", model=Model(studio.network(half)), patch="half.patch", strength=1.0
    )
    assert same(model.computed(torch.float16), studio.network(change))
    wide = Model({n: w.float() for n, w in studio.network(half).items()})
    model, _ = studio.run("ErasureApply", model=wide, patch="half.patch", strength=1.0)
    assert same(model.computed(), {n: w.float() for n, w in studio.network(change).items()})


def narrow(model: Model) -> None:
    model.weights = {n: w.half() for n, w in model.weights.items()}


def quantise(model: Model) -> None:
    name = next(iter(model.weights))
    model.weights[name] = model.weights[name].to(torch.float8_e4m3fn)


def shift(model: Model) -> None:
    model.weights = {n: w + 1 for n, w in model.weights.items()}


def offload(model: Model) -> None:
    model.weights = {n: w.to("meta") for n, w in model.weights.items()}


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (narrow, "needs weights|load the model in the type"),
        (quantise, "is quantised"),
        (shift, "give the model it was made for"),
        (offload, "is not in memory yet"),
    ],
)
def test_apply_refuses_a_model_that_is_not_the_base(
    spoil: Callable[[Model], None], wanted: str, studio: Studio
) -> None:
    model = studio.model()
    spoil(model)
    with pytest.raises(PatchError, match=wanted):
        studio.run("ErasureApply", model=model, patch="church.patch", strength=1.0)


def test_apply_refuses_a_strength_that_is_no_number(studio: Studio) -> None:
    for strength in (float("nan"), 11.0):
        with pytest.raises(ConfigError, match="from -10 to 10"):
            studio.run(
                "ErasureApply", model=studio.model(), patch="church.patch", strength=strength
            )


def test_info_shows_what_the_patch_says_and_the_picture_beside_it(studio: Studio) -> None:
    base = studio.checkpoint.network
    record = EditRecord(
        concept="cat", base="some/model", base_hash="ab", objective="SalUn", config={}, density=0.5,
        selected=1, moved=1, total=2, version="0.1.0", created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    story = Provenance(edits=(record,)).to_dict()
    place = studio.models / "erasure_patches"
    patch = make_patch(base, edited(base, 0.1, 4), concepts=("cat",), provenance=story)
    save_patch(place / "cat.patch", patch)
    text, shown = studio.run("ErasureInfo", patch="cat.patch")
    assert "There is no cat.png beside it" in text
    assert shown.shape == (1, 64, 64, 3)
    Image.new("RGB", (5, 3), (255, 0, 51)).save(place / "cat.png")
    text, shown = studio.run("ErasureInfo", patch="cat.patch")
    assert shown.shape == (1, 3, 5, 3)
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([1.0, 0.0, 0.2]))
    for words in (
        "against cat",
        f"{patch.moved:,} weights",
        patch.info.base,
        "from some/model",
        "density 0.5",
    ):
        assert words in text
    (place / "cat.png").write_bytes(b"no picture")
    with pytest.raises(PatchError, match="no picture that can be read"):
        studio.run("ErasureInfo", patch="cat.patch")


def test_a_changed_file_is_noticed(studio: Studio) -> None:
    load = studio.nodes["ErasureLoadModel"].fingerprint_inputs
    inputs = {**LOAD, "model_name": "base.safetensors", "patch": "church.patch"}
    before = load(**inputs)
    assert load(**inputs) == before
    path = studio.models / "erasure_patches" / "church.patch"
    path.write_bytes(path.read_bytes())
    assert load(**inputs) != before
    assert load(**{**inputs, "patch_2": "dog.patch"}) != load(**inputs)


def test_menus_list_safetensors_models_and_patches(studio: Studio) -> None:
    (studio.models / "checkpoints" / "old.ckpt").touch()
    schema = studio.nodes["ErasureLoadModel"].define_schema()
    options = {one.id: one.options for one in schema.inputs if one.kind == "Combo"}
    assert "base.safetensors" in options["model_name"]
    assert "old.ckpt" not in options["model_name"]
    assert "church.patch" in options["patch"]
    assert options["patch_2"][0] == "none"


def test_every_choice_says_what_it_is(studio: Studio) -> None:
    for node in studio.nodes.values():
        choices = [one for one in node.define_schema().inputs if one.kind in ("Combo", "Float")]
        assert all(len(one.tooltip) > 20 for one in choices)


def test_example_workflows_fit_the_nodes(studio: Studio) -> None:
    flows = sorted((NODES / "example_workflows").glob("*.json"))
    assert len(flows) == 2
    used = set()
    for path in flows:
        assert path.with_suffix(".jpg").is_file()
        flow = json.loads(path.read_text(encoding="utf-8"))
        nodes = {node["id"]: node for node in flow["nodes"]}
        for link, source, slot, target, place, kind in flow["links"]:
            assert link in nodes[source]["outputs"][slot]["links"]
            assert nodes[source]["outputs"][slot]["type"] == kind
            assert nodes[target]["inputs"][place]["link"] == link
        for node in nodes.values():
            if node["type"] in studio.nodes:
                used.add(node["type"])
                schema = studio.nodes[node["type"]].define_schema()
                widgets = [one for one in schema.inputs if one.kind in ("Combo", "Float")]
                assert len(node["widgets_values"]) == len(widgets)
                assert [one["type"] for one in node["outputs"]] == [
                    o.kind.upper() for o in schema.outputs
                ]
    assert used == set(studio.nodes)


def test_fused_rows_are_patched_where_they_lie(studio: Studio) -> None:
    # No UNet fuses layers; the text tower of OpenCLIP does, as transformers of later families do.
    applying = next(m for n, m in sys.modules.items() if n.endswith("comfyui.applying"))
    generator = torch.Generator().manual_seed(0)
    layer = "text_model.encoder.layers.0.self_attn"
    base = {
        f"{layer}.{letter}_proj.{kind}": torch.randn(shape, generator=generator)
        for letter in "qkv"
        for kind, shape in (("weight", (8, 8)), ("bias", (8,)))
    }
    weights = OPENCLIP.to_original(base)
    here = Placed(OPENCLIP, "", {n: n for n in weights}, OPENCLIP.to_diffusers(weights))
    change = edited(base, 0.3, 5)
    adapters = dict(applying._adapters(here, weights, make_patch(base, change)))
    assert len(adapters) == 6
    model = Model({f"diffusion_model.{n}": w for n, w in weights.items()})
    assert set(model.add_patches(adapters, 1.0)) == set(adapters)
    expected = {f"diffusion_model.{n}": w for n, w in OPENCLIP.to_original(change).items()}
    assert same(model.computed(rebuilt=True), expected)


def whole_network(kind: type[nn.Module], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a transformer with random values, fillers too."""
    network = kind(**settings)
    randomise(network, 1)
    return network.state_dict()


def usual(name: str) -> str:
    """The norms of queries and keys as newer versions of ComfyUI call them inside."""
    return name.replace("_norm.scale", "_norm.weight")


SD3 = {**SD3_CONFIG, **SD3_KINDS["sd35_medium"]}
TRANSFORMERS: dict[str, tuple[type[nn.Module], Mapping[str, Any], Convert]] = {
    "flux": (FluxTransformer2DModel, FLUX_CONFIG, flux.to_original),
    "sd3": (SD3Transformer2DModel, SD3_CONFIG, sd3.to_original),
    "sd35_medium": (SD3Transformer2DModel, SD3, sd3.to_original),
    "flux2": (Flux2Transformer2DModel, FLUX2_CONFIG, flux2.to_original),
    "z_image": (ZImageTransformer2DModel, Z_IMAGE_CONFIG, z_image.to_original),
    "qwen_image": (QwenImageTransformer2DModel, QWEN_IMAGE_CONFIG, dict),
}


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_a_transformer_is_patched_in_its_fused_rows_and_exchanged_halves(
    family: str, studio: Studio
) -> None:
    applying = next(m for n, m in sys.modules.items() if n.endswith("comfyui.applying"))
    kind, settings, to_original = TRANSFORMERS[family]
    base = whole_network(kind, settings)
    change = edited(base, 0.3, 6)
    patch = make_patch(base, change, component="transformer")
    # What published files of Z-Image hold besides, and nothing reads.
    more = {"diffusion_model.norm_final.weight": torch.ones(2)} if family == "z_image" else {}
    weights = {usual(n): w for n, w in to_original(base).items()}
    model = Model({**{f"diffusion_model.{n}": w for n, w in weights.items()}, **more})
    patched_model = applying.apply_to_model(model, {"transformer": patch}, 1.0)
    expected = {f"diffusion_model.{usual(n)}": w for n, w in to_original(change).items()} | more
    assert same(patched_model.computed(rebuilt=True), expected)
    file = {f"model.{n}": w for n, w in model.weights.items()}
    done = patch_single_file(file, [({"transformer": patch}, 1.0)])
    assert same(done, {f"model.{n}": w for n, w in expected.items()})
    alone = {n.removeprefix("diffusion_model."): w for n, w in model.weights.items()}
    done = patch_single_file(alone, [({"transformer": patch}, 1.0)])
    assert same(done, {n.removeprefix("diffusion_model."): w for n, w in expected.items()})
