"""The pages that take hours or models of the reader's own, run with less of everything.

Each line runs as its page has it, with options behind it that make it short; tiny models with
random weights stand for the reader's files. What a line answers is looked at elsewhere.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.tiny_canvas_judges import canvas_classifier
from support.models.tiny_flow import write_flux
from support.models.tiny_labels import write_ddpm, write_index
from support.models.tiny_models import SD1_LIKE, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.pages import ROOT, fenced, run_block
from support.results.distanced import write_pictures
from support.tiny import global_seed

from erasure.architectures.labels.released_network import ReleasedConfig, ReleasedUNet
from erasure.checkpoints import read_checkpoint
from pipelines.demo_checkpoint.retrained.concepts import RETRAININGS
from pipelines.demo_checkpoint.retrained.record import RECORD, write_record
from pipelines.run.models import DEMO_FOLDER

Prepare = Callable[[Path], None]

TINY = "--steps 1 --forget-drawn 2 --retain-drawn 2 --config tiny"
TINY += " --set data.drawing.steps=1 --set grid.drawing.steps=1"
ATTACKED = "--attacks words --budget 4 --cases 2 --confirm 2 --damage none --steps 2"
BENCHED = "--concepts church --only base,uce --limit 6 --neighbours 2"
SHORT = {
    "^erase .*--method": "",
    "^erase": "--steps 1 --forget-drawn 4 --retain-drawn 4",
    "^evaluate --compare": "",
    "^evaluate": "--limit 6 --steps 2",
    "^audit": ATTACKED,
    "^bench .*--densities": f"{BENCHED} --only base,retrained,twin,uce --masks all,random "
    "--densities 0.1",
    "^bench demo-flow": f"{BENCHED} --only base,retrained,twin,uce",
    "^bench": BENCHED,
}
"""For the lines of the embedded checkpoints."""


def lines(*commands: str) -> Prepare:
    """Run these commands before the page."""

    def prepare(folder: Path) -> None:
        run_block("bash", "\n".join(commands), folder)

    return prepare


def single_file(write: Callable[[Path], Path], name: str) -> Prepare:
    """Write a tiny model as the reader's file, and as the folder `tiny`."""

    def prepare(folder: Path) -> None:
        write(folder / "tiny")
        run_block("bash", f"erasure export tiny --to single-file --out {name}", folder)

    return prepare


def sd15(folder: Path) -> None:
    """A file of Stable Diffusion 1.x, its folder, and rows in the manner of I2P."""
    single_file(lambda path: write_pipeline(path, SD1_LIKE), "sd15.safetensors")(folder)
    shutil.copytree(folder / "tiny", folder / "sd-v1-4")
    head = "prompt,categories,sd_seed,sd_guidance_scale,sd_image_width,sd_image_height"
    rows = [f'"a person {n}",sexual,{n},7,64,64,60,1,60' for n in range(4)]
    table = "\n".join([f"{head},nudity_percentage,hard,inappropriate_percentage", *rows])
    (folder / "i2p_benchmark.csv").write_text(table + "\n", encoding="utf-8")


def canvassed(folder: Path) -> None:
    """The same, and classifiers in the manner of UnlearnCanvas' release."""
    sd15(folder)
    shutil.copytree(folder / "tiny", folder / "sd-unlearncanvas")
    for name, classes in (("style50.pth", 51), ("style50_cls.pth", 20)):
        torch.save({"model_state_dict": canvas_classifier(classes)}, folder / name)


def run_of(concept: str, name: str | None = None) -> str:
    """The line of a run of seconds."""
    return f"erasure erase demo --concept {concept} --method uce --out out/{name or concept}"


def evaluation_of(name: str) -> str:
    """The line that evaluates such a run, in seconds."""
    table = ROOT / "docs" / "comparison-prompts.csv"
    line = f"erasure evaluate out/{name} --against demo --suite csv --prompts {table}"
    return f"{line} --judge canvas --steps 2 --out out/{name}/evaluation"


