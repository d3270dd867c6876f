"""A number of a config that is none is refused with the name of what it stands for."""

import json
import shutil
from pathlib import Path

import pytest
from support.console import erasure

from erasure import read_checkpoint
from erasure.architectures.unet.network import sample
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.errors import CheckpointError


@pytest.mark.parametrize("value", [{}, [4], "4", 4.0, True, 0, -1, None])
def test_only_whole_numbers_of_1_or_more_are_numbers(value: object) -> None:
    with pytest.raises(CheckpointError, match=r"width in the config of the UNet is .* not a whole"):
        whole_number({"width": value}, "width", "the UNet", 3)


def test_silence_is_the_default_or_refused() -> None:
    assert whole_number({}, "width", "the UNet", 3) == 3
    with pytest.raises(CheckpointError, match="width"):
        whole_number({}, "width", "the UNet")


@pytest.mark.parametrize(
    ("component", "key"),
    [("vae", "latent_channels"), ("text_encoder", "hidden_size")],
)
def test_a_folder_whose_config_has_no_number_there_is_refused(
    tiny_folder: Path, tmp_path: Path, component: str, key: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    place = folder / component / "config.json"
    config = json.loads(place.read_text(encoding="utf-8"))
    place.write_text(json.dumps({**config, key: {"a": 1}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{key} in the config of"):
        read_checkpoint(folder)
    said = erasure("erase", folder, "--concept", "church", "--dry-run")
    assert said.code == 2
    assert key in said.err


def test_what_a_sample_is_made_of_is_checked() -> None:
    with pytest.raises(CheckpointError, match="cross_attention_dim"):
        sample({"in_channels": 4, "cross_attention_dim": [8, 8]}, (8, 8), 7)
