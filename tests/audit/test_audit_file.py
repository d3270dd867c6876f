"""`audit.json`, read again: what is not one is refused in a sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from erasure.attacks import Payload, Start
from eval.errors import EvalError
from pipelines.audit.cells import known_values, save_payload, take_over
from pipelines.audit.outcome.results import FORMAT
from pipelines.audit.outcome.results_file import read_audit


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "give the folder that `erasure audit --out` wrote"),
        ("{", "is damaged: it is not JSON"),
        ("[1]", "has format None, not"),
        ('{"format": "diffusion-erasure audit 9"}', "has format 'diffusion-erasure audit 9'"),
        (f'{{"format": "{FORMAT}"}}', "is damaged: audit.concept is missing; audit again"),
    ],
)
def test_what_is_no_audit_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "audit.json").write_text(content, encoding="utf-8")
    with pytest.raises(EvalError) as said:
        read_audit(tmp_path)
    assert words in str(said.value)
    assert "\n" not in str(said.value)


def test_what_is_known_of_a_folder_is_read_from_regular_files_alone(tmp_path: Path) -> None:
    assert known_values(tmp_path / "none.json") == {}
    (tmp_path / "half.json").write_text('{"key": "a', encoding="utf-8")
    assert known_values(tmp_path / "half.json") == {}
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    assert known_values(tmp_path / "list.json") == {}
    (tmp_path / "whole.json").write_text('{"key": "a"}', encoding="utf-8")
    assert known_values(tmp_path / "whole.json") == {"key": "a"}
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(EvalError, match="named pipe"):  # reading it would wait for ever
        known_values(tmp_path / "pipe.json")


def test_a_payload_says_all_that_draws_it_again(tmp_path: Path) -> None:
    start = Start(torch.ones(4, 2, 2), 511, clean=True)
    untold = Payload(prompt="", start=start, guidance=1.0, eta=0.5, replay={"picture": "case-000"})
    assert save_payload(tmp_path / "one.safetensors", untold, 7)
    with safe_open(tmp_path / "one.safetensors", framework="pt") as file:
        said = json.loads(file.metadata()["replay"])
        assert torch.equal(file.get_tensor("start"), start.latents)
    assert said == {
        "prompt": "",
        "seed": 7,
        "picture": "case-000",
        "time": 511,
        "clean": True,
        "guidance": 1.0,
        "eta": 0.5,
    }
    assert Payload(prompt="a church").directions == {}


def test_what_is_taken_over_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, out = tmp_path / "done", tmp_path / "out"
    (done / "cells").mkdir(parents=True)
    for place in ("material/church/a.png", "material/church/b.png"):
        (done / place).parent.mkdir(parents=True, exist_ok=True)
        (done / place).write_text("{}", encoding="utf-8")

    def cut(source: Path, target: Path, **_: object) -> None:
        target.mkdir(exist_ok=True)
        shutil.copy2(source / "church" / "a.png", target)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", cut)
    with pytest.raises(KeyboardInterrupt):
        take_over(done, out)
    assert not (out / "material").exists()
    monkeypatch.undo()
    take_over(done, out)
    assert len(list((out / "material").rglob("*.png"))) == 2
