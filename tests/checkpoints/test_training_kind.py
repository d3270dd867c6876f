"""What a UNet predicts and at which noise levels: who says so, who wins, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from erasure.architectures.architecture import Architecture
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.unet.beta_files import VELOCITY_BIAS
from erasure.architectures.unet.sd1 import SD1
from erasure.architectures.unet.sd2 import SD2
from erasure.architectures.unet.sdxl import SDXL
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.description import Description
from erasure.checkpoints.facts.scheduler import noise_schedule_of
from erasure.checkpoints.facts.statements import Statement
from erasure.checkpoints.facts.training_kind import SchedulerSource, TrainingKind, settle
from erasure.checkpoints.reading.reading_file import _describe
from erasure.errors import CheckpointError
from erasure.storage.tensors.tensor_file import TensorFile

EMPTY = torch.empty(0)
BY_BETAS = {key: ARCHITECTURES[key] for key in ("sd1", "sd2", "sdxl")}
"""Families that noise by betas, whose files say what they predict; flows have nothing to say."""
LDM = "model:\n  target: ldm.LatentDiffusion\n  params:\n    linear_start: 0.00085\n"
SGM = """model:
  params:
    denoiser_config:
      target: sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser
      params:
        num_idx: 1000
        scaling_config:
          target: sgm.modules.diffusionmodules.denoiser_scaling.{scaling}
        discretization_config:
          target: sgm.modules.diffusionmodules.discretizer.{levels}
