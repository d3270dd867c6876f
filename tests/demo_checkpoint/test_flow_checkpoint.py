"""The training of the embedded flow transformer, without downloads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from erasure.architectures.transformer.sd3 import SD35_LARGE
from erasure.checkpoints.reading.reading import read_checkpoint
from eval.judges.canvas import judge_canvas, load_canvas_classifier
from pipelines.demo_checkpoint.figures import Share
from pipelines.demo_checkpoint.flow import training
from pipelines.demo_checkpoint.flow.assemble import assemble_flow
from pipelines.demo_checkpoint.flow.checking import BARS, flow_card
from pipelines.demo_checkpoint.flow.networks import LENGTH, FlowNetworks
from pipelines.demo_checkpoint.flow.training import flow_loss, tokenizer_of, train_flow
from pipelines.demo_checkpoint.latents import PICTURES_PER_PAIR, Latents
from pipelines.demo_checkpoint.retrained.checking import draw_model
from pipelines.demo_checkpoint.train_unet import PromptTable
from pipelines.drawing.requests import Request
from pipelines.run.models import DEMO_FOLDER, FLOW_FOLDER, open_model
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

FOLDERS = (DEMO_FOLDER, FLOW_FOLDER)


@pytest.fixture(scope="module")
def networks() -> FlowNetworks:
    return FlowNetworks(tokenizer_of(DEMO_FOLDER), 3).eval()


@pytest.fixture(scope="module")
def latents() -> Latents:
    shape = (len(STYLES) * len(OBJECTS), PICTURES_PER_PAIR, 16, 8, 8)
    return Latents(torch.full((1,) * 5, 0.5).expand(shape), torch.ones(1).expand(shape), 1.0)


def test_every_wording_of_the_canvas_is_read_whole() -> None:
    table = PromptTable(tokenizer_of(DEMO_FOLDER))
    assert table.ids.shape[1] == LENGTH
    end = tokenizer_of(DEMO_FOLDER).eos_token_id
    assert bool((table.ids[:, -1] == end).all())


def test_prompts_of_another_length_are_refused(networks: FlowNetworks, latents: Latents) -> None:
    table = PromptTable(tokenizer_of(DEMO_FOLDER))
    table.ids = table.ids[:, :-1]
    with pytest.raises(ValueError, match="prompts have 19 tokens, and these take 20"):
        flow_loss(networks, latents, table)


@pytest.mark.slow
def test_a_training_that_was_cut_ends_with_the_same_bits(latents: Latents, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(DEMO_FOLDER)
    whole = replace(training.CONFIG, steps=3, horizon=3, save_every=2)
    train_flow(tokenizer, latents, tmp_path / "whole.safetensors", whole)
    train_flow(tokenizer, latents, tmp_path / "cut.safetensors", replace(whole, steps=2))
    train_flow(tokenizer, latents, tmp_path / "cut.safetensors", whole)
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "cut"))
    assert int(one["step"]) == 3
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_written_folder_is_a_whole_model_that_predicts_what_was_trained(
    networks: FlowNetworks, tmp_path: Path
) -> None:
    prompts = [canvas_prompt("dog"), canvas_prompt("saw", "sketch")]
    ids = tokenizer_of(DEMO_FOLDER)(prompts, padding="max_length", return_tensors="pt").input_ids
    x_t, s = torch.randn(2, 16, 8, 8), torch.tensor([0.2, 0.8])
    with torch.no_grad():
        trained = networks.velocity(x_t, s, ids)
    assemble_flow(networks, DEMO_FOLDER, tmp_path / "model")
    networks.float()
    checkpoint = read_checkpoint(tmp_path / "model")
    family = checkpoint.architecture
    assert family is SD35_LARGE
    network = family.build_network(checkpoint, torch.float32)
    condition = family.build_text_encoder(checkpoint, torch.float32)(prompts)
    with torch.no_grad():
        read = family.denoiser(network)(x_t, s, condition)
    torch.testing.assert_close(read, trained, atol=0.02, rtol=0.02)


def test_the_card_gives_the_shares_and_what_was_wanted() -> None:
    card = flow_card([Share("object", 703, 720), Share("style", 648, 720)])
    assert "| object | 97.6 % | 95 % | 720 |" in card
    assert "| style | 90.0 % | 90 % | 720 |" in card
    assert set(BARS) == {"object", "style"}


def test_the_embedded_one_is_whole_and_small() -> None:
    checkpoint = open_model("demo-flow")
    assert checkpoint.architecture is SD35_LARGE
    sizes = [path.stat().st_size for path in FLOW_FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) <= 14e6
    # Its latents are those of the first checkpoint, so both decode by the same weights.
    vaes = (folder / "vae" / "diffusion_pytorch_model.safetensors" for folder in FOLDERS)
    one, other = (load_file(path) for path in vaes)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_the_embedded_one_draws_what_it_is_asked_for() -> None:
    # Every seventh pair with one seed; the shares of all pairs and five seeds are in its card.
    pairs = [(style, obj) for style in STYLES for obj in OBJECTS][::7]
    requests = [Request(canvas_prompt(obj, style), 7) for style, obj in pairs]
    verdicts = judge_canvas(draw_model(FLOW_FOLDER, requests), load_canvas_classifier())
    objects = sum(seen.obj == obj for (_, obj), seen in zip(pairs, verdicts, strict=True))
    styles = sum(seen.style == style for (style, _), seen in zip(pairs, verdicts, strict=True))
    assert len(pairs) == 21
    assert objects >= 18
    assert styles >= 16
