"""UCE: its formula, its limits, and its promise under a mask."""

from dataclasses import replace

import pytest
import torch
from support.tiny import assert_same_bits, outside, random_pictures
from torch import Tensor

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.methods import Uce
from erasure.solving.vectors import EditVectors, edit_vectors

KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def objective(w: Tensor, base: Tensor, v: EditVectors, method: Uce) -> Tensor:
    """The quantity that the paper minimises, written out."""
    w, base = w.double(), base.double()
    erased = sum(
        (w @ c - base @ g).square().sum() for c, g in zip(v.concept.T, v.instead.T, strict=True)
    )
    preserved = sum((w @ p - base @ p).square().sum() for p in v.others.T)
    hold = (w - base).square().sum()
    return method.erase_weight * erased + method.preserve_weight * preserved + method.ridge * hold


@pytest.mark.parametrize("tokens", ["last", "tail", "all"])
def test_the_result_minimises_the_paper_s_objective(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask, tokens: str
) -> None:
    method = Uce(tokens=tokens, erase_weight=0.7, preserve_weight=0.3, ridge=0.2)
    result = erase(tiny_checkpoint, prompts, values, method)
    vectors = edit_vectors(prompts, method.tokens)
    base = tiny_checkpoint.network[KEY]
    w = result.network[KEY].double().requires_grad_(True)
    (slope,) = torch.autograd.grad(objective(w, base, vectors, method), w)
    start = base.double().requires_grad_(True)
    (before,) = torch.autograd.grad(objective(start, base, vectors, method), start)
    # The result is rounded to float32, 1e-7 of a weight, before its slope is taken.
    assert float(slope.norm()) < 1e-4 * float(before.norm())


def test_a_step_tells_the_mean_squared_length_of_what_is_left_and_of_what_was_moved() -> None:
    base, change = torch.eye(2).double(), torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double()
    vectors = EditVectors(
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double(),  # answered by (2, 0) and (0, 1)
        torch.tensor([[2.0, 3.0], [4.0, 1.0]]).double(),  # wanted are (2, 4) and (3, 1)
        torch.tensor([[5.0], [6.0]]).double(),  # moved by (5, 0)
    )
    step = Uce(erase_weight=2.0, preserve_weight=0.1).left(base, change, vectors)
    assert step.forget == pytest.approx(2.0 * (16 + 9) / 2)
    assert step.retain == pytest.approx(0.1 * 25)
    assert step.loss == step.forget + step.retain


def test_what_has_no_weight_is_no_part_of_the_problem(prompts: ConceptData) -> None:
    vectors = edit_vectors(prompts, "last")
    assert Uce(preserve_weight=0.0).problem(vectors).vectors.shape[1] == vectors.concept.shape[1]


def test_the_empty_prompt_is_among_what_is_kept(prompts: ConceptData) -> None:
    vectors, texts = edit_vectors(prompts, "last"), prompts.require_texts()
    last = int(texts.last[0])
    assert torch.equal(vectors.others[:, 0], prompts.prompts.tokens[0, last].double())
    assert vectors.others.shape[1] == 1 + len(texts.retain)


