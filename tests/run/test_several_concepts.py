"""Several concepts in one run: the order of the samples, the mask, the record, the refusals."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure
from support.results.edited import edit_record
from support.tiny import CPU, Toy, ToyDenoiser, some_mask, toy_batches, toy_data, toy_schedule

from erasure import verify
from erasure.checkpoints import read_checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.diffusion.batches import RolloutBatches
from erasure.diffusion.data.concept_data import ConceptData, PromptRows
from erasure.diffusion.data.shuffling import interleaved, shuffled
from erasure.diffusion.scores.saliency import merged_scores
from erasure.errors import ConfigError
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights
from pipelines.configs.settings import EraseRecipe
from pipelines.evaluation.erased import erased_labels
from pipelines.evaluation.settings import EvaluateRecipe
from pipelines.run.models import open_model
from prompts.suites.suites import load_suite


def two_concepts() -> ConceptData:
    """Prompt 1 shows one concept, prompt 2 the other."""
    texts = PromptRows(
        torch.tensor([1, 2]), torch.tensor([[3], [4]]), torch.tensor([5]), torch.ones(6).long()
    )
    owners = torch.tensor([-1, 0, 1, -1, -1, -1])
    return replace(toy_data(), texts=texts, owners=owners)


def test_samples_take_the_concepts_in_turn_however_the_stream_is_cut() -> None:
    groups = [[0, 2, 4], [1, 3]]
    whole = interleaved(groups, 0, 60, 7, "order")
    assert whole == [
        row for start in range(0, 60, 5) for row in interleaved(groups, start, 5, 7, "order")
    ]
    assert all(row in groups[place % 2] for place, row in enumerate(whole))
    assert Counter(whole) == {0: 10, 2: 10, 4: 10, 1: 15, 3: 15}


def test_a_single_concept_s_order_is_what_it_was() -> None:
    assert interleaved([[0, 1, 2, 3, 4]], 3, 20, 7, "x") == shuffled(5, 3, 20, 7, "x")


def test_pictures_and_rollouts_alternate_step_by_step() -> None:
    data, network = two_concepts(), Toy()
    denoise = ToyDenoiser(network)
    frozen = FrozenDenoiser(denoise, SelectedWeights(network, some_mask(network)), needed=False)
    table = data.prompts.tokens
    pictures = toy_batches(data).at(0, 6, denoise, frozen).forget.condition.tokens
    rollouts = RolloutBatches(data, toy_schedule(), 7, CPU, steps=3)
    rolled = rollouts.at(0, 6, denoise, frozen).concept.tokens
    for place in range(6):
        assert torch.equal(pictures[place], table[1 + place % 2])
        assert torch.equal(rolled[place], table[1 + place % 2])


def test_each_concept_s_part_has_its_own_pictures_and_prompts() -> None:
    first, second = two_concepts().by_concept()
    assert set(first.forget.prompt.tolist()) == {1}
    assert set(second.forget.prompt.tolist()) == {2}
    assert len(first.forget) + len(second.forget) == 5
    assert first.texts is not None
    assert first.texts.forget.tolist() == [1]
    assert len(first.retain) == len(second.retain) == 6
    single = toy_data()
    assert single.by_concept() == [single]


def test_merged_scores_weigh_every_concept_alike() -> None:
    def scores() -> list[dict[str, torch.Tensor]]:
        one = {"w": torch.tensor([8.0, 0.0, 0.0, 8.0])}  # of a concept with a larger loss
        return [one, {"w": torch.tensor([0.0, 1.0, 0.0, 1.0])}]

    assert merged_scores(scores(), "union")["w"].tolist() == [2.0, 2.0, 0.0, 2.0]
    assert merged_scores(scores(), "sum")["w"].tolist() == [2.0, 2.0, 0.0, 4.0]
    alone = scores()[0]
    assert merged_scores([alone], "union")["w"].tolist() == [8.0, 0.0, 0.0, 8.0]


def run(folder: Path, cache: Path, out: Path, *options: Any) -> Any:  # noqa: ANN401
    return erasure(
        *("erase", folder, "--steps", 2, "--batch-size", 2, "--seeds", 0, "--device", "cpu"),
        *("--forget-drawn", 3, "--retain-drawn", 4, "--set", "data.drawing.steps=2"),
        *("--set", "grid.drawing.steps=2", "--cache", cache, "--out", out, "--json", *options),
    )


def test_a_run_names_all_its_concepts_and_a_file_of_them_makes_the_same_recipe(
    tiny_folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("--concept", "teapot", "--concept", "bicycle")
    said = run(tiny_folder, cache, tmp_path / "run", *names)
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["concept"] == "teapot, bicycle"
    assert report["unselected_identical"] is True
    assert verify(tmp_path / "run").passed
    made = read_checkpoint(tmp_path / "run" / "model").provenance
    assert made is not None
    assert made.concepts == ("teapot", "bicycle")
    assert made.last.concept == "teapot, bicycle"
    names_file = tmp_path / "names.txt"
    names_file.write_text("teapot\nbicycle\n", encoding="utf-8")
    seen: list[EraseRecipe] = []

    def note(recipe: EraseRecipe, *_: object, **__: object) -> None:
        seen.append(recipe)
        raise ConfigError("enough was seen")

    monkeypatch.setattr("pipelines.jobs.erase_job.run_erasure", note)
    assert run(tiny_folder, cache, tmp_path / "other", "--concepts", names_file).code == 2
    assert (seen[0].concept, seen[0].concepts) == ("teapot", ("bicycle",))
    again = ("--recipe", tmp_path / "run" / "recipe.toml", "--json")
    assert erasure("erase", *again, "--out", tmp_path / "other").code == 2
    assert seen[1] == seen[0]  # equal recipes give equal results


@pytest.mark.slow
def test_a_recipe_s_concepts_give_way_to_those_of_the_command_line(
    tiny_folder: Path, tmp_path: Path, cache: Path
) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text('concepts = ["teapot", "bicycle"]\n', encoding="utf-8")
    said = run(tiny_folder, cache, tmp_path / "run", "--recipe", recipe, "--concept", "church",
               "--mask", "all", "--scope", "xattn")  # fmt: skip
    assert said.code == 0, said.err
    assert json.loads(said.out)["concept"] == "church"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--concept", "teapot", "--concept", "Teapot "), "the concept 'teapot' is named twice"),
        (("--concept", "teapot", "--set", "saliency.merge=sum"), "there is a single concept"),
        (
            ("--concept", "teapot", "--concept", "bicycle", "--set",
             'data.forget_prompts=["a blue dog"]'),
            "'a blue dog' names none of teapot, bicycle",
        ),
        (("--concepts", "NOWHERE"), "NOWHERE"),
    ],
)  # fmt: skip
def test_concepts_that_cannot_be_are_refused(
    options: tuple[str, ...], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure("erase", tiny_folder, "--out", tmp_path / "run", *options)
    assert said.code == 2, said.err
    assert words in said.err


def test_an_evaluation_looks_at_each_concept_of_every_edit() -> None:
    suite = load_suite("canvas")
    demo = open_model("demo")
    record = edit_record("church, dog", concepts=("church", "dog"))
    edited = replace(demo, provenance=Provenance(edits=(record,)))
    recipe = EvaluateRecipe(model="demo", suite="canvas")
    assert erased_labels(recipe, edited, suite).labels == ("church", "dog")
    assert Provenance.from_dict(edited.provenance.to_dict()).concepts == ("church", "dog")  # type: ignore[union-attr]


def test_an_object_and_a_style_are_judged_kind_by_kind(tmp_path: Path) -> None:
    said = erasure(
        *("evaluate", "demo", "--suite", "canvas", "--limit", 6, "--steps", 2, "--json"),
        *("--erased", "church", "--erased", "sketch", "--out", tmp_path / "out"),
    )
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert {"ua", "ua_object", "ua_style", "ira", "cra"} <= set(results["summary"])
    rows = {(c["head"], c["label"]) for c in results["classes"] if c["erased"]}
    assert rows == {("object", "church"), ("style", "sketch")}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Unlearning accuracy, object" in page
    assert "Unlearning accuracy, style" in page
