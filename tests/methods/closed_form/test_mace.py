"""MACE: its three stages, its limits, and its promise under a mask."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tiny import assert_same_bits, outside, seeded
from torch import Tensor

from erasure.attention.spans import span_of
from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.methods.closed_form import mace
from erasure.methods.closed_form.mace import Mace
from erasure.solving.quadratic import Quadratic

QUICK = {"pictures": 2, "drawing_steps": 3, "drawing_guidance": 2.0, "around_300": False}


def quick(**settings: object) -> Mace:
    return Mace(**{**QUICK, **settings})  # type: ignore[arg-type]


def test_training_lowers_the_concept_s_attention_and_all_is_repeatable(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    method = quick(steps=16, learning_rate=0.1, ridge=1e-3)
    result = erase(tiny_checkpoint, prompts, values, method)
    losses = [step.forget for step in result.history[: method.steps]]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert len(result.history) == method.length(values)
    work = result.provenance.last.config["work"]["stages"]["method"]
    assert (work["forward"], work["backward"]) == (2 * 2 * 3 + 16, 16)
    short = replace(method, steps=2)
    one, same, other = (
        erase(tiny_checkpoint, prompts, values, replace(short, seed=seed)) for seed in (0, 0, 1)
    )
    assert_same_bits(one.network, same.network)
    assert any(not torch.equal(other.network[n], w) for n, w in one.network.items())


def test_the_fused_weights_answer_as_the_stages_did(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    # One concept, nothing kept and hardly held: what the last stage leaves is next to nothing.
    result = erase(tiny_checkpoint, prompts, values, quick(steps=5, learning_rate=0.05, ridge=1e-6))
    off = [step.forget for step in result.history[5:]]
    held = erase(tiny_checkpoint, prompts, values, quick(steps=5, learning_rate=0.05, ridge=10.0))
    before = [step.forget for step in held.history[5:]]
    assert max(off) < 1e-3 * max(before)
    for name, one in result.factors.items():
        rebuilt = (tiny_checkpoint.network[name].double() + one.change()).float()
        assert torch.equal(rebuilt, result.network[name])


def test_what_is_kept_weighs_as_much_as_was_asked_in_both_solutions(
    tiny_checkpoint: Checkpoint,
    prompts: ConceptData,
    values: SaliencyMask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solved: list[Quadratic] = []

    def noting(vectors: Tensor, edited: int, ridge: float) -> Quadratic:
        solved.append(Quadratic(vectors, edited, ridge))
        return solved[-1]

    monkeypatch.setattr(mace, "Quadratic", noting)
    erase(tiny_checkpoint, prompts, values, quick(steps=1, preserve_weight=0.25))
    texts, table = prompts.require_texts(), prompts.prompts.tokens.double()
    rows = [0, *texts.retain.tolist()]
    moments = sum(table[row].T @ table[row] for row in rows)
    assert len(solved) == 2
    for problem in solved:
        held = problem.vectors[:, problem.edited :]
        torch.testing.assert_close(held @ held.T, 0.25 * moments, rtol=1e-8, atol=1e-8)


def test_the_words_around_are_answered_as_in_the_stand_in_s_prompt(
    tiny_checkpoint: Checkpoint, prompts: ConceptData, values: SaliencyMask
) -> None:
    result = erase(tiny_checkpoint, prompts, values, quick(steps=1, learning_rate=1e-9, ridge=1e-6))
    texts, table = prompts.require_texts(), prompts.prompts.tokens.double()
    row, stand_in = int(texts.forget[0]), int(texts.replacements[0, 0])
    name = next(name for name in values.entries if name.endswith("to_v.weight"))
    base, after = tiny_checkpoint.network[name].double(), result.network[name].double()
    end = table.shape[1] - 1
    wanted = base @ table[stand_in, end]
    before = float((base @ table[row, end] - wanted).norm())
    assert float((after @ table[row, end] - wanted).norm()) < 0.5 * before


def test_one_weight_answers_each_concept_s_prompts_as_that_concept_s_own_stages(
    tiny_checkpoint: Checkpoint, values: SaliencyMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both closed forms by their normal equations, with factors that are drawn and not trained.
    instead = {"a church": "a castle", "a dog": "a cat"}
    lists = PromptLists(list(instead), ["a truck"], concepts=[0, 1])
    stand_ins = {prompt: [other] for prompt, other in instead.items()}
    data = encode_concept(tiny_checkpoint, None, stand_ins, prompts=lists)
    made: list[dict[str, Tensor]] = []

    def suppress(network: Any, denoise: Any, schedule: Any, pairs: Any, *a: Any, **k: Any) -> Any:  # noqa: ANN401
        draw = seeded(len(made))
        for pair in pairs.values():
            pair.up.data.copy_(0.1 * torch.randn(pair.up.shape, generator=draw))
        made.append({name: pair.change() for name, pair in pairs.items()})
        yield 0.0

    monkeypatch.setattr(mace, "suppress", suppress)
    monkeypatch.setattr(mace, "draw_objects", lambda *a, **k: None)
    result = erase(tiny_checkpoint, data, values, quick(steps=1, ridge=0.5, preserve_weight=0.25))
    texts, table = data.require_texts(), data.prompts.tokens.double()
    held = sum(table[row].T @ table[row] for row in (0, *texts.retain.tolist()))
    identity = torch.eye(table.shape[2], dtype=torch.float64)
    tokenizer = tiny_checkpoint.architecture.build_tokenizers(tiny_checkpoint)[0]

    def solved(wanted: Tensor, moments: Tensor) -> Tensor:
        """D of D (moments + b held + lambda) = wanted."""
        return torch.linalg.solve(moments + 0.25 * held + 0.5 * identity, wanted.T).T

    around, lacking, every = torch.zeros_like(held), torch.zeros_like(held), []
    for row, stand_in in zip(texts.forget.tolist(), texts.replacements[:, 0].tolist(), strict=True):
        ids = [tokenizer(data.words[n], padding="max_length").input_ids for n in (row, stand_in)]
        for place, other in span_of(*ids, tokenizer.eos_token_id).others:
            c = table[row, place]
            around += torch.outer(c, c)
            lacking += torch.outer(table[stand_in, other] - c, c)
        every.append(table[row].T @ table[row])
    for name in values.entries:
        base = tiny_checkpoint.network[name].double()
        first = solved(base @ lacking, around)
        stages = [(first + one[name]) @ moments for one, moments in zip(made, every, strict=True)]
        change = result.network[name].double() - base
        assert float(change.norm()) > 1e-3
        # The result is rounded to float32.
        torch.testing.assert_close(change, solved(sum(stages), sum(every)), rtol=1e-4, atol=1e-6)


def test_under_a_mask_nothing_else_moves(tiny_checkpoint: Checkpoint, prompts: ConceptData) -> None:
    half = find_mask(tiny_checkpoint, prompts, "random", density=0.5, scope="xattn-kv")
    result = erase(tiny_checkpoint, prompts, half, quick(steps=2, learning_rate=0.05, ridge=0.1))
    unselected = outside(half.entries, result.network)
    assert_same_bits(result.network, dict(tiny_checkpoint.network), unselected)
    assert result.provenance.last.moved > 0
    assert result.factors == {}


def test_each_concept_has_factors_of_its_own(
    tiny_checkpoint: Checkpoint, values: SaliencyMask
) -> None:
    lists = PromptLists(["a church", "a dog"], ["a truck"], concepts=[0, 1])
    stand_ins = {"a church": ["a castle"], "a dog": ["a cat"]}
    data = encode_concept(tiny_checkpoint, None, stand_ins, prompts=lists)
    result = erase(tiny_checkpoint, data, values, quick(steps=2, learning_rate=0.05))
    assert len(result.history) == 2 * 2 + len(values.entries)
    assert result.provenance.last.config["facts"]["concepts"] == 2


def test_a_stand_in_with_all_tokens_of_the_prompt_is_refused(
    tiny_checkpoint: Checkpoint, values: SaliencyMask
) -> None:
    lists = PromptLists(["a church"])
    data = encode_concept(tiny_checkpoint, None, {"a church": ["a church in snow"]}, prompts=lists)
    with pytest.raises(ConfigError, match="has a token that its stand-in has not"):
        erase(tiny_checkpoint, data, values, quick())
    both = PromptLists(["a dog", "a church"], concepts=[0, 1])
    stand_ins = {"a church": ["a church in snow"], "a dog": ["a cat"]}
    data = encode_concept(tiny_checkpoint, None, stand_ins, prompts=both)
    with pytest.raises(ConfigError, match="that shows what 'a church' does has a token that its"):
        erase(tiny_checkpoint, data, values, quick())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"rank": 0}, "rank is 0"),
        ({"pictures": 0}, "pictures is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"ridge": 0.0}, "ridge is 0"),
        ({"preserve_weight": -1.0}, "preserve_weight is -1"),
        ({"threshold": 1.0}, "threshold is 1"),
    ],
)
def test_settings_of_mace_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Mace(**settings)  # type: ignore[arg-type]
