"""Every family by the command line: erased, resumed, compared, written, patched and back."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from support.console import Said, erasure, quick_recipe
from support.models.tiny_chat import write_flux2, write_qwen_image, write_z_image
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_labels import write_ddpm, write_dit
from support.models.tiny_models import SD2_LIKE, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.tiny import TINY, global_seed

from erasure import read_checkpoint
from erasure.architectures.labels.released_network import ReleasedConfig, ReleasedUNet
from erasure.architectures.registry import ARCHITECTURES
from erasure.training.trainer import MaskedTrainer
from erasure.work import Work
from pipelines.class_checkpoint.released import convert


def write_released(folder: Path) -> Path:
    """Write a random model of SalUn's release, as it is taken over from its pickle."""
    sizes = ReleasedConfig(
        sample_size=16, num_class_embeds=4, width=32, multipliers=(1, 2), blocks=1, attention=(8,)
    )
    with global_seed(0):
        state = ReleasedUNet(sizes).state_dict()
    pickled = folder.with_name("ckpt.pth")
    torch.save([{f"module.{name}": value for name, value in state.items()}], pickled)
    return convert(pickled, folder, side=16)


@dataclass(frozen=True)
class Family:
    """What a family is asked for."""

    write: Callable[[Path], Path]
    concept: str = "church"
    prompts: tuple[str, str] = ("a church", "a dog")
    options: tuple[str, ...] = ()


PLAIN = ("--saliency-loss", "plain")
CLOTHES = ("sneaker", ("sneaker", "shirt"))
NUMBERS = ("1", ("1", "2"))
FAMILIES = {
    "sd1": Family(partial(write_pipeline, size=TINY)),
    "sd2": Family(partial(write_pipeline, size=SD2_LIKE)),
    "sdxl": Family(write_sdxl),
    "sd3": Family(write_sd3),
    "sd35_medium": Family(partial(write_sd3, kind="sd35_medium")),
    "sd35_large": Family(partial(write_sd3, kind="sd35_large")),
    "flux_dev": Family(write_flux, options=PLAIN),
    "flux_schnell": Family(partial(write_flux, kind="flux_schnell"), options=PLAIN),
    "flux2_klein": Family(write_flux2),
    "flux2_klein_distilled": Family(partial(write_flux2, distilled=True), options=PLAIN),
    "z_image": Family(write_z_image),
    "qwen_image": Family(write_qwen_image),
    "ddpm": Family(write_ddpm, *CLOTHES),
    "salun-ddpm": Family(write_released, *NUMBERS),
    "dit": Family(write_dit, *NUMBERS),
}


def test_no_family_is_left_out() -> None:
    assert FAMILIES.keys() == ARCHITECTURES.keys()


def interrupted(*line: object) -> Said:
    """Run a command line that Ctrl-C ends after its first step."""
    take = MaskedTrainer._taken

    def take_and_interrupt(self: MaskedTrainer, work: Work) -> None:
        take(self, work)
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedTrainer, "_taken", take_and_interrupt)
        return erasure(*line)


def done(*line: object) -> str:
    """Run a command line that must end well; give what it printed."""
    said = erasure(*line)
    assert said.code == 0, (line, said.err)
    return said.out


@pytest.mark.default("dit")
@pytest.mark.parametrize("key", FAMILIES)
def test_a_family_goes_through_every_command(key: str, tmp_path: Path) -> None:
    family, whole, cut = FAMILIES[key], tmp_path / "whole", tmp_path / "cut"
    base = family.write(tmp_path / "base")
    start = read_checkpoint(base)
    assert start.architecture is ARCHITECTURES[key]

    recipe = quick_recipe(tmp_path, device="cpu", cache=str(tmp_path / "cache"))
    asked = recipe.read_text(encoding="utf-8").replace(
        '["a church", "a dog"]', json.dumps(family.prompts)
    )
    recipe.write_text(asked, encoding="utf-8")
    line = ["erase", base, "--recipe", recipe, "--concept", family.concept, "--steps", 2]
    line += family.options
    done(*line, "--out", whole)
    assert "interrupted" in interrupted(*line, "--out", cut).err
    done(*line, "--out", cut, "--resume")
    after = read_checkpoint(cut / "model").network_hash()
    assert after == read_checkpoint(whole / "model").network_hash()
    assert after != start.network_hash()
    assert json.loads(done("verify", cut, "--json"))["verified"] is True

    shown = ["--prompt", family.prompts[0], "--seeds", 0, "--steps", 2, "--device", "cpu"]
    done("compare", base, cut, *shown, "--out", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 0

    file = tmp_path / "file.safetensors"
    if start.architecture.modelspec:
        done("export", cut, "--out", file)
        assert json.loads(done("verify", file, "--json"))["verified"] is True
        assert read_checkpoint(file, config=base).network_hash() == after
    else:
        said = erasure("export", cut, "--out", file)
        assert said.code == 2
        assert "no layout of a single file" in said.err
    folder = tmp_path / "folder"
    done("export", cut, "--to", "diffusers", "--out", folder)
    assert read_checkpoint(folder).network_hash() == after

    patch, put, back = tmp_path / "edit.patch", tmp_path / "put", tmp_path / "back"
    done("export", cut, "--to", "patch", "--base", base, "--out", patch)
    done("patch", "apply", base, patch, "--out", put)
    assert read_checkpoint(put).network_hash() == after
    done("patch", "remove", put, patch, "--out", back)
    assert read_checkpoint(back).hashes() == start.hashes()
