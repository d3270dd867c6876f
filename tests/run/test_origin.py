"""A later run that asks the original base, not the model that it begins at."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure
from support.results.edited import edit_record
from support.tiny import Toy, ToyDenoiser, assert_same_bits, copied, some_mask, toy_condition

from erasure.checkpoints.provenance import Provenance
from erasure.errors import ConfigError
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights
from pipelines.configs.resolving import resolve
from pipelines.run.models import open_model
from pipelines.run.preparing import plan_of
from prompts.errors import PromptError


def test_the_origin_answers_and_the_network_keeps_its_own_values() -> None:
    network, origin = Toy(1), Toy(2)
    denoise = ToyDenoiser(network)
    selected = SelectedWeights(network, some_mask(network))
    values = {p: dict(origin.named_parameters())[n].detach() for n, p in network.named_parameters()}
    frozen = FrozenDenoiser(denoise, selected, needed=True, origin=values)
    with torch.no_grad():
        for vector in selected.vectors.values():
            vector.add_(0.5)
    selected.write_back()
    before = copied(network)
    x_t, t, condition = torch.randn(2, 2, 4, 4), torch.tensor([5, 900]), toy_condition(rows=2)
    with torch.no_grad():
        assert torch.equal(frozen(x_t, t, condition), origin(x_t, t, condition.tokens))
        with frozen.held():
            assert torch.equal(frozen(x_t, t, condition), origin(x_t, t, condition.tokens))
        assert torch.equal(denoise(x_t, t, condition), network(x_t, t, condition.tokens))
    assert_same_bits(copied(network), before)


def test_an_average_has_no_origin() -> None:
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    with pytest.raises(ConfigError, match="asks no base, so an origin would not be read"):
        FrozenDenoiser(ToyDenoiser(network), selected, needed=True, decay=0.9, origin={})


def run(model: Path, out: Path, *options: Any) -> Any:  # noqa: ANN401
    return erasure(
        *("erase", model, "--method", "esd", "--steps", 2, "--lr", 1e-2, "--seeds", 0),
        *("--set", "rollout_steps=2", "--set", "grid.drawing.steps=2", "--device", "cpu"),
        *("--cache", out.parent / "cache", "--out", out, "--json", *options),
    )


@pytest.mark.slow
def test_a_later_run_pulls_to_the_original_base(tiny_folder: Path, tmp_path: Path) -> None:
    first = run(tiny_folder, tmp_path / "one", "--concept", "church", "--scope", "selfattn")
    assert first.code == 0, first.err
    edited = tmp_path / "one" / "model"
    hashes = {}
    for name, options in (("own", ()), ("origin", ("--origin", tiny_folder))):
        said = run(edited, tmp_path / name, "--concept", "teapot", *options)
        assert said.code == 0, said.err
        record = json.loads((tmp_path / name / "erasure.json").read_text(encoding="utf-8"))
        hashes[name] = record["result_hash"]
        assert json.loads(said.out)["unselected_identical"] is True
    assert hashes["own"] != hashes["origin"]
    assert record["config"]["origin_hash"] == record["edits"][0]["base_hash"]


def test_what_was_erased_before_is_not_learned_again_from_an_origin() -> None:
    edits = Provenance(edits=(edit_record("church"),))
    edited = replace(open_model("demo"), provenance=edits)

    def retained(**more: Any) -> set[str]:  # noqa: ANN401
        tables = {"concept": "dog", "method": {"name": "salun", "kept": "base"}, **more}
        return {*plan_of(resolve(tables, canvas=True), edited).retain}

    church = {*plan_of(resolve({"concept": "church"}, canvas=True), edited).forget}
    assert retained() & church  # answered as the edited model answers it
    assert not retained(origin="demo") & church
    assert retained(origin="demo") == retained() - church
    listed = {"origin": "demo", "data": {"retain_prompts": ["a cat", "two churches"]}}
    with pytest.raises(PromptError, match="the origin would teach it again"):
        retained(**listed)


def test_what_was_erased_before_and_has_no_words_here_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    edited = replace(open_model("demo"), provenance=Provenance(edits=(edit_record("sadness"),)))
    plan = plan_of(resolve({"concept": "dog", "origin": "demo"}, canvas=True), edited)
    assert plan.earlier == ()
    assert "'sadness' was erased from this model before" in caplog.text


def test_an_origin_that_answers_as_the_model_itself_is_warned_of(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = run(tiny_folder, tmp_path / "run", "--concept", "church", "--origin", tiny_folder)
    assert said.code == 0, said.err
    assert "the origin has this model's own unet, so it answers as this model does" in caplog.text


def test_an_origin_that_would_not_be_asked_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--origin", tiny_folder),
        *("--out", tmp_path / "run"),
    )
    assert said.code == 2
    assert "--origin is" in said.err
    assert "asks no base" in said.err


def test_a_teacher_that_follows_the_training_and_streaming_take_no_origin() -> None:
    settings = {"concept": "church", "origin": "base"}
    with pytest.raises(
        ConfigError, match="--origin is 'base' and would not be read, as the method"
    ):
        resolve({**settings, "method": {"name": "sdd"}}, canvas=True)
    assert resolve({**settings, "method": {"name": "esd"}}, canvas=True).origin == "base"
    with pytest.raises(ConfigError, match="no origin can be put in their place"):
        resolve({**settings, "method": {"name": "esd"}, "stream": True}, canvas=True)