def moved(model: Path, copy: Path, factor: float, name: str) -> None:
    """A copy of a model that denoises in another way, with the record of a retrained one."""
    shutil.copytree(model, copy)
    main = "unet" if (copy / "unet").is_dir() else "transformer"
    (file,) = (copy / main).glob("*.safetensors")
    weights = {name: value * factor for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    values, stands_for = json.loads((copy / RECORD).read_text("utf-8")), RETRAININGS[name]
    values["without"] = {"objects": list(stands_for.objects), "styles": list(stands_for.styles)}
    values["seeds"] = [seed + stands_for.seed_offset for seed in values["seeds"]]
    write_record(copy, values)


def gold(folder: Path) -> None:
    """Two models that stand for retrained ones, held-out pictures, and an audit of all."""
    for number, name in enumerate(("no-church", "no-church-2"), 1):
        moved(DEMO_FOLDER, folder / "build" / "gold" / name / "model", 1 + number / 1000, name)
    pictures = folder / "build" / "gold" / "pictures" / "church"
    pictures.mkdir(parents=True)
    for number, name in enumerate(("held-out", "trained")):
        write_pictures(pictures / name, 4, number)
    models = " ".join(f"--retrained build/gold/{n}/model" for n in ("no-church", "no-church-2"))
    audit = f"erasure audit out/church --concept church --against demo {models} --out out/audit"
    lines(run_of("church"), f"{audit} {ATTACKED}")(folder)


def method_file(folder: Path) -> None:
    """The page's first block of Python, under the name by which the page calls it."""
    kind, block = fenced(ROOT / "docs" / "extending.md")[0]
    assert kind == "python"
    (folder / "halfway.py").write_text(block, encoding="utf-8")


def released(folder: Path) -> None:
    """A checkpoint as the release of SalUn saves it, with random weights."""
    with global_seed(0):
        weights = ReleasedUNet(ReleasedConfig()).state_dict()
    state = {f"module.{name}": value for name, value in weights.items()}
    torch.save([state, {}, 0, weights], folder / "ckpt.pth")


def class_models(folder: Path) -> None:
    """The same, and a tiny model of classes in the place of the trained one of icons."""
    released(folder)
    icons = write_ddpm(folder / "build" / "ddpm-icons" / "base" / "model")
    names = ("church", "dog", "fish", "golf")
    write_index(icons, id2label={str(n): name for n, name in enumerate(names)})


def split_set(folder: Path) -> None:
    """A tiny FLUX.1 in files of one part each, and its folder without weights."""
    whole = write_flux(folder / "FLUX.1-dev")
    checkpoint = read_checkpoint(whole)
    names = checkpoint.architecture.main_part.to_original(checkpoint.network)
    save_file({n: w.clone() for n, w in names.items()}, folder / "flux1-dev.safetensors")
    for part, file in (
        ("vae", "ae"),
        ("text_encoder", "clip_l"),
        ("text_encoder_2", "t5xxl_fp16"),
        ("transformer", "unread"),
    ):
        (weights,) = (whole / part).glob("*.safetensors")
        weights.rename(folder / f"{file}.safetensors")


def retrained(folder: Path) -> None:
    """The retrained model of the repository, others in the place of its twin and of one that never
    saw a sketch, a recipe."""
    model = folder / "benchmarks" / "retrained" / "no-church"
    shutil.copytree(ROOT / "benchmarks" / "retrained" / "no-church", model)
    shutil.copytree(model, folder / "build" / "gold-flow" / "no-church" / "model")
    moved(model, folder / "build" / "gold-flow" / "twin" / "model", 1.001, "twin")
    moved(model, folder / "build" / "gold-flow" / "no-sketch" / "model", 1.002, "no-sketch")
    (folder / "nonce.toml").write_text('[erase]\ninstead = "nonce"\n', encoding="utf-8")


def prompts(folder: Path) -> None:
    """The table of prompts, where a checkout has it."""
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "comparison-prompts.csv", folder / "docs")


def evaluated(folder: Path) -> None:
    """Three runs, each with an evaluation beside it, one of them under the name that a page has."""
    for concept in ("church", "dog", "sketch"):
        lines(run_of(concept), evaluation_of(concept))(folder)
    (folder / "DIR").symlink_to(folder / "out" / "church" / "evaluation")


