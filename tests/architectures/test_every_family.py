"""Every family by the command line: erased, resumed, compared, written, patched and back."""

import json
import signal
from pathlib import Path

import pytest
from support.console import Said, erasure, quick_recipe
from support.models.families import FAMILIES

from erasure import read_checkpoint
from erasure.architectures.registry import ARCHITECTURES
from erasure.training.trainer import MaskedTrainer
from erasure.work import Work


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
