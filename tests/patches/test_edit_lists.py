"""A model that was erased from twice says both, wherever it goes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.console import erasure
from support.results.edited import edit_record

from erasure import read_checkpoint, verify
from erasure.checkpoints import EditRecord, Provenance, model_card
from erasure.checkpoints.provenance import edits_of
from erasure.checkpoints.writing.folder import write_folder
from erasure.checkpoints.writing.modelspec import default_title
from erasure.errors import CheckpointError
from erasure.patches.patch import make_patch
from erasure.patches.patch_edits import applied, edits_since
from erasure.patches.patch_file import load_patch
from erasure.patches.patch_stack import stack_patches
from erasure.storage.tensors.hashing import weights_hash


@pytest.fixture(scope="module")
def twice(tiny_run: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Erase `dog` from the model from which `church` was erased."""
    out = tmp_path_factory.mktemp("twice") / "church-dog"
    line = ("erase", tiny_run, "--recipe", tiny_recipe, "--concept", "dog", "--steps", 1)
    said = erasure(*line, "--out", out)
    assert said.code == 0, said.err
    return out


def concepts(path: Path) -> list[str]:
    """The concept of each edit, once the record was checked against the weights."""
    said = erasure("verify", path, "--json")
    assert said.code == 0, said.err
    report: dict[str, Any] = json.loads(said.out)
    return [edit["concept"] for edit in report["edits"]]


def exported(path: Path, *more: object) -> Path:
    said = erasure("export", *more, "--out", path)
    assert said.code == 0, said.err
    return path


@pytest.mark.slow
def test_a_run_on_a_run_keeps_the_first_edit(twice: Path, tiny_run: Path) -> None:
    assert concepts(twice) == concepts(twice / "model") == ["church", "dog"]
    first, second = read_checkpoint(twice / "model").edits
    assert [first] == list(read_checkpoint(tiny_run / "model").edits)
    assert second.base_hash == first.result_hash
    assert (first.base, second.base) == ("model", "church")
    record = json.loads((twice / "erasure.json").read_text(encoding="utf-8"))
    assert record["concept"] == "dog"  # what this run did
    assert [edit["concept"] for edit in record["edits"]] == ["church", "dog"]
    said = erasure("verify", twice)
    assert "erased 1" in said.out
    assert "erased 2" in said.out


def test_the_card_tells_of_every_edit(twice: Path) -> None:
    text = (twice / "model" / "README.md").read_text(encoding="utf-8")
    assert "# model without church and dog\n" in text
    assert "### Edit 1" in text
    assert "### Edit 2" in text
    first, second = read_checkpoint(twice / "model").edits
    assert first.result_hash in text
    assert second.result_hash in text


