"""LoRA files that cannot be what they should be: one sentence each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.tiny_lora import factored, random_factors
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from torch import Tensor

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.errors import CheckpointError, ConfigError, ErasureError
from erasure.lora.changes import Full
from erasure.lora.merging import Part, named_part, with_loras
from erasure.lora.reading import read_lora
from erasure.lora.stated import ADAPTER
from erasure.lora.writing import write_differences, write_lora

KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
XL = "stable-diffusion-xl-v1-base"


@pytest.fixture
def file(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A good LoRA of every layer."""
    path = tmp_path / "good.safetensors"
    write_lora(path, {"unet": random_factors(tiny_checkpoint.network)}, tiny_checkpoint)
    return path


def with_tensors(file: Path, words: dict[str, str] | None = None, **more: Tensor | None) -> Path:
    """The file with other tensors; None takes one out, `__` stands for a dot."""
    tensors: dict[str, Tensor] = load_file(file)
    for name, tensor in more.items():
        key = name.replace("__", ".")
        tensors.pop(key, None)
        if tensor is not None:
            tensors[key] = tensor
    path = file.with_name("bad.safetensors")
    save_file(tensors, path, metadata=words)
    return path


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({f"{KEY}__dora_scale": torch.ones(8, 1)}, ("of the kind DoRA", "only LoRA with two")),
        ({f"{KEY}__hada_w1_a": torch.ones(8, 1)}, ("of the kind LoHa",)),
        ({f"{KEY}__lokr_w1": torch.ones(8, 1)}, ("of the kind LoKr",)),
        ({f"{KEY}__boft_S__default__weight": torch.ones(1)}, ("of the kind BOFT",)),
        ({f"{KEY}__oft_blocks": torch.ones(1, 2, 2)}, ("of the kind OFT",)),
        ({f"{KEY}__on_input": torch.ones(1)}, ("of the kind IA3",)),
        ({f"{KEY}__lora_mid__weight": torch.ones(1, 1, 3, 3)}, ("a third factor",)),
        ({"lora_unet_middle__lora_up__weight": torch.ones(1, 1)}, ("1 of", "middle.lora_up")),
        ({"extra": torch.ones(1)}, ("1 of", "'extra' first")),
        ({f"{KEY}__lora_up__weight": None}, ("has no factor 'up'",)),
        ({f"{KEY}__lora_down__weight": None}, ("has no factor 'down'",)),
        ({f"{KEY}__lora_up__weight": torch.ones(8, 5)}, ("are none of one product",)),
        ({f"{KEY}__lora_down__weight": torch.ones(0, 8)}, ("are none of one product",)),
        ({f"{KEY}__lora_up__weight": torch.ones(8)}, ("are none of one product",)),
        (
            {
                f"{KEY}__lora_down__weight": torch.ones(1, 8),
                f"{KEY}__lora_up__weight": torch.ones(0, 1),
            },
            ("are none of one product",),
        ),
        ({f"{KEY}__alpha": torch.ones(2)}, ("alpha of shape (2,)", "not one number")),
        ({f"{KEY}__alpha": torch.tensor(float("nan"))}, ("not finite", "alpha")),
        ({f"{KEY}__diff": torch.ones(8, 8)}, ("in more than one way",)),
        (
            {
                f"{KEY}__lora_down__weight": torch.full((1, 8), float("inf")),
                f"{KEY}__lora_up__weight": torch.ones(8, 1),
            },
            ("not finite", "lora_down"),
        ),
        (
            {f"{KEY}__lora_down__weight": torch.ones(1, 8, dtype=torch.int32)},
            ("as torch.int32", "float16"),
        ),
        (
            {
                "unet__down_blocks__0__attentions__0__transformer_blocks__0__attn2__to_k"
                "__lora_A__weight": torch.ones(1, 8)
            },
            ("twice", "lora_A"),
        ),
    ],
)
def test_damaged_and_foreign_files_are_refused(
    more: dict[str, Tensor | None], words: tuple[str, ...], file: Path, tiny_checkpoint: Checkpoint
) -> None:
    bad = with_tensors(file, **more)
    with pytest.raises(CheckpointError) as refused:
        read_lora(bad, tiny_checkpoint)
    for word in ("bad.safetensors", *words):
        assert word in str(refused.value)


def test_a_lora_of_another_family_is_refused_and_says_whose_it_is(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    models = {
        "sd1": tiny_checkpoint,
        "sd2": read_checkpoint(write_pipeline(tmp_path / "sd2", SD2_SMALL)),
        "sdxl": read_checkpoint(write_sdxl(tmp_path / "sdxl")),
    }
    stated = {"sd1": "stable-diffusion-v1", "sd2": "stable-diffusion-v2-768-v", "sdxl": XL}
    for family, checkpoint in models.items():
        path = tmp_path / f"{family}.safetensors"
        write_lora(path, {"unet": random_factors(checkpoint.network)}, checkpoint)
        for other, base in models.items():
            if other == family:
                assert read_lora(path, base).count == len(factored(base.network)) > 30
            elif "sdxl" in (family, other):
                with pytest.raises(CheckpointError, match="give a LoRA of this family") as refused:
                    read_lora(path, base)
                assert base.architecture.title in str(refused.value)
                assert f"architecture '{stated[family]}/lora'" in str(refused.value)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(tmp_path / "sdxl.safetensors"), bare)
    with pytest.raises(CheckpointError, match="by its names it is a LoRA of Stable Diffusion XL"):
        read_lora(bare, models["sd1"])