def test_under_a_mask_it_is_the_best_edit_of_the_selected_weights(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    everything = find_mask(tiny_checkpoint, prompts, "all", scope="xattn-kv")
    method = Uce()
    vectors, base = edit_vectors(prompts, method.tokens), tiny_checkpoint.network[KEY]
    masked = erase(tiny_checkpoint, prompts, half, method)
    assert_same_bits(
        masked.network, dict(tiny_checkpoint.network), outside(half.entries, masked.network)
    )
    free = half.entries[KEY]
    w = masked.network[KEY].double().requires_grad_(True)
    (slope,) = torch.autograd.grad(objective(w, base, vectors, method), w)
    start = base.double().requires_grad_(True)
    (before,) = torch.autograd.grad(objective(start, base, vectors, method), start)
    assert float(slope[free].norm()) < 1e-4 * float(before[free].norm())
    whole = erase(tiny_checkpoint, prompts, everything, method).network[KEY]
    cut = torch.where(free, whole, base)
    costs = [float(objective(x.detach(), base, vectors, method)) for x in (whole, w, cut, base)]
    assert costs == sorted(costs)
    assert costs[1] < costs[2]


def test_a_concept_that_stands_in_for_itself_changes_nothing(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    texts = prompts.require_texts()
    same = replace(prompts, texts=replace(texts, replacements=texts.forget[:, None]))
    result = erase(tiny_checkpoint, same, values, Uce())
    assert result.provenance.last.moved == 0


def test_a_large_ridge_holds_and_a_large_weight_keeps(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    base = tiny_checkpoint.network[KEY]
    plain = erase(tiny_checkpoint, prompts, values, Uce(ridge=1e-2))
    held = erase(tiny_checkpoint, prompts, values, Uce(ridge=1e9))
    assert float((held.network[KEY] - base).norm()) < 1e-6 * float(
        (plain.network[KEY] - base).norm()
    )
    others = edit_vectors(prompts, "last").others
    moved = [
        float(
            (
                (erase(tiny_checkpoint, prompts, values, m).network[KEY] - base).double() @ others
            ).norm()
        )
        for m in (Uce(ridge=1e-2, preserve_weight=0.0), Uce(ridge=1e-2, preserve_weight=1e4))
    ]
    assert moved[1] < 1e-2 * moved[0]


def test_the_record_says_how_well_the_system_is_conditioned(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    result = erase(tiny_checkpoint, prompts, values, Uce())
    facts = result.provenance.last.config["facts"]
    assert facts["condition_number"] > 1
    assert facts["rank"] == 2  # as many as prompts, one feature each
    assert [step.index for step in result.history] == list(range(1, Uce().length(values) + 1))


def test_a_mask_without_keys_and_values_is_refused(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    other = find_mask(tiny_checkpoint, prompts, "all", scope="selfattn")
    with pytest.raises(ConfigError, match="scope='xattn-kv'"):
        erase(tiny_checkpoint, prompts, other, Uce())


def test_prompts_are_needed(tiny_checkpoint: Checkpoint, values: SaliencyMask) -> None:
    pictures = encode_concept(
        tiny_checkpoint, random_pictures(["a church"]), {"a church": ["a castle"]}
    )
    with pytest.raises(ConfigError, match="prompts are not encoded"):
        erase(tiny_checkpoint, pictures, values, Uce())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tokens": "first"}, "tokens is 'first'"),
        ({"ridge": -0.5}, "ridge is -0.5"),
        ({"ridge": float("nan")}, "ridge is nan"),
        ({"erase_weight": -1.0}, "erase_weight is -1"),
        ({"preserve_weight": -0.1}, "preserve_weight is -0.1"),
    ],
)
def test_settings_of_uce_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Uce(**settings)  # type: ignore[arg-type]


def test_ridge_zero_asks_for_independent_vectors(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    texts = prompts.require_texts()
    twice = replace(
        prompts,
        texts=replace(
            texts,
            forget=texts.forget[[0, 0]],
            replacements=texts.replacements[[0, 0]],
        ),
    )
    with pytest.raises(ConfigError, match=r"token \d of 'a church' and token \d of 'a church'"):
        erase(tiny_checkpoint, twice, values, Uce(ridge=0.0))


def test_the_factors_of_an_edit_give_its_weights_to_the_last_bit_but_one(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    result = erase(tiny_checkpoint, prompts, values, Uce())
    assert result.factors.keys() == values.entries.keys()
    for name, one in result.factors.items():
        assert one.up.shape[1] == 2  # as many as prompts, one feature each
        rebuilt = (tiny_checkpoint.network[name].double() + one.change()).float()
        assert torch.equal(rebuilt, result.network[name])


def test_weights_that_are_free_in_part_have_no_factors(
    tiny_checkpoint: Checkpoint, prompts: ConceptData
) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    assert erase(tiny_checkpoint, prompts, half, Uce()).factors == {}


def test_a_prompt_to_forget_among_those_kept_is_refused(
    tiny_checkpoint: Checkpoint, values: SaliencyMask
) -> None:
    lists = PromptLists(["a church", "church"], ["a dog", "church"])
    stand_ins = {"a church": ["a castle"], "church": ["castle"]}
    data = encode_concept(tiny_checkpoint, None, stand_ins, prompts=lists)
    with pytest.raises(ConfigError, match="'church' is both to be forgotten and to be kept"):
        erase(tiny_checkpoint, data, values, Uce())


def test_stand_ins_that_are_not_looked_at_are_told(
    tiny_checkpoint: Checkpoint, values: SaliencyMask, caplog: pytest.LogCaptureFixture
) -> None:
    edits = []
    for options in (["a castle", "a tree", "a dog"], ["a castle"]):
        caplog.clear()
        lists = PromptLists(["a church"], ["a house"])
        data = encode_concept(tiny_checkpoint, None, {"a church": options}, prompts=lists)
        edits.append(erase(tiny_checkpoint, data, values, Uce()).network)
        words = "first of its stand-ins, 'a church' as 'a castle', and looks at none of the 2"
        assert (words in caplog.text) == (len(options) > 1)
    assert torch.equal(edits[0][KEY], edits[1][KEY])


def test_prompts_of_many_concepts_are_solved_together_and_too_many_warned_of(
    tiny_checkpoint: Checkpoint, values: SaliencyMask, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["church", "dog", "truck", "castle", "cat", "tree", "boat", "car", "cup", "hat", "pen"]
    forget = [f"a {word}" for word in words]
    stand_ins = {prompt: ["a thing"] for prompt in forget}
    for count in (10, 11):
        caplog.clear()
        lists = PromptLists(forget[:count], ["a house"], concepts=range(count))
        data = encode_concept(tiny_checkpoint, None, stand_ins, prompts=lists)
        result = erase(tiny_checkpoint, data, values, Uce())
        assert result.provenance.last.config["facts"]["concepts"] == count
        vectors = edit_vectors(data, "last")
        base = tiny_checkpoint.network[KEY]
        w = result.network[KEY].double().requires_grad_(True)
        (slope,) = torch.autograd.grad(objective(w, base, vectors, Uce()), w)
        start = base.double().requires_grad_(True)
        (before,) = torch.autograd.grad(objective(start, base, vectors, Uce()), start)
        assert float(slope.norm()) < 1e-4 * float(before.norm())
        assert ("FID on COCO was 106.6" in caplog.text) == (count == 11)