@pytest.mark.default("single-file")  # a run is a folder of diffusers, and `twice` is made from one
@pytest.mark.parametrize("kind", ["diffusers", "single-file"])
def test_exports_and_edits_of_exports_keep_the_list(
    kind: str, twice: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    copy = tmp_path / ("copy.safetensors" if kind == "single-file" else "copy")
    exported(copy, twice, "--to", kind, "--dtype", "fp16")
    assert concepts(copy) == ["church", "dog"]
    assert read_checkpoint(copy).edits == read_checkpoint(twice / "model").edits
    if kind == "single-file":
        with safe_open(copy, framework="pt") as file:
            assert file.metadata()["erasure.concept"] == "church, dog"
    line = ("erase", copy, "--recipe", tiny_recipe, "--concept", "truck", "--steps", 1)
    config = ("--config", twice / "model") if kind == "single-file" else ()
    said = erasure(*line, *config, "--out", tmp_path / "third")
    assert said.code == 0, said.err
    assert concepts(tmp_path / "third") == ["church", "dog", "truck"]


def test_patches_carry_the_edits_since_their_base_and_put_them_in_and_out(
    twice: Path, tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    both = exported(tmp_path / "both.patch", twice, "--to", "patch", "--base", tiny_folder)
    dog = exported(tmp_path / "dog.patch", twice, "--to", "patch", "--base", tiny_run)
    assert load_patch(both).info.concepts == ("church", "dog")
    assert load_patch(dog).info.concepts == ("dog",)
    for base, patch in ((tiny_folder, both), (tiny_run, dog)):
        out = tmp_path / f"with-{patch.stem}"
        assert erasure("patch", "apply", base, patch, "--out", out).code == 0
        assert read_checkpoint(out).edits == read_checkpoint(twice / "model").edits
        assert concepts(out) == ["church", "dog"]
    back = tmp_path / "back"
    assert erasure("patch", "remove", twice, dog, "--out", back).code == 0
    assert concepts(back) == ["church"]
    assert "the base again, as before the erasure of dog" in erasure("verify", back).out
    assert erasure("patch", "remove", twice, both, "--out", tmp_path / "base").code == 0
    assert concepts(tmp_path / "base") == []


def test_a_model_that_a_patch_was_removed_from_is_recognised_as_its_base(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    patch = exported(tmp_path / "church.patch", tiny_run, "--to", "patch", "--base", tiny_folder)
    base = read_checkpoint(tiny_folder).network_hash()
    for name, kind in (("base", "diffusers"), ("base.safetensors", "single-file")):
        out = tmp_path / name
        line = ("patch", "remove", tiny_run, patch, "--to", kind, "--out", out)
        assert erasure(*line).code == 0
        said = erasure("verify", out, "--json")
        assert said.code == 0, said.err
        report = json.loads(said.out)
        assert report["restored"] == {"concepts": ["church"], "base_hash": base}
        assert report["checked"]["restored base"] == "ok"
        assert report["UNet"] == base
        assert "the base again, as before the erasure of church" in erasure("verify", out).out
    # A narrower copy is not the base any more, and no longer says that it is.
    half = exported(tmp_path / "half.safetensors", tmp_path / "base", "--dtype", "bf16")
    assert verify(half).passed
    assert verify(half).provenance is None


def test_a_stack_keeps_the_lists_of_all_its_patches(
    twice: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    truck, start = tmp_path / "truck", read_checkpoint(tiny_folder)
    bias = start.network["conv_in.bias"]
    after = start.having("unet", {**start.network, "conv_in.bias": bias + 1})
    record = edit("truck", start.network_hash(), after.network_hash())
    write_folder(replace(after, provenance=Provenance(edits=(record,))), truck)
    base = ("--to", "patch", "--base", tiny_folder)
    patches = [exported(tmp_path / f"{run.name}.patch", run, *base) for run in (twice, truck)]
    stacked, out = tmp_path / "all.patch", tmp_path / "all"
    assert erasure("patch", "stack", tiny_folder, *patches, "--out", stacked).code == 0
    assert erasure("patch", "apply", tiny_folder, stacked, "--out", out).code == 0
    assert concepts(out) == ["church", "dog", "truck"]
    assert erasure("patch", "remove", out, stacked, "--out", tmp_path / "none").code == 0
    assert concepts(tmp_path / "none") == []


def test_a_patch_without_a_story_gets_a_record_of_what_it_does() -> None:
    base = {"w": torch.zeros(4)}
    patch = make_patch(base, {"w": torch.tensor([0.0, 1.0, 0.0, 0.0])}, concepts=("church",))
    edits = edits_of(stack_patches(base, [patch]).info.provenance, "the patch")
    assert [(e.concept, e.moved, e.total, e.objective) for e in edits] == [
        ("church", 1, 4, "not recorded")
    ]
    assert edits[0].result_hash == patch.info.result


def edit(concept: str, base: str, result: str) -> EditRecord:
    return edit_record(concept, base="SD 1.5", base_hash=base, result_hash=result, created="2026")


def test_the_edits_since_a_base_are_those_from_where_it_stood() -> None:
    church, dog = edit("church", "a", "b"), edit("dog", "b", "c")
    assert edits_since((church, dog), (), {"unet": "a"}) == (church, dog)
    assert edits_since((church, dog), (church,), {"unet": "b"}) == (dog,)
    assert edits_since((church, dog), (church,), {"unet": "another type's"}) == (dog,)
    assert edits_since((), (), {"unet": "a"}) == ()


def test_a_weak_edit_gets_weaker_and_one_that_left_no_trace_is_none() -> None:
    base, edited = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    first = make_patch(base, edited, component="unet")
    half = replace(edit("church", first.info.base, first.info.result), strength=0.5)
    other = replace(half, component="text_encoder")
    record = Provenance(edits=(half, other)).to_dict()
    patches = {
        "unet": replace(first, info=replace(first.info, provenance=record)),
        "text_encoder": make_patch(base, edited, component="text_encoder", provenance=record),
    }
    quarter = {"w": torch.full((2,), 0.25)}
    made = applied(None, patches, {"unet": quarter, "text_encoder": base}, 0.5)
    (one,) = made.edits
    assert (one.component, one.strength) == ("unet", 0.25)
    assert one.result_hash == weights_hash(quarter)


def test_patches_of_older_versions_are_read() -> None:
    one = {**edit("church", "a", "b").to_dict(), "format": "erasure-checkpoint 1"}
    other = {**edit("dog", "a", "c").to_dict(), "format": "erasure-checkpoint 1"}
    assert [e.concept for e in edits_of(one, "it")] == ["church"]
    assert [e.concept for e in edits_of({"stacked": [one, other]}, "it")] == ["church", "dog"]
    assert edits_of({}, "it") == ()
    for damaged in ("church", 3, [1]):
        with pytest.raises(CheckpointError, match="stacked edits that are no list"):
            edits_of({"stacked": damaged}, "it")


def test_a_title_names_the_base_and_what_is_gone(twice: Path, tiny_folder: Path) -> None:
    made = read_checkpoint(twice / "model")
    assert default_title(made, made.provenance) == "model without church, dog"
    old = Provenance(edits=tuple(edit(e.concept, "a", "b") for e in made.edits))
    assert default_title(made, old) == "SD 1.5 without church, dog"
    assert default_title(made, None) == "church-dog"
    plain = read_checkpoint(tiny_folder)
    assert default_title(plain, None) == "model"  # so it is called, and it lies in no run


def test_a_card_of_one_edit_has_one_table() -> None:
    text = model_card(Provenance(edits=(edit("church", "a", "b"),)), base="SD 1.5")
    assert "### Edit" not in text
    assert "has unlearned **church**." in text


def test_evaluate_looks_at_every_erased_concept_and_says_each(
    twice: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.csv"
    rows = ["prompt,object,seed", "a church,church,1", "a fish,fish,2", "a truck,truck,3"]
    prompts.write_text("\n".join(rows) + "\n", encoding="utf-8")
    line = ("evaluate", twice, "--against", tiny_folder, "--suite", "csv", "--prompts", prompts)
    quick = ("--steps", 1, "--judge", "canvas", "--device", "cpu", "--out", tmp_path / "out")
    said = erasure(*line, *quick)
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["erased"] == ["church"]
    assert results["not_drawn"] == ["dog"]
    assert results["models"]["after"]["concepts"] == ["church", "dog"]
    assert "church recognised" in said.out
    assert "dog recognised" in said.out
    assert "no prompt of this suite asks for it" in said.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "edit 2: base hash" in page
    assert "erased, and asked for by no prompt" in page
