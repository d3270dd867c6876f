"""Names of layers in LoRA files, against the published files of full size and kohya's counts."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints import Checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.errors import CheckpointError, ConfigError
from erasure.lora.layers import has_factors
from erasure.lora.names import Place, places, spelled, spellings
from erasure.lora.stated import ADAPTER, stated_alpha
from erasure.lora.writing import _kohya_words

PUBLISHED = Path(__file__).parents[1] / "checkpoints" / "layout" / "published"
FAMILIES = ("sd1", "sd2", "sdxl")


def full_size(key: str) -> Checkpoint:
    """A published model without values."""
    family, described = ARCHITECTURES[key], shipped_description(key)
    components = {
        part.component: expected_weights(part, described.configs()[part.component])
        for part in family.parts
    }
    return Checkpoint(
        architecture=family, path=Path(key), components=components, description=described
    )


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Checkpoint:
    return full_size(request.param)


def names_of(model: Checkpoint) -> dict[Place, str]:
    """kohya's names of the layers that can have factors."""
    return {
        place: name
        for place, name in spelled(model, "kohya").items()
        if has_factors(place.weight, model.components[place.component][place.weight])
    }


def test_the_layers_of_transformers_are_as_many_as_kohya_counts(model: Checkpoint) -> None:
    """What its trainer prints: 192, 192 and 722 of the UNet; 72, 138, 72 and 192 of the texts."""
    counts: dict[str, int] = {}
    for place, name in names_of(model).items():
        inside = "attentions" in place.module or "encoder_layers" in name
        start = name.split("_")[1]
        counts[start] = counts.get(start, 0) + inside
    expected = {
        "sd1": {"unet": 192, "te": 72},
        "sd2": {"unet": 192, "te": 138},
        "sdxl": {"unet": 722, "te1": 72, "te2": 192},
    }
    assert counts == expected[model.architecture.key]


def test_the_names_of_sdxl_are_the_original_ones() -> None:
    model = full_size("sdxl")
    text = gzip.decompress((PUBLISHED / "sdxl.txt.gz").read_bytes()).decode()
    start = "model.diffusion_model."
    original = {
        name.removeprefix(start).removesuffix(".weight").replace(".", "_")
        for name in (line.split()[0] for line in text.splitlines()[1:])
        if name.startswith(start) and name.endswith(".weight")
    }
    written = {
        name.removeprefix("lora_unet_")
        for place, name in spelled(model, "kohya").items()
        if place.component == "unet"
    }
    assert written == original
    assert "input_blocks_4_1_transformer_blocks_0_attn2_to_k" in written


def test_known_names_are_written() -> None:
    names = spelled(full_size("sd1"), "kohya")
    attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    assert names[Place("unet", attention)] == (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    )
    text = Place("text_encoder", "text_model.encoder.layers.3.self_attn.q_proj")
    assert names[text] == "lora_te_text_model_encoder_layers_3_self_attn_q_proj"
    xl = spelled(full_size("sdxl"), "kohya")
    second = Place("text_encoder_2", "text_model.encoder.layers.31.mlp.fc2")
    assert xl[second] == "lora_te2_text_model_encoder_layers_31_mlp_fc2"
    assert xl[text] == "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"
    assert spelled(full_size("sdxl"), "diffusers")[second] == (
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc2"
    )


def test_every_spelling_leads_to_the_layer_that_was_written(model: Checkpoint) -> None:
    known = spellings(model)
    for naming in ("kohya", "diffusers"):
        names = spelled(model, naming)
        assert len(set(names.values())) == len(names) == len(places(model))
        assert all(known[name] == place for place, name in names.items())


def test_no_spelling_means_two_layers(model: Checkpoint) -> None:
    from erasure.lora.names import _all_names, _original

    original = _original(model)
    every = [(n, place) for place in places(model) for n in _all_names(model, place, original)]
    assert len({name for name, _ in every}) == len(set(every))


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_out_0",
        "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_out.0",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_out",
    ],
)
def test_all_spellings_of_a_layer_are_read(name: str, model: Checkpoint) -> None:
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
    assert spellings(model)[name] == Place("unet", module)


def test_text_layers_are_read_with_and_without_their_first_word() -> None:
    known = spellings(full_size("sd1"))
    wanted = Place("text_encoder", "text_model.encoder.layers.0.self_attn.out_proj")
    for name in (
        "lora_te_text_model_encoder_layers_0_self_attn_out_proj",
        "lora_te1_text_model_encoder_layers_0_self_attn_out_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.out_proj",
        "text_encoder.encoder.layers.0.self_attn.out_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.to_out",
    ):
        assert known[name] == wanted


def test_the_words_of_a_header_are_those_of_kohya_s_extractor(model: Checkpoint) -> None:
    version = {"sd1": "sd_v1", "sd2": "sd_v2_v", "sdxl": "sdxl_base_v1-0"}[model.architecture.key]
    assert _kohya_words(model, 8, 4.0, kernels=False) == {
        "ss_v2": str(model.architecture.key == "sd2"),  # words alone: no true, no number
        "ss_base_model_version": version,
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_network_args": "{}",
    }
    kernels = json.loads(_kohya_words(model, 8, 4.0, kernels=True)["ss_network_args"])
    assert kernels == {"conv_dim": "8", "conv_alpha": "4.0"}
    modules = {key: f.lora.module for key, f in ARCHITECTURES.items() if f.lora is not None}
    assert (modules["flux_dev"], modules["sd3"]) == ("networks.lora_flux", "networks.lora_sd3")


def test_tables_and_norms_have_no_factors() -> None:
    def able(name: str, *shape: int) -> bool:
        return has_factors(name, torch.empty(shape, device="meta"))

    assert able("time_embedding.linear_1.weight", 4, 3)
    assert able("conv_in.weight", 4, 3, 3, 3)
    assert not able("text_model.embeddings.token_embedding.weight", 40, 8)
    assert not able("text_model.embeddings.position_embedding.weight", 77, 8)
    assert not able("conv_norm_out.weight", 8)
    assert not able("conv_in.bias", 8)


def test_an_unknown_naming_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("naming is 'a1111'; give kohya or diffusers")):
        spelled(full_size("sd1"), "a1111")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "alpha"),
    [
        ("^text_model.encoder.layers.1.mlp.fc1", 8.0),
        ("^encoder.layers.1.mlp.fc1", 8.0),
        (r"layers\.1\.mlp\.fc1", 8.0),
        ("mlp.fc1", 8.0),
        ("^mlp.fc1", 2.0),
        ("other.fc1", 2.0),
    ],
)
def test_a_pattern_of_peft_is_followed_as_a_name(pattern: str, alpha: float) -> None:
    settings = {"text_encoder.lora_alpha": 2, "text_encoder.alpha_pattern": {pattern: 8}}
    place = Place("text_encoder", "text_model.encoder.layers.1.mlp.fc1")
    assert stated_alpha({ADAPTER: json.dumps(settings)}, place, "x") == alpha


@pytest.mark.parametrize("pattern", ["mlp.*", r"layers\.\d+\.mlp", r"layers.\d.mlp", "(a|b)", ""])
def test_an_alpha_by_a_regular_expression_is_not_passed_over(pattern: str) -> None:
    settings = {"unet.lora_alpha": 2, "unet.alpha_pattern": {pattern: 8}}
    with pytest.raises(CheckpointError, match="a regular expression, which is not read here"):
        stated_alpha({ADAPTER: json.dumps(settings)}, Place("unet", "a.b"), "x")
