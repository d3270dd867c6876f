"""What is said of pictures that come from several places."""

from pathlib import Path

import torch
from PIL import Image
from support.console import QUICK, erasure
from support.refusals import CHURCH

from erasure.diffusion.data.prompted import PromptedPixels
from pipelines.configs.settings import PicturesConfig
from pipelines.data.own_pictures import mixed_said


def pictures(count: int) -> PromptedPixels:
    pixels = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    return PromptedPixels(pixels, ["a church"] * count)


def test_pictures_of_two_sources_are_told_with_their_numbers() -> None:
    source = PicturesConfig(folder="/home/me/mine", dataset="frgfm/imagenette")
    assert mixed_said("forget", source, [pictures(3), pictures(955)]) == [
        "note: the pictures to forget are 3 of the folder mine and 955 of the data set "
        "frgfm/imagenette, all together"
    ]


def test_pictures_of_one_source_need_no_word() -> None:
    assert mixed_said("forget", PicturesConfig(folder="mine"), [pictures(3)]) == []
    assert mixed_said("retain", PicturesConfig(drawn=9), []) == []


def test_a_folder_beside_what_the_model_draws_is_told_before_it_draws(
    tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "mine" / "a.png")
    (tmp_path / "quick.toml").write_text(QUICK, encoding="utf-8")
    said = erasure(
        *("mask", tiny_folder, *CHURCH, "--recipe", tmp_path / "quick.toml"),
        *("--set", f"data.forget.folder={tmp_path / 'mine'}"),
        *("--set", "data.forget.prompt=a church", "--cache", tmp_path / "cache"),
        *("--out", tmp_path / "m.safetensors"),
    )
    assert said.code == 0, said.err
    assert (
        "note: the pictures to forget are 1 of the folder mine and 2 that the model draws, all "
        "together; --forget-drawn 0 leaves these out"
    ) in said.err
