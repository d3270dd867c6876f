"""What every method in closed form does on other families."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.console import erasure
from support.models.tiny_flow import WIDTHS, write_sd3
from support.models.tiny_labels import write_ddpm
from support.models.tiny_sdxl import write_sdxl
from support.refusals import assert_told
from support.tiny import assert_same_bits, outside

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.methods import Mace, Method, Rece, Speed, Uce
from erasure.solving.vectors import edit_vectors


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_sdxl(tmp_path_factory.mktemp("sdxl") / "model"))


@pytest.fixture(scope="module")
def prompts(sdxl: Checkpoint) -> ConceptData:
    lists = PromptLists(["a church", "church"], ["a dog", "a truck"])
    stand_ins = {"a church": ["a castle"], "church": ["castle"]}
    return encode_concept(sdxl, None, stand_ins, prompts=lists)


@pytest.mark.parametrize(
    "method",
    [
        Uce(ridge=1e-3),
        Rece(ridge=1e-3, tokens="last", gathered=True),
        Speed(ridge=1e-3, threshold=1e-2, filtered=False),
    ],
    ids=lambda method: method.name,
)
def test_sdxl_answers_to_the_concept_as_to_its_stand_in(
    sdxl: Checkpoint, prompts: ConceptData, method: Method
) -> None:
    mask = find_mask(sdxl, prompts, "all", scope="xattn-kv")
    result = erase(sdxl, prompts, mask, method)
    vectors = edit_vectors(prompts, "last")
    values = [name for name in mask.entries if name.endswith("to_v.weight")]
    assert values
    for name in values:
        base, after = sdxl.network[name].double(), result.network[name].double()
        wanted = after @ vectors.instead
        before = float((base @ (vectors.concept - vectors.instead)).norm())
        assert float((after @ vectors.concept - wanted).norm()) < 0.7 * before
    assert torch.isfinite(torch.tensor([step.loss for step in result.history])).all()


def test_the_token_that_begins_every_prompt_of_sdxl_is_kept(
    sdxl: Checkpoint, prompts: ConceptData
) -> None:
    # Its empty prompt is told as zeros, which no edit moves; the first token is in every other.
    table = prompts.prompts.tokens.double()
    assert not table[0].any()
    first, last = table[1, 0], edit_vectors(prompts, "last").concept
    for row in table[2:]:
        torch.testing.assert_close(row[0], first, rtol=1e-4, atol=1e-6)
    mask = find_mask(sdxl, prompts, "all", scope="xattn-kv")
    held = erase(sdxl, prompts, mask, Speed(ridge=1e-3, threshold=1e-2, filtered=False))
    for factors in held.factors.values():
        moved = factors.change() @ last
        assert float((factors.change() @ first).norm()) < 1e-9 * float(moved.norm())
    solved = erase(sdxl, prompts, mask, Uce(ridge=0.0, preserve_weight=1e6))
    for factors in solved.factors.values():
        moved = factors.change() @ last
        assert float((factors.change() @ first).norm()) < 1e-4 * float(moved.norm())


def test_all_tokens_of_speed_are_those_behind_the_first_in_sdxl_too(prompts: ConceptData) -> None:
    table = prompts.prompts.tokens.double()
    vectors = Speed(tokens="all")._vectors(prompts)
    for part in (vectors.concept, vectors.instead, vectors.others):
        assert part.shape[1] == 2 * (table.shape[1] - 1)
        assert float(torch.cdist(part.T, table[1, :1]).min()) > 0
    assert torch.equal(vectors.concept[:, 0], table[1, 1])


@pytest.mark.parametrize(
    "method",
    [
        Uce(),
        Rece(rounds=1),
        Speed(filtered=False, threshold=0.3),
        Mace(steps=1, pictures=1, drawing_steps=2, around_300=False),
    ],
    ids=lambda method: method.name,
)
def test_rank_and_condition_are_said_and_no_rank_of_what_a_mask_cuts(
    tiny_checkpoint: Checkpoint, method: Method
) -> None:
    prompts = encode_concept(
        tiny_checkpoint,
        None,
        {"a church": ["a castle"]},
        prompts=PromptLists(["a church"], ["a dog"]),
    )
    for kind in ("all", "random"):
        mask = find_mask(tiny_checkpoint, prompts, kind, density=0.5, scope="xattn-kv")
        edit = erase(tiny_checkpoint, prompts, mask, method)
        facts = edit.provenance.last.config["facts"]
        ranks = [len(one.down) for one in edit.factors.values()]
        assert facts.get("rank") == (max(ranks) if kind == "all" else None)
        assert facts["condition_number"] >= 1
        assert 0 < facts["largest_change"] < 10
        assert facts["largest_change_of"] in mask.entries


@pytest.mark.parametrize("method", [Uce(), Rece(rounds=1), Speed()], ids=lambda method: method.name)
def test_what_a_mask_leaves_out_keeps_the_sign_of_its_zeros(
    tiny_checkpoint: Checkpoint, method: Method
) -> None:
    # Weights that half precision cannot hold are zeros with a sign in published files.
    negative = {
        name: torch.full_like(weight, -0.0).where(torch.arange(weight.shape[-1]) == 1, weight)
        for name, weight in tiny_checkpoint.network.items()
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    }
    model = tiny_checkpoint.having("unet", {**tiny_checkpoint.network, **negative})
    prompts = encode_concept(
        model, None, {"a church": ["a castle"]}, prompts=PromptLists(["a church"], ["a dog"])
    )
    mask = find_mask(model, prompts, "random", density=0.5, scope="xattn-kv")
    edit = erase(model, prompts, mask, method)
    assert edit.provenance.last.moved > 0
    after = {name: edit.network[name] for name in mask.entries}
    assert_same_bits(after, {name: model.network[name] for name in after}, outside(mask.entries))


def test_the_tail_of_a_prompt_ends_where_another_encoder_s_tokens_begin(tmp_path: Path) -> None:
    # T5's words are at other places than CLIP's, so behind them no two prompts are aligned.
    model = read_checkpoint(write_sd3(tmp_path / "with-t5"))
    lists = PromptLists(["an old church"])
    prompts = encode_concept(model, None, {"an old church": ["art"]}, prompts=lists)
    first, second = (int(prompts.require_texts().last[row]) for row in (1, 2))
    assert first != second
    end = model.architecture.first_tokens(model.description)
    vectors = edit_vectors(prompts, "tail", end=end)
    assert vectors.concept.shape[1] == 77 - max(first, second)
    assert not vectors.concept[sum(WIDTHS) :].any()  # CLIP's features, filled up to T5's width
    mask = find_mask(model, prompts, "all", scope="text-in")
    edit = erase(model, prompts, mask, Uce(tokens="tail"))
    assert edit.provenance.last.config["facts"]["rank"] <= sum(WIDTHS)


def test_more_concepts_than_a_method_bears_are_warned_of_in_every_family(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = read_checkpoint(write_sd3(tmp_path / "sd3", t5=False))
    words = [f"a {letter}" for letter in "abcdefghijk"]
    lists = PromptLists(words, concepts=range(len(words)))
    prompts = encode_concept(model, None, {word: ["art"] for word in words}, prompts=lists)
    mask = find_mask(model, prompts, "all", scope="text-in")
    edit = erase(model, prompts, mask, Uce())
    assert edit.provenance.last.config["facts"]["concepts"] == 11
    assert "uce solves for 11 concepts at once and is known to bear about 10" in caplog.text


@pytest.mark.parametrize(
    ("writer", "concept", "method", "words"),
    [
        (
            write_sd3,
            "church",
            "mace",
            "has no cross-attention, which is what mace rewrites; take uce",
        ),
        (write_sd3, "church", "rece", "which is what rece rewrites; take uce"),
        (write_ddpm, "sneaker", "uce", "which is what uce rewrites; take a method that trains"),
        (write_ddpm, "sneaker", "speed", "which is what speed rewrites; take a method that trains"),
    ],
)
def test_a_model_without_what_they_rewrite_is_refused_before_anything_is_written(
    writer: Callable[[Path], Path], concept: str, method: str, words: str, tmp_path: Path
) -> None:
    model, out = writer(tmp_path / "model"), tmp_path / "out"
    said = erasure("erase", model, "--concept", concept, "--method", method, "--out", out)
    assert_told(said, 2, words)
    assert not out.exists()