"""
V_YAML = {
    "sd1": f'{LDM}    parameterization: "v"\n',
    "sd2": f'{LDM}    parameterization: "v"\n',
    "sdxl": SGM.format(scaling="VScaling", levels="LegacyDDPMDiscretization"),
}


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    """A model that predicts noise, and says so."""
    return Path(shutil.copytree(sd1, tmp_path / "folder"))


@pytest.fixture
def bare(bare_file: Path, tmp_path: Path) -> Path:
    """The same as a file of another tool, without a header."""
    return Path(shutil.copy(bare_file, tmp_path))


def mark(path: Path, header: dict[str, str] | None = None, **tensors: torch.Tensor) -> None:
    save_file({**load_file(path), **tensors}, path, header)


def rescheduled(folder: Path, gone: tuple[str, ...] = (), **settings: object) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    config = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in gone}))


def published(
    family: Architecture,
    tmp_path: Path,
    *,
    tensors: dict[str, torch.Tensor] | None = None,
    header: dict[str, str] | None = None,
    beside: str | None = None,
    **more: Any,  # noqa: ANN401
) -> tuple[Description, TrainingKind]:
    """What is taken for a file of full size, of which only what decides is there."""
    if beside is not None:
        (tmp_path / "one.yaml").write_text(beside)
    file = TensorFile(tensors or {}, header or {})
    path = tmp_path / "one.safetensors"
    return _describe(path, file, family, more.get("config"), more.get("prediction"))


# A file that says it


@pytest.mark.parametrize("key", BY_BETAS)
@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("key", "its key v_pred"),
        ("header", "its header's modelspec.prediction_type"),
        ("comfy", "its header's modelspec.predict_key"),
        ("yaml", "one.yaml beside it"),
    ],
)
def test_every_mark_decides_in_every_family(
    key: str, place: str, source: str, tmp_path: Path
) -> None:
    mark: dict[str, Any] = {
        "key": {"tensors": {"v_pred": EMPTY}},
        "header": {"header": {"modelspec.prediction_type": "v"}},
        "comfy": {"header": {"modelspec.predict_key": "v_prediction"}},
        "yaml": {"beside": V_YAML[key]},
    }[place]
    description, kind = published(ARCHITECTURES[key], tmp_path, **mark)
    assert description.prediction_type == "v_prediction"
    assert kind.prediction_from == source
    again, kind = published(ARCHITECTURES[key], tmp_path, **mark, prediction="v_prediction")
    assert again == description
    with pytest.raises(
        CheckpointError, match=rf"prediction is epsilon, but .* predicts v .*{source}"
    ):
        published(ARCHITECTURES[key], tmp_path, **mark, prediction="epsilon")


@pytest.mark.parametrize("family", [SD1, SDXL])
def test_a_file_that_says_nothing_is_as_published_and_that_is_said(
    family: Architecture, tmp_path: Path
) -> None:
    description, kind = published(family, tmp_path)
    assert description.prediction_type == "epsilon"
    assert kind.prediction_from == kind.levels_from
    assert kind.levels_from == f"the published config of {family.title}, as the file does not say"
    description, kind = published(family, tmp_path, prediction="v_prediction")
    assert description.prediction_type == "v_prediction"
    assert kind.prediction_from == "the prediction that was asked for"


def test_one_bias_of_sd2_decides_where_nobody_speaks(tmp_path: Path) -> None:
    wide = {VELOCITY_BIAS: torch.tensor([-1.0, 1.0])}
    narrow = {VELOCITY_BIAS: torch.tensor([0.0, 0.01])}
    for tensors, wanted, side in ((wide, "v_prediction", 96), (narrow, "epsilon", 64)):
        description, kind = published(SD2, tmp_path, tensors=tensors)
        assert description.prediction_type == wanted
        assert description.components["unet"]["sample_size"] == side
        assert kind.prediction_from.startswith("the spread of one bias")
    for more in ({"prediction": "epsilon"}, {"header": {"modelspec.predict_key": "epsilon"}}):
        description, _ = published(SD2, tmp_path, tensors=wide, **more)
        assert (description.prediction_type, description.components["unet"]["sample_size"]) == (
            "epsilon",
            64,
        )


@pytest.mark.parametrize("family", BY_BETAS.values(), ids=BY_BETAS)
def test_zero_terminal_snr_is_trained_and_drawn_as_such(
    family: Architecture, tmp_path: Path
) -> None:
    description, kind = published(family, tmp_path, tensors={"v_pred": EMPTY, "ztsnr": EMPTY})
    scheduler = description.scheduler
    ours = noise_schedule_of(scheduler)
    theirs = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
    )
    x_0, noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 500, 999])
    close = {"rtol": 0.0, "atol": 1e-6}
    torch.testing.assert_close(
        ours.add_noise(x_0, noise, t), theirs.add_noise(x_0, noise, t), **close
    )
    torch.testing.assert_close(
        ours.target(x_0, noise, t), theirs.get_velocity(x_0, noise, t), **close
    )
    assert scheduler["timestep_spacing"] == "trailing"
    assert "its key ztsnr" in kind.levels_from
    # What diffusers would pass over is no class for it.
    assert scheduler["_class_name"] in ("DDIMScheduler", "EulerDiscreteScheduler")
    assert description.model_index["scheduler"] == ["diffusers", scheduler["_class_name"]]


def test_noise_alone_says_nothing_to_a_model_that_predicts_noise(tmp_path: Path) -> None:
    alone = {"ztsnr": EMPTY}
    with pytest.raises(CheckpointError, match=r"its key ztsnr, and to predict epsilon.*exclude"):
        published(SDXL, tmp_path, tensors=alone)
    description, _ = published(SDXL, tmp_path, tensors=alone, prediction="v_prediction")
    assert description.scheduler["rescale_betas_zero_snr"] is True


@pytest.mark.parametrize(
    "family", [one for one in ARCHITECTURES.values() if one.modelspec], ids=str
)
@pytest.mark.parametrize(
    "names", [("edm_mean", "edm_std"), ("edm_vpred.sigma_max",), ("edm_vpred.sigma_min", "v_pred")]
)
def test_the_marks_of_edm_are_refused_by_name(
    family: Architecture, names: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"{names[0]}.* continuous noise levels of EDM"):
        published(family, tmp_path, tensors=dict.fromkeys(names, torch.ones(1)))


@pytest.mark.parametrize("name", ["modelspec.prediction_type", "modelspec.predict_key"])
@pytest.mark.parametrize("text", ["sample", "flow", "x0", "vx"])
def test_another_prediction_in_the_header_is_refused(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} is '{text}'; .* epsilon or v"):
        published(SDXL, tmp_path, header={name: text})


# A file and a config


def test_a_config_does_not_hide_what_the_file_says(bare: Path, folder: Path) -> None:
    mark(bare, v_pred=EMPTY, ztsnr=EMPTY)
    checkpoint = read_checkpoint(bare, config=folder)
    assert checkpoint.description.prediction_type == "v_prediction"
    assert checkpoint.description.scheduler["rescale_betas_zero_snr"] is True
    assert checkpoint.kind.prediction_from == "its key v_pred"
    assert checkpoint.kind.notices[0] == "the config folder says epsilon and was not followed"
    assert "zero terminal SNR" not in checkpoint.kind.notices[1]


def test_a_config_completes_what_the_file_does_not_say(bare: Path, folder: Path) -> None:
    rescheduled(folder, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    checkpoint = read_checkpoint(bare, config=folder)
    assert checkpoint.description.prediction_type == "v_prediction"
    assert checkpoint.kind.prediction_from == checkpoint.kind.levels_from == "the config folder"
    assert checkpoint.kind.notices == ()
    mark(bare, v_pred=EMPTY)  # says nothing of the last step
    assert read_checkpoint(bare, config=folder).description.scheduler["rescale_betas_zero_snr"]


def test_the_user_stands_over_a_config_but_not_over_the_file(bare: Path, folder: Path) -> None:
    checkpoint = read_checkpoint(bare, config=folder, prediction="v_prediction")
    assert checkpoint.description.prediction_type == "v_prediction"
    assert checkpoint.kind.notices == ("the config folder says epsilon and was not followed",)
    mark(bare, {"modelspec.prediction_type": "epsilon"})
    with pytest.raises(CheckpointError, match=r"prediction is v, but .* modelspec.prediction_t"):
        read_checkpoint(bare, config=folder, prediction="v_prediction")


def test_a_file_that_contradicts_itself_is_refused_and_the_user_decides(
    bare: Path, folder: Path
) -> None:
    mark(bare, {"modelspec.predict_key": "epsilon"}, v_pred=EMPTY)
    says = "epsilon by its header's modelspec.predict_key and v by its key v_pred; give"
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(bare, config=folder)
    for prediction in ("epsilon", "v_prediction"):
        decided = read_checkpoint(bare, config=folder, prediction=prediction)
        assert decided.description.prediction_type == prediction
        assert decided.kind.prediction_from.startswith(
            "the prediction that was asked for, as it says epsilon by"
        )


# A folder


def test_a_folder_is_not_overruled_but_may_be_completed(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    assert checkpoint.kind.prediction_from == "its scheduler_config.json"
    with pytest.raises(CheckpointError, match=r"predicts epsilon according to its scheduler_con"):
        read_checkpoint(folder, prediction="v_prediction")
    rescheduled(folder, gone=("prediction_type", "beta_end"))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.description.prediction_type == "epsilon"
    silent = "its scheduler_config.json does not say"
    assert checkpoint.kind.prediction_from == f"the default of DDIMScheduler, as {silent}"
    defaults = "and, for beta_end, the defaults of DDIMScheduler"
    assert checkpoint.kind.levels_from == f"its scheduler_config.json {defaults}"
    checkpoint = read_checkpoint(folder, prediction="v_prediction")
    assert checkpoint.description.prediction_type == "v_prediction"


def test_the_header_of_a_folders_unet_is_heard(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path), path, {"modelspec.prediction_type": "v"})
    with pytest.raises(CheckpointError, match=r"epsilon by its scheduler_config\.json and v by"):
        read_checkpoint(folder)


def test_settings_that_nobody_follows_are_said(folder: Path) -> None:
    rescheduled(folder, my_own=3)
    (notice,) = read_checkpoint(folder).kind.notices
    assert notice.endswith("none follows: my_own")


# Out and in again


@pytest.mark.parametrize("all_noise", [False, True])
def test_marks_survive_every_way_out(
    bare: Path, folder: Path, tmp_path: Path, all_noise: bool
) -> None:
    mark(bare, v_pred=EMPTY, **({"ztsnr": EMPTY} if all_noise else {}))
    start = read_checkpoint(bare, config=folder)
    write_single_file(start, tmp_path / "out.safetensors")
    names = {"v_pred", "ztsnr"} if all_noise else {"v_pred"}
    assert {"v_pred", "ztsnr"} & set(load_file(tmp_path / "out.safetensors")) == names
    file = read_checkpoint(tmp_path / "out.safetensors")
    write_folder(file, tmp_path / "out")
    back = read_checkpoint(tmp_path / "out")
    write_single_file(back, tmp_path / "again.safetensors")
    for outcome in (file, back, read_checkpoint(tmp_path / "again.safetensors")):
        assert outcome.description == start.description
    # And without what we write into the header: the marks alone say it.
    save_file(load_file(tmp_path / "again.safetensors"), tmp_path / "again.safetensors")
    alone = read_checkpoint(tmp_path / "again.safetensors", config=folder)
    assert alone.description == start.description


def test_our_own_header_and_a_mark_that_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    path = write_single_file(read_checkpoint(folder), tmp_path / "one.safetensors").path
    header = {"erasure.configs": json.dumps(read_checkpoint(folder).description.configs())}
    mark(path, header, v_pred=EMPTY)
    with pytest.raises(CheckpointError, match=r"epsilon by the configs in its header and v by its"):
        read_checkpoint(path)


# The config beside it


@pytest.mark.parametrize(
    ("text", "prediction"),
    [
        (LDM, "epsilon"),  # silent, so its class has eps
        (f"{LDM}    parameterization: eps\n    beta_schedule: linear\n", "epsilon"),
        (f"{LDM}    parameterization: 'v'\n    timesteps: 1000\n", "v_prediction"),
        (SGM.format(scaling="EpsScaling", levels="LegacyDDPMDiscretization"), "epsilon"),
        (SGM.format(scaling="VScaling", levels="LegacyDDPMDiscretization"), "v_prediction"),
    ],
)
def test_a_config_beside_the_file_is_read(text: str, prediction: str, tmp_path: Path) -> None:
    for family in BY_BETAS.values():
        description, kind = published(family, tmp_path, beside=text)
        assert description.prediction_type == prediction
        assert kind.prediction_from == "one.yaml beside it"


def test_noise_levels_of_the_config_beside_the_file_are_taken(bare: Path, folder: Path) -> None:
    other = "model: {params: {linear_start: 0.001, linear_end: 0.02, timesteps: 1000, zsnr: true,"
    bare.with_suffix(".yaml").write_text(f"{other} parameterization: v, beta_schedule: linear}}}}")
    checkpoint = read_checkpoint(bare, config=folder)
    theirs = DDPMScheduler(
        beta_start=0.001,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
    )
    ours = noise_schedule_of(checkpoint.description.scheduler)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert checkpoint.kind.levels_from == "bare.yaml beside it"
    assert any(
        "was not followed" in notice and "0.0001 to" in notice for notice in checkpoint.kind.notices
    )


BAD_YAML: dict[str, tuple[str, str]] = {
    "pictures": (f"{LDM}    parameterization: x0\n", "parameterization 'x0', not eps or v"),
    "schedule": (f"{LDM}    beta_schedule: sqrt\n", "beta_schedule 'sqrt', not linear"),
    "edm": (SGM.format(scaling="EDMScaling", levels="LegacyDDPMDiscretization"), "'EDMScaling'"),
    "edm levels": (SGM.format(scaling="VScaling", levels="EDMDiscretization"), "EDMDiscret"),
    "continuous": (
        SGM.format(scaling="VScaling", levels="x").replace("DiscreteDenoiser", "Denoiser"),
        "denoiser_config.target 'Denoiser', not DiscreteDenoiser",
    ),
    "no number": (f"{LDM}    linear_end: much\n", "linear_end 'much', not a number"),
    "nan": (f"{LDM}    linear_end: .nan\n", "linear_end '.nan', not a number"),
    "no float": (f"{LDM}    linear_end: nan\n", "beta_end is nan"),
    "too many": (f"{LDM}    timesteps: 1e300\n", "num_train_timesteps is"),
    "half": (f"{LDM}    timesteps: 10.5\n", "num_train_timesteps is 10.5"),
    "a list": (f"{LDM}    parameterization: [v]\n", "parameterization .*not one value"),
    "a switch": (f"{LDM}    zsnr: perhaps\n", "zsnr 'perhaps', not true or false"),
    "no config": ("a: 1\n", "has no model.params"),
    "a text": ("just words", "has no model.params"),
    "nothing": ("", "has no model.params"),
    "no yaml": ("model: [", "cannot be read as YAML"),
    "no text": ("\x00", "cannot be read as YAML"),
    "deep": ("[" * 20_000, "cannot be read as YAML"),
    "an alias": ("a: &a [1]\nmodel: [*a, *a]\n", r"an alias \(\*name\)"),
    "large": (f"{LDM}#{'x' * 70_000}", "more than 65,536 bytes"),
}


@pytest.mark.parametrize(("text", "says"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_config_beside_the_file_that_is_none_is_one_sentence(
    text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        published(SD1, tmp_path, beside=text)
    assert "\n" not in str(caught.value)


def test_no_tag_of_a_config_makes_an_object(tmp_path: Path) -> None:
    text = f"{LDM}    note: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]\n"
    published(SD1, tmp_path, beside=text)
    assert not (tmp_path / "made").exists()


def test_only_a_file_is_a_config_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").mkdir()
    _, kind = published(SD1, tmp_path)
    assert kind.prediction_from.startswith("the published config")


# The noise levels that a file holds


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn],
    ids=str,
)
@pytest.mark.parametrize("family", [SD1, SD2])
def test_a_buffer_of_the_published_levels_says_nothing_new(
    family: Architecture, dtype: torch.dtype, tmp_path: Path
) -> None:
    # As the code of latent diffusion has it: in float64.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    plain = torch.cumprod(1 - betas, 0)
    roots = plain.sqrt()
    rescaled = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    wide = {VELOCITY_BIAS: torch.tensor([-1.0, 1.0]), "v_pred": EMPTY}
    without, _ = published(family, tmp_path, tensors=wide)
    wide["alphas_cumprod"] = plain.to(dtype)
    assert published(family, tmp_path, tensors=wide)[0] == without
    marked = published(family, tmp_path, tensors={**wide, "ztsnr": EMPTY})[0]
    wide["alphas_cumprod"] = rescaled.to(dtype)
    description, kind = published(family, tmp_path, tensors=wide)
    assert description == marked
    assert "its buffer alphas_cumprod" in kind.levels_from


@pytest.mark.parametrize(
    "buffer",
    [
        torch.linspace(0.99, 0.01, 1000),
        torch.linspace(0.99, 0.01, 10),
        torch.full((1000,), float("nan")),
        torch.ones(1000, dtype=torch.int64),
    ],
)
def test_a_buffer_of_other_levels_is_refused(buffer: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds alphas_cumprod that are not the noise level"):
        published(SD1, tmp_path, tensors={"alphas_cumprod": buffer})


def test_two_places_that_differ_on_the_last_step_are_refused(folder: Path, tmp_path: Path) -> None:
    start = read_checkpoint(folder)
    scheduler = {
        **start.description.scheduler,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": False,
    }
    plain: Checkpoint = replace(start, description=replace(start.description, scheduler=scheduler))
    path = write_single_file(plain, tmp_path / "one.safetensors").path
    header = {"erasure.configs": json.dumps(plain.description.configs())}
    mark(path, header, ztsnr=EMPTY)
    with pytest.raises(CheckpointError, match=r"zero terminal SNR by its key ztsnr and not by the"):
        read_checkpoint(path)
    path.with_suffix(".yaml").write_text(f'{LDM}    linear_end: 0.5\n    parameterization: "v"\n')
    mark(path, header)
    with pytest.raises(CheckpointError, match=r"its beta_\w+ is .* by the configs in its header"):
        read_checkpoint(path)


def test_statements_of_levels_a_hundredth_apart_contradict_each_other() -> None:
    source = SchedulerSource(config={"_class_name": "DDIMScheduler"}, model_index={}, name="it")
    note = Statement(source="a note", betas={"beta_start": 0.00085})
    header = Statement(source="a header", betas={"beta_start": 0.00086})
    with pytest.raises(CheckpointError, match=r"beta_start is 0\.00085 by a note and 0\.0008"):
        settle(source, [note, header], "this model")
    rounded = replace(header, betas={"beta_start": 0.00085 * (1 + 1e-12)})
    config, _ = settle(source, [note, rounded], "this model")
    assert config["beta_start"] == 0.00085
