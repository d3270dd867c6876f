"""LECO: its target by four prompts, its actions, and what rows of a file do."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.console import erasure
from support.rolled import answers, batches_of, rollout
from support.tiny import CPU, Toy, ToyDenoiser, toy_condition, toy_data, toy_schedule
from torch import Tensor

from erasure.diffusion.batches import PulledBy, Rollout, RolloutBatches
from erasure.diffusion.data.concept_data import PromptRows, Pulls
from erasure.errors import ConfigError
from erasure.methods import Esd, Leco
from erasure.methods.gradient.leco import Action
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


def loss_of(method: Leco | Esd, batch: Rollout) -> Tensor:
    return method(ToyDenoiser(Toy(1)), ToyDenoiser(Toy()), batch).forget


def test_to_erase_the_concept_s_own_prompt_is_esd() -> None:
    for strength in (0.0, 1.0, 2.5):
        torch.testing.assert_close(
            loss_of(Leco(strength=strength), rollout()), loss_of(Esd(strength=strength), rollout())
        )


def test_the_loss_is_its_formula_with_four_prompts() -> None:
    student, base, batch = Toy(1), Toy(), rollout()
    prompts = [toy_condition(seed, rows=3) for seed in (7, 8, 9)]
    strength, weight = torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([1.0, 3.0, 0.5])
    pull = PulledBy(*prompts, strength, weight)
    expected = torch.zeros(())
    positive, unconditional, neutral = (answers(base, batch, one) for one in prompts)
    predicted = answers(student, batch, batch.concept)
    for n in range(3):
        wanted = neutral[n] + strength[n] * (positive[n] - unconditional[n])
        expected = expected + weight[n] * (predicted[n] - wanted).square().mean() / 3
    torch.testing.assert_close(loss_of(Leco(), replace(batch, pull=pull)), expected)


def test_without_strength_to_enhance_is_to_erase() -> None:
    one = loss_of(Leco(action="erase", strength=0.0), rollout())
    torch.testing.assert_close(loss_of(Leco(action="enhance", strength=0.0), rollout()), one)


def test_a_swap_without_strength_asks_for_the_replacement_s_answer() -> None:
    batch = rollout()
    wanted = answers(Toy(), batch, batch.replacement)
    expected = (answers(Toy(1), batch, batch.concept) - wanted).square().mean()
    torch.testing.assert_close(loss_of(Leco(action="swap", strength=0.0), batch), expected)


def test_to_enhance_leads_towards_the_concept_and_to_swap_begins_at_its_replacement() -> None:
    batch, base, g = rollout(), Toy(), 1.5
    empty, concept, other = (
        answers(base, batch, one) for one in (batch.empty, batch.concept, batch.replacement)
    )
    predicted = answers(Toy(1), batch, batch.concept)
    wanted = {
        "erase": empty - g * (concept - empty),
        "enhance": empty + g * (concept - empty),
        "swap": other - g * (concept - empty),
    }
    actions: tuple[Action, ...] = ("erase", "enhance", "swap")
    for action in actions:
        expected = (predicted - wanted[action]).square().mean()
        torch.testing.assert_close(loss_of(Leco(action=action, strength=g), batch), expected)


def test_the_network_in_training_draws() -> None:
    assert batches_of(Leco(rollout_steps=5)).by == "student"


@pytest.mark.parametrize(
    ("action", "reads"), [("erase", False), ("enhance", False), ("swap", True)]
)
def test_only_a_swap_reads_what_is_to_be_seen_instead(action: Action, reads: bool) -> None:
    assert Leco(action=action).reads_instead is reads


def test_rows_lead_each_sample_by_its_own_prompts_and_away_from_its_own_unconditional() -> None:
    pulls = Pulls(
        torch.tensor([3, 4]),
        torch.tensor([5, 0]),
        torch.tensor([0, 3]),
        torch.tensor([-1.0, 2.0]),
        torch.tensor([1.0, 0.5]),
    )
    texts = PromptRows(
        torch.tensor([1, 2]),
        torch.tensor([[3], [4]]),
        torch.tensor([3]),
        torch.ones(6).long(),
        pulls=pulls,
    )
    data = replace(toy_data(), texts=texts)
    network = Toy()
    denoise = ToyDenoiser(network)
    mask = {name: torch.ones_like(w, dtype=torch.bool) for name, w in network.named_parameters()}
    frozen = FrozenDenoiser(denoise, SelectedWeights(network, mask), needed=True)

    def batch_of(of: object) -> Rollout:
        source = RolloutBatches(of, toy_schedule(), 7, CPU, steps=5)  # type: ignore[arg-type]
        return source.at(0, 8, denoise, frozen)

    batch = batch_of(data)
    assert batch.pull is not None
    table = data.prompts.tokens
    for n in range(8):
        row = 0 if torch.equal(batch.concept.tokens[n], table[1]) else 1
        for name in ("positive", "unconditional", "neutral"):
            tokens = getattr(batch.pull, name).tokens[n]
            assert torch.equal(tokens, table[getattr(pulls, name)[row]])
        assert float(batch.pull.strength[n]) == float(pulls.strength[row])
    owned = batch_of(replace(data, owners=torch.tensor([-1, 0, -1, 1, -1, -1])))
    assert torch.equal(owned.concept.tokens, batch.concept.tokens)  # they are no concept's own
    plain = batch_of(replace(data, texts=replace(texts, pulls=None)))
    for n in range(8):  # only the first row's unconditional is another than the empty prompt
        first = torch.equal(batch.concept.tokens[n], table[1])
        rolled = int(batch.t[n]) < 801
        assert torch.equal(batch.x_t[n], plain.x_t[n]) is not (first and rolled)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"action": "replace"}, "action is 'replace'; give 'erase', 'enhance' or 'swap'"),
        ({"strength": -1.0}, r"strength is -1\.0; give 0 or more"),
        ({"strength": float("inf")}, "strength is inf"),
    ],
)
def test_settings_of_leco_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Leco(**settings)  # type: ignore[arg-type]


def test_no_gradient_reaches_the_base() -> None:
    base = Toy()
    Leco()(ToyDenoiser(Toy(1)), ToyDenoiser(base), rollout()).total.backward()
    assert all(weight.grad is None for weight in base.parameters())


@pytest.mark.slow
def test_a_file_of_rows_is_what_is_trained_and_stands_in_the_record(
    tiny_folder: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.toml"
    text = '[[prompts]]\ntarget = "a church"\nneutral = "a castle"\nguidance_scale = 0.5\n'
    rows.write_text(text, encoding="utf-8")
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", "leco", "--steps", 2),
        *("--set", "rollout_steps=3", "--set", f"data.rows={rows}", "--seeds", 0),
        *("--device", "cpu", "--cache", tmp_path / "cache", "--out", tmp_path / "run", "--json"),
    )
    assert said.code == 0, said.err
    assert json.loads(said.out)["moved"] > 0
    record = json.loads((tmp_path / "run" / "erasure.json").read_text(encoding="utf-8"))
    (row,) = record["config"]["rows"]
    assert (row["target"], row["neutral"], row["guidance"]) == ("a church", "a castle", 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "esd"), "data.rows is 'ROWS' and would not be read, as the method esd has"),
        (("--method", "leco", "--set", "action=swap"), "method.action is 'swap' and would not be"),
        (("--method", "leco"), "'targe' in row 1 is unknown"),
    ],
)
def test_rows_that_would_not_be_read_and_malformed_ones_end_with_code_2(
    options: tuple[str, ...], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.toml"
    rows.write_text('[[prompts]]\ntarge = "a church"\n', encoding="utf-8")
    out = tmp_path / "run"
    line = ("--concept", "church", "--set", f"data.rows={rows}", "--out", out)
    said = erasure("erase", tiny_folder, *line, *options)
    assert said.code == 2, said.err
    assert words.replace("ROWS", str(rows)[:80]) in said.err  # the message cuts a long value
    assert not out.exists() or not list(out.iterdir())
