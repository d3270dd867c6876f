"""What a model was read as: on stderr at the start, in every record, and what others will take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.console import QUICK, Said, erasure

from erasure.architectures.architecture import Architecture
from erasure.architectures.unet.sd1 import SD1
from erasure.architectures.unet.sd2 import SD2
from erasure.architectures.unet.sdxl import SDXL
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights

BIAS = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias"
V_LINE = "predicts v (from its key v_pred)"


@pytest.fixture
def marked(tiny_folder: Path, tmp_path: Path) -> Path:
    """A file of another tool that predicts velocity, and says so by a key alone."""
    path = tmp_path / "marked.safetensors"
    said = erasure("export", tiny_folder, "--out", path)
    assert said.code == 0, said.err
    save_file({**load_file(path), "v_pred": torch.empty(0)}, path)
    return path


def report_of(said: Said) -> dict[str, object]:
    assert said.code == 0, said.err
    report: dict[str, object] = json.loads(said.out)
    return report


def test_every_command_says_what_it_read_and_from_where(
    marked: Path, tiny_folder: Path, tmp_path: Path, cache: Path
) -> None:
    source = (marked, "--config", tiny_folder)
    said = erasure("export", *source, "--json", "--out", tmp_path / "out.safetensors")
    facts = report_of(said)["read_as"]
    assert isinstance(facts, dict)
    assert (facts["prediction"], facts["prediction_from"]) == ("v", "its key v_pred")
    assert facts["noise"] == "scaled_linear, 0.00085 to 0.012, 1000 steps"
    assert facts["types"] == {"unet": "fp32", "vae": "fp32", "text_encoder": "fp32"}
    (line,) = (line for line in said.err.splitlines() if line.startswith("model: "))
    assert line.startswith("model: Stable Diffusion 1.x; ")
    assert V_LINE in line
    assert "says epsilon and was not followed" in "".join(facts["notes"])

    out = tmp_path / "mask.safetensors"
    concept = ("--concept", "church", "--kind", "all", "--cache", cache)
    said = erasure("mask", *source, *concept, "--json", "--out", out)
    assert report_of(said)["base_read_as"] == facts
    assert V_LINE in said.err

    out = tmp_path / "pair.png"
    drawing = ("--prompt", "x", "--seeds", 0, "--steps", 1, "--out", out)
    said = erasure("compare", marked, tiny_folder, "--config", tiny_folder, *drawing)
    assert said.code == 0, said.err
    assert [line.split(":")[0] for line in said.err.splitlines() if V_LINE in line] == ["before"]
    record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert [record["models"][name]["prediction"] for name in ("before", "after")] == [
        "v",
        "epsilon",
    ]


@pytest.mark.slow
def test_a_run_says_it_and_its_record_and_its_model_keep_it(
    marked: Path, tiny_folder: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "quick.toml").write_text(f'config = "{tiny_folder}"\n{QUICK}', encoding="utf-8")
    more = ("--concept", "church", "--steps", 1, "--cache", cache, "--prediction", "v")
    run = tmp_path / "run"
    said = erasure("erase", marked, "--recipe", tmp_path / "quick.toml", *more, "--out", run)
    assert said.code == 0, said.err
    assert V_LINE in said.err
    record = json.loads((run / "erasure.json").read_text(encoding="utf-8"))
    assert record["base_read_as"]["prediction_from"] == "its key v_pred"
    assert 'prediction = "v"' in (run / "recipe.toml").read_text(encoding="utf-8")
    edited = read_checkpoint(run / "model")
    assert edited.description.prediction_type == "v_prediction"

    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt,seed\na dog,1\n", encoding="utf-8")
    line = ("--suite", "csv", "--prompts", prompts, "--steps", 1, "--out", tmp_path / "evaluated")
    said = erasure("evaluate", run, "--against", tiny_folder, *line)
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "evaluated" / "results.json").read_text(encoding="utf-8"))
    after, before = (results["models"][name]["read_as"] for name in ("after", "before"))
    assert (after["prediction"], before["prediction"]) == ("v", "epsilon")
    assert "before: Stable Diffusion 1.x" in said.err


@pytest.mark.parametrize("command", ["erase", "mask", "export", "compare"])
def test_a_prediction_that_the_file_denies_is_refused_by_every_command(
    command: str, marked: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    words = {
        "erase": ("--concept", "church", "--out", tmp_path / "run"),
        "mask": ("--concept", "church", "--out", tmp_path / "m.safetensors"),
        "export": ("--out", tmp_path / "o.safetensors"),
        "compare": (marked, "--prompt", "x", "--out", tmp_path / "o.png"),
    }[command]
    line = (command, marked, *words, "--config", tiny_folder, "--prediction")
    said = erasure(*line, "epsilon")
    assert said.code == 2
    assert "--prediction is epsilon, but" in said.err
    assert "predicts v according to its key v_pred" in said.err
    said = erasure(*line, "velocity")
    assert said.code == 2
    assert "prediction is 'velocity'; give" in said.err


# What others will take it for


def misread_by(
    checkpoint: Checkpoint,
    network: dict[str, torch.Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[str, ...]:
    return checkpoint.architecture.files.misread(checkpoint, network, dtype)


def of(
    family: Architecture, unet: dict[str, torch.Tensor] | None = None, **scheduler: object
) -> Checkpoint:
    """A checkpoint of that family with the published configs, of no weights but these."""
    description = shipped_description(family.key)
    config = {**description.scheduler, **scheduler}
    return Checkpoint(
        architecture=family,
        path=Path("model"),
        components={"unet": unet or {}},
        description=replace(description, scheduler=config),
    )


def biased(spread: float) -> dict[str, torch.Tensor]:
    """The UNet of SD 2, without values but for the bias by which ComfyUI goes."""
    own = expected_weights(SD1.part("unet"), shipped_description("sd2").components["unet"])
    assert BIAS in own
    return {**own, BIAS: torch.tensor([-spread, spread]) / 2**0.5}


@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [
        (of(SD1), []),
        (of(SDXL), []),
        (of(SD2, biased(0.2)), []),
        (of(SD1, prediction_type="v_prediction"), ["ComfyUI will take", "loader of diffusers"]),
        (of(SDXL, prediction_type="v_prediction"), ["loader of diffusers will take"]),
        (
            of(SDXL, prediction_type="v_prediction", rescale_betas_zero_snr=True),
            ["predicts v and was trained to zero terminal SNR; give from_single_file"],
        ),
        (of(SD2, biased(0.05)), ["one bias, 0.050, and takes v above 0.09"]),
        (of(SD2, biased(0.05), prediction_type="epsilon"), ["loader of diffusers"]),
        (of(SD2, biased(0.2), prediction_type="epsilon"), ["it predicts epsilon", "loader of"]),
        (
            of(SD2, biased(0.2), rescale_betas_zero_snr=True),
            ["without zero terminal SNR", "loader of diffusers"],
        ),
        (of(SD1, beta_end=0.02), ["published noise levels (scaled_linear, 0.00085 to 0.012"]),
    ],
)
def test_each_reader_that_cannot_be_told_is_named_once(
    checkpoint: Checkpoint, says: list[str]
) -> None:
    sentences = misread_by(checkpoint)
    assert len(sentences) == len(says)
    for sentence, words in zip(sentences, says, strict=True):
        assert words in sentence


def test_an_edit_that_flips_the_bias_of_sd2_is_noticed() -> None:
    before = of(SD2, biased(0.0901))
    assert misread_by(before) == ()
    assert "takes v above" in misread_by(before, biased(0.0899))[0]
    # So is a number type that rounds it below.
    assert misread_by(of(SD2, biased(0.09001)), dtype=torch.float32) == ()
    assert misread_by(of(SD2, biased(0.09001)), dtype=torch.bfloat16) != ()


def test_an_export_names_them_on_the_terminal_and_for_machines(
    marked: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    line = ("export", marked, "--config", tiny_folder, "--json")
    said = erasure(*line, "--out", tmp_path / "one.safetensors")
    notices = report_of(said)["notices"]
    assert isinstance(notices, list)
    assert [sentence.split()[0] for sentence in notices] == ["ComfyUI", "the"]
    assert said.err.count("notice: ") == 2
    said = erasure(*line, "--to", "diffusers", "--out", tmp_path / "folder")
    assert report_of(said)["notices"] == []
    assert "notice: " not in said.err
