"""`erasure audit --card`: the card and the records of a run name the audit, and verify holds it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure

from erasure import verify
from erasure.checkpoints.audit_note import AuditNote, audit_notes, with_note
from erasure.checkpoints.writing.inventory import checksum, file_hash, sealed_record
from erasure.errors import CheckpointError
from pipelines.audit.telling.record import write_audit_note

TINY = """
concept = "church"
attacks = ["seeds"]
settings = ["seeds.draws=2"]
budget = 2
cases = 1
confirm = 1
shown = 1
without = 2
damage = "none"
steps = 1
guidance = 1.0
size = 16
batch_size = 8
device = "cpu"
judge = "canvas"
"""


@pytest.fixture(scope="module")
def audited(tiny_run: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `run`, and its `audit`."""
    folder = tmp_path_factory.mktemp("audited")
    run, out, recipe = folder / "run", folder / "audit", folder / "tiny.toml"
    shutil.copytree(tiny_run, run)
    recipe.write_text(TINY, encoding="utf-8")
    said = erasure(
        *("audit", run, "--recipe", recipe, "--against", tiny_folder, "--card"),
        *("--published", "base,mask", "--out", out, "--json"),
    )
    assert said.code == 0, said.err
    paths = json.loads(said.out)["written into"]
    written = [Path(path).relative_to(run).as_posix() for path in paths]
    assert written == ["model/erasure.json", "erasure.json", "model/README.md"]
    return folder


def note(path: Path) -> dict[str, Any]:
    (one,) = json.loads(path.read_text(encoding="utf-8"))["audits"]
    assert isinstance(one, dict)
    return one


def test_both_records_and_the_card_say_what_the_audit_said(audited: Path) -> None:
    audit = json.loads((audited / "audit" / "audit.json").read_text(encoding="utf-8"))
    made = note(audited / "run" / "model" / "erasure.json")
    assert note(audited / "run" / "erasure.json") == made
    assert made["sentence"] == audit["sentence"]
    assert made["verdicts"] == {a["name"]: a["verdict"]["state"] for a in audit["attacks"]}
    assert made["budget"] == {"draws": 2, "cases": 1, "confirm": 1}
    assert made["weights"] == audit["models"]["audited"]["weights"]
    assert made["weights"]["unet"] == audit["models"]["audited"]["hash"]
    assert made["base_hash"] == audit["models"]["base"]["hash"]
    assert made["judge"] == audit["judge"]["name"]
    assert made["versions"] == audit["versions"]
    assert made["audit_hash"] == file_hash(audited / "audit" / "audit.json")
    assert "it is said that of these are published: base, mask, and not patch" in made["public"]
    card = (audited / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert audit["sentence"] in card
    assert "published: base, mask, and not patch" in card


def test_no_file_but_records_and_card_changes_and_all_is_verified(
    audited: Path, tiny_run: Path
) -> None:
    run = audited / "run"
    changed = {
        path.relative_to(run).as_posix()
        for path in run.rglob("*")
        if path.is_file() and file_hash(path) != file_hash(tiny_run / path.relative_to(run))
    }
    assert changed == {"model/erasure.json", "erasure.json", "model/README.md"}
    said = erasure("verify", run)
    assert said.code == 0, said.err
    assert "audited for church" in said.out
    assert note(run / "erasure.json")["sentence"] in said.out
    whole = json.loads(erasure("verify", run, "--json").out)
    assert whole["audits"] == [note(run / "erasure.json")]
    assert whole["checked"]["audit of church"] == "ok"
    assert "no audit is recorded" in erasure("verify", tiny_run).out


def test_an_audit_of_other_weights_does_not_verify(audited: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(audited / "run", run)
    for path in (run / "erasure.json", run / "model" / "erasure.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["audits"][0]["weights"]["text_encoder"] = "ab" * 32
        path.write_text(json.dumps(sealed_record(record)), encoding="utf-8")
    said = erasure("verify", run)
    assert said.code == 1
    assert "audit of church: of another text_encoder, stated is of these weights" in said.err


def test_notes_that_are_no_notes_are_refused(audited: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(audited / "run" / "model", model)
    path = model / "erasure.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for broken in ("gone", [{"concept": 3}], [{"concept": "church"}]):
        path.write_text(json.dumps(sealed_record({**record, "audits": broken})), encoding="utf-8")
        with pytest.raises(CheckpointError, match="audits"):
            verify(model)


def test_a_later_audit_of_the_concept_replaces_the_former_and_leaves_others() -> None:
    first = AuditNote(
        concept="church",
        weights={"unet": "ab" * 32},
        sentence="No attack decided.",
        verdicts={"seeds": "undecided"},
        budget={"draws": 2},
        seed=0,
        judge="canvas",
        false_positives=0.06,
        audit_hash="cd" * 32,
    )
    record = sealed_record({"format": "x", "weights": {"unet": "ab" * 32}})
    for one in (first, replace(first, concept="dog"), replace(first, guard="prompt-filter")):
        record = with_note(record, one, "here")
    record = with_note(record, replace(first, seed=5), "here")
    seen = [(one.concept, one.guard, one.seed) for one in audit_notes(record, "here")]
    assert seen == [("church", None, 5), ("church", "prompt-filter", 0), ("dog", None, 0)]
    assert record["checksum"] == checksum(record)
    assert record["weights"] == {"unet": "ab" * 32}


def test_the_weights_that_lie_there_must_be_those_that_were_audited(audited: Path) -> None:
    model = audited / "run" / "model"
    before = (model / "erasure.json").read_bytes()
    (made,) = audit_notes(json.loads(before), "here")
    with pytest.raises(CheckpointError, match="audit the model that lies there now"):
        write_audit_note(replace(made, weights={**made.weights, "unet": "ab" * 32}), model)
    assert (model / "erasure.json").read_bytes() == before


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_model_without_a_record_is_refused_before_anything_is_drawn(
    tiny_folder: Path, audited: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    said = erasure(
        *("audit", tiny_folder, "--concept", "church", "--against", audited / "run", "--card"),
        *("--judge", "canvas", "--out", tmp_path / "out", *more),
    )
    assert said.code == 2
    assert "leave --card out" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "words"), [("base,parch", "published names 'parch'"), ("base,nothing", "and more")]
)
def test_what_cannot_be_published_is_refused(
    tiny_folder: Path, tmp_path: Path, names: str, words: str
) -> None:
    said = erasure(
        *("audit", tiny_folder, "--concept", "church", "--published", names),
        *("--out", tmp_path / "out"),
    )
    assert said.code == 2
    assert words in said.err
