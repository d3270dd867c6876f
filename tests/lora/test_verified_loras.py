"""What `erasure verify` says of a LoRA file: that it is one, and of what."""

from pathlib import Path

import pytest
import torch

from erasure.checkpoints import verify
from erasure.errors import CheckpointError
from erasure.storage.tensors.tensor_file import DATA_HASH, write_tensors

DOWN, UP = torch.ones(1, 4), torch.ones(4, 1)
KOHYA = {"lora_unet_mid.lora_down.weight": DOWN, "lora_unet_mid.lora_up.weight": UP}
DIFFUSERS = {"text_encoder_2.a.lora_A.weight": DOWN, "text_encoder_2.a.lora_B.weight": UP}
WORDS = {
    "modelspec.architecture": "stable-diffusion-v1/lora",
    "erasure.concepts": "church",
    "erasure.base": "demo",
    DATA_HASH: "",
}


@pytest.mark.parametrize(
    ("tensors", "words", "what"),
    [
        (
            KOHYA,
            WORDS,
            "is a LoRA and no model (it states modelspec.architecture 'stable-diffusion-v1/lora' "
            "and that it erases 'church' from 'demo'); give",
        ),
        (DIFFUSERS, {}, "no model (by its names it is a LoRA of Stable Diffusion XL); give"),
        (KOHYA, {}, "is a LoRA and no model; give"),
        ({"a.lokr_w1": DOWN}, {}, "is a LoRA and no model; give"),
    ],
)
def test_a_lora_is_told_to_be_one_and_of_what(
    tensors: dict[str, torch.Tensor], words: dict[str, str], what: str, tmp_path: Path
) -> None:
    write_tensors(tmp_path / "a.safetensors", tensors, words)
    with pytest.raises(CheckpointError) as refused:
        verify(tmp_path / "a.safetensors")
    assert what in str(refused.value)


def test_another_file_is_not_called_a_lora(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"w": DOWN, "act.alpha": DOWN}, {})
    with pytest.raises(CheckpointError, match="states no provenance"):
        verify(tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", ["mask 1", "factors 1", "training-state 1", "exact 1"])
def test_a_file_of_ours_that_holds_no_model_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"w": DOWN}, {"format": f"erasure-{kind}"})
    with pytest.raises(CheckpointError, match=r"is (a mask|the factors|the state|a classifier)"):
        verify(tmp_path / "a.safetensors")