def test_a_lora_of_other_shapes_is_refused(file: Path, tiny_checkpoint: Checkpoint) -> None:
    wide = {f"{KEY}__lora_down__weight": torch.ones(1, 1024), f"{KEY}__lora_up__weight": None}
    bad = with_tensors(file, **wide)
    bad = with_tensors(bad, **{f"{KEY}__lora_up__weight": torch.ones(8, 1)})
    with pytest.raises(CheckpointError, match=r"by \(8, 1024\), and this .* has \(8, 8\) there"):
        read_lora(bad, tiny_checkpoint)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "no table"),
        (json.dumps({"unet.lora_alpha": "much"}), "states the alpha 'much'"),
        (json.dumps({"unet.lora_alpha": True}), "states the alpha True"),
        (json.dumps({"unet.lora_alpha": 4, "unet.use_rslora": True}), "use_rslora"),
        (json.dumps({"unet.lora_alpha": 10**400}), "states the alpha 1000"),
        (json.dumps({"unet.lora_alpha": float("nan")}), "states the alpha nan"),
    ],
)
def test_damaged_settings_of_peft_are_refused(
    settings: str, message: str, file: Path, tiny_checkpoint: Checkpoint
) -> None:
    bad = with_tensors(file, {ADAPTER: settings}, **{f"{KEY}__alpha": None})
    with pytest.raises(CheckpointError, match=message):
        read_lora(bad, tiny_checkpoint)


def test_what_is_no_lora_is_told_so(tiny_folder: Path, tiny_checkpoint: Checkpoint) -> None:
    unet = tiny_folder / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(CheckpointError, match="is no LoRA: none of its"):
        read_lora(unet, tiny_checkpoint)
    with pytest.raises(CheckpointError, match="does not exist; give a LoRA file"):
        read_lora(tiny_folder / "none.safetensors", tiny_checkpoint)
    with pytest.raises(CheckpointError, match="unet is a folder; give a LoRA file"):
        read_lora(tiny_folder / "unet", tiny_checkpoint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("style.safetensors:much", "has 'much' for its strength; write it as FILE:0.8"),
        ("style.safetensors:0", "is 0.0; give a number that is not 0"),
        ("style.safetensors:nan", "is nan; give a number that is not 0"),
        ("style.safetensors:inf", "is inf; give a number"),
    ],
)
def test_strengths_are_checked(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        named_part(text)


def test_files_are_named_with_a_strength_or_without() -> None:
    assert named_part("a/style.safetensors") == Part(Path("a/style.safetensors"))
    assert named_part("a/style.safetensors:-0.5") == Part(Path("a/style.safetensors"), -0.5)
    assert named_part("a:b/style.safetensors") == Part(Path("a:b/style.safetensors"))
    at_home = Path.home() / "style.safetensors"
    assert named_part("~/style.safetensors") == Part(at_home)
    assert named_part("~/style.safetensors:0.5") == Part(at_home, 0.5)


def test_a_merge_that_does_not_fit_its_type_is_refused(
    file: Path, tiny_checkpoint: Checkpoint
) -> None:
    with pytest.raises(CheckpointError, match=r"is not finite as torch\.float32; give a smaller"):
        with_loras(tiny_checkpoint, [Part(file, 1e300)])


def test_whole_weights_know_no_strength(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    value = torch.ones(tiny_checkpoint.network["conv_in.weight"].shape)
    save_file({"lora_unet_conv_in.set_weight": value}, path)
    merged = with_loras(tiny_checkpoint, [Part(path)])
    assert torch.equal(merged.network["conv_in.weight"], value)
    with pytest.raises(ConfigError, match=r"its strength 0\.5 would not be read"):
        with_loras(tiny_checkpoint, [Part(path, 0.5)])


def test_norms_of_other_trainers_are_read(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "norm.safetensors"
    moved = torch.ones(tiny_checkpoint.network["conv_norm_out.weight"].shape)
    key = "lora_unet_conv_norm_out"
    save_file({f"{key}.w_norm": moved, f"{key}.b_norm": 2 * moved}, path)
    changes = read_lora(path, tiny_checkpoint).changes["unet"]
    assert changes.keys() == {"conv_norm_out.weight", "conv_norm_out.bias"}
    assert all(isinstance(change, Full) for change in changes.values())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda c, p: write_lora(p, {}, c), "there are no factors"),
        (lambda c, p: write_lora(p.with_suffix(".pt"), {}, c), "must end in .safetensors"),
        (lambda c, p: write_lora(p.parent / "a.safetensors", {}, c), "a.safetensors exists"),
        (lambda c, p: write_differences(p, c, c), "the two models are equal"),
    ],
)
def test_what_cannot_be_written_is_refused(
    write: Callable[[Checkpoint, Path], object],
    message: str,
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
) -> None:
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(ErasureError, match=message):
        write(tiny_checkpoint, tmp_path / "lora.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_factors_that_a_narrow_type_cannot_hold_are_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    from dataclasses import replace

    factors = random_factors(tiny_checkpoint.network)
    large = {name: replace(one, up=1e9 * one.up) for name, one in factors.items()}
    with pytest.raises(CheckpointError, match=r"is not finite as torch\.float16; give a wider"):
        write_lora(
            tmp_path / "l.safetensors", {"unet": large}, tiny_checkpoint, dtype=torch.float16
        )
    assert list(tmp_path.iterdir()) == []