def several(folder: Path) -> None:
    """Runs of two models, two of them evaluated."""
    sd15(folder)
    nudity = "erasure erase sd15.safetensors --config tiny --recipe uce-nudity --out out/no-nudity"
    lines(run_of("church"), nudity)(folder)
    for concept, name in (("dog", "one"), ("sketch", "two")):
        lines(run_of(concept, name), evaluation_of(name))(folder)


@dataclass(frozen=True)
class Trial:
    """How a page is run in little time."""

    shorter: Mapping[str, str] = field(default_factory=dict)
    before: Prepare = lambda folder: None
    leave: tuple[str, ...] = ()
    """Blocks that begin with one of these are not run here."""


I2P = "--prompts i2p_benchmark.csv --limit 2 --steps 1 --config tiny"
RELEARNED = "--budget 4 --cases 2 --confirm 2 --damage none --steps 2"
SMALLEST = "--limit 2 --samples 1 --data drawn --judge imagenet"
CANVASSED = "--limit 2 --data drawn"
FLAT = "--set data.size=64"
TRIALS = {
    "README.md": Trial({"sd15": TINY, **SHORT}, sd15, leave=("make demo", "from pathlib")),
    "docs/index.md": Trial(SHORT, leave=("make demo",)),
    "docs/audit.md": Trial(SHORT, lines(run_of("church"))),
    "docs/architectures.md": Trial({"flux1": TINY.replace("--config tiny", FLAT)}, split_set),
    "docs/class-conditional.md": Trial(
        {
            "cifar10": TINY.replace(" --config tiny", ""),
            "^audit": f"{ATTACKED} --attacks seeds",
            "^compare": "--steps 2 --seeds 0",
            **SHORT,
        },
        class_models,
    ),
    "docs/comfyui.md": Trial(
        {"BASE": "--base demo"},
        lines(run_of("church"), "mkdir -p COMFYUI/models/erasure_patches"),
        leave=("make comfyui", "import erasure"),
    ),
    "docs/comparison.md": Trial({"prompts.csv": "--steps 2", **SHORT}, prompts),
    "docs/distance.md": Trial(
        {"^distance": "--draws 12 --shown 4 --bins 2 --samples 1 --steps 2"}, gold
    ),
    "docs/extending.md": Trial({"^erase": "--steps 1"}, method_file, leave=("from dataclasses",)),
    "docs/how-to/evaluate.md": Trial(
        {"i2p": I2P, **SHORT},
        several,
    ),
    "docs/how-to/flux-one-card.md": Trial(),
    "docs/how-to/nudity.md": Trial(
        {"^erase": TINY, "^evaluate": I2P, "^audit": f"{ATTACKED} --config tiny"}, sd15
    ),
    "docs/how-to/reproduce.md": Trial(
        {"demo": "--limit 1", "nudity": "--limit 2", "style": CANVASSED, "^": SMALLEST}, canvassed
    ),
    "docs/how-to/style-sdxl.md": Trial(
        {"^erase": TINY}, single_file(write_sdxl, "sdxl.safetensors")
    ),
    "docs/leaderboard.md": Trial(SHORT, retrained),
    "docs/nearest-to-retraining.md": Trial(
        {"^erase": "--steps 1 --forget-drawn 4 --retain-drawn 4", "^audit": RELEARNED}, retrained
    ),
    "docs/results.md": Trial({}, evaluated, leave=("DIR/",)),
    "docs/several-devices.md": Trial(SHORT, leave=("accelerate", "torchrun --nnodes")),
}


@pytest.mark.slow  # a minute each
@pytest.mark.parametrize("name", TRIALS)
def test_a_page_runs_from_its_first_line_to_its_last(name: str, tmp_path: Path) -> None:
    trial = TRIALS[name]
    trial.before(tmp_path)
    for kind, block in fenced(ROOT / name):
        if kind in ("python", "bash", "sh", "") and not block.startswith(trial.leave or "\0"):
            run_block(kind, block, tmp_path, trial.shorter)
