"""Factors and LoRA files from the command line, on a tiny model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import Said, erasure
from torch import Tensor

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.lora.changes import Thin
from erasure.lora.merging import Part, with_loras
from erasure.lora.names import Naming
from erasure.lora.reading import read_lora
from erasure.masks.mask_file import load_mask
from pipelines.run.exporting_lora import LoraExport

QUICK = (
    "--seeds",
    0,
    "--set",
    "grid.drawing.steps=1",
    "--device",
    "cpu",
    "--set",
    'grid.prompts=["a church"]',
)
ESD = ("--method", "esd", "--steps", 3, "--lr", 0.05, "--set", "rollout_steps=1", *QUICK)


@dataclass(frozen=True)
class Run:
    folder: Path
    said: Said

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.said.out)

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "erasure.json").read_text(encoding="utf-8"))

    def model(self) -> Checkpoint:
        return read_checkpoint(self.folder / "model")


def erased(model: Path, out: Path, *options: object) -> Run:
    cache = out.parent / "cache"
    said = erasure(
        *("erase", model, "--concept", "church", "--cache", cache, "--out", out, "--json"),
        *options,
    )
    assert said.code == 0, said.err
    return Run(out, said)


@pytest.fixture(scope="module")
def trained(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train factors of rank 2 in the cross-attention, for three steps."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return erased(tiny_folder, out, *ESD, "--as", "lora", "--rank", 2, "--lora-alpha", 1)


@pytest.fixture(scope="module")
def solved(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A closed form, whose factors are of its own rank."""
    out = tmp_path_factory.mktemp("solved") / "run"
    return erased(tiny_folder, out, "--method", "uce", *QUICK)


@pytest.fixture(scope="module")
def dense(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Weights moved one by one under a random mask, which no thin factors hold."""
    out = tmp_path_factory.mktemp("dense") / "run"
    mask = ("--mask", "random", "--density", 0.5, "--scope", "full")
    return erased(tiny_folder, out, *ESD, *mask)


def exported(run: Run | Path, out: Path, *options: object) -> dict[str, Any]:
    folder = run.folder if isinstance(run, Run) else run
    said = erasure("export", folder, "--out", out, "--json", *options)
    assert said.code == 0, said.err
    return json.loads(said.out)


def differences(before: Checkpoint, after: Checkpoint) -> dict[str, Tensor]:
    return {
        name: after.network[name].double() - weight.double()
        for name, weight in before.network.items()
        if not torch.equal(weight, after.network[name])
    }


def assert_merges_to(path: Path, base: Checkpoint, edited: Checkpoint, error: float) -> None:
    """The base with the file merged is the edited model but for a share of the change."""
    merged = with_loras(base, [Part(path)])
    wanted = differences(base, edited)
    off = sum(
        float((merged.network[name].double() - weight.double()).square().sum())
        for name, weight in edited.network.items()
    )
    whole = sum(float(change.square().sum()) for change in wanted.values())
    assert off**0.5 <= error * whole**0.5


def test_a_training_of_factors_leaves_a_model_a_lora_and_a_record(
    trained: Run, tiny_checkpoint: Checkpoint
) -> None:
    lora, record = trained.record["config"]["lora"], trained.record
    names = [n for n in tiny_checkpoint.network if "attn2" in n and n.endswith("weight")]
    assert (lora["rank"], lora["alpha"], sorted(lora["modules"])) == (2, 1.0, sorted(names))
    assert set(differences(tiny_checkpoint, trained.model())) == set(names)
    assert trained.report["unselected_identical"] is True
    assert trained.report["lora"] == str(trained.folder / "lora.safetensors")
    assert record["selected"] == sum(tiny_checkpoint.network[n].numel() for n in names)
    assert "factors of rank 2 move" in trained.said.err
    assert "have no factors and stay" in trained.said.err  # the biases of the outputs
    assert erasure("verify", trained.folder).code == 0
    assert_merges_to(trained.folder / "lora.safetensors", tiny_checkpoint, trained.model(), 1e-5)


def test_the_alpha_of_a_training_stands_in_its_file(trained: Run) -> None:
    tensors = load_file(trained.folder / "lora.safetensors")
    alphas = {name: float(t) for name, t in tensors.items() if name.endswith(".alpha")}
    assert len(alphas) == len(trained.record["config"]["lora"]["modules"])
    assert set(alphas.values()) == {1.0}
    with safe_open(trained.folder / "lora.safetensors", framework="pt") as file:
        words = file.metadata()
    assert (words["ss_network_dim"], words["ss_network_alpha"]) == ("2", "1.0")
    assert words["erasure.concepts"] == "church"
    assert words["modelspec.architecture"] == "stable-diffusion-v1/lora"


@pytest.mark.parametrize("naming", ["kohya", "diffusers"])
@pytest.mark.parametrize("which", ["trained", "solved"])
def test_the_factors_of_a_run_are_exported_without_loss(
    which: str,
    naming: Naming,
    request: pytest.FixtureRequest,
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
) -> None:
    run: Run = request.getfixturevalue(which)
    path = tmp_path / "lora.safetensors"
    report = exported(run, path, "--to", "lora", "--naming", naming)
    assert (report["lossless"], report["error"]) == (True, 0.0)
    assert report["notices"] == []
    # float32 factors of changes of about 1e-2: rounding of the stored weights is all that is left.
    assert_merges_to(path, tiny_checkpoint, run.model(), 1e-4)
    narrow = exported(run, path, "--to", "lora", "--naming", naming, "--dtype", "bf16", "--force")
    assert narrow["lossless"] is False
    assert 1e-4 < narrow["error"] <= narrow["worst_error"] < 1e-2
    assert_merges_to(path, tiny_checkpoint, run.model(), narrow["error"] + 1e-4)


def test_factors_of_one_component_are_not_taken_for_the_difference_of_two(
    solved: Run, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    text = dict(tiny_checkpoint.components["text_encoder"])
    name = next(name for name in text if name.endswith("q_proj.weight"))
    before = tiny_checkpoint.having("text_encoder", {**text, name: text[name] + 0.125})
    path = tmp_path / "lora.safetensors"
    written = LoraExport().write(str(solved.folder), solved.model(), before, path)
    assert written.facts["lossless"] is False
    assert set(read_lora(path, before).changes) == {"unet", "text_encoder"}


@pytest.mark.slow
def test_fewer_directions_of_a_run_are_exported_with_their_error(
    solved: Run, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    report = exported(solved, path, "--to", "lora", "--rank", 1)
    assert report["largest_rank"] == 1
    assert report["lossless"] is False
    assert 0 <= report["error"] <= report["worst_error"] < 1
    assert_merges_to(path, tiny_checkpoint, solved.model(), report["error"] + 1e-4)


def test_more_directions_than_any_layer_has_are_refused(solved: Run, tmp_path: Path) -> None:
    line = ("export", solved.folder, "--to", "lora", "--rank", 999)
    said = erasure(*line, "--out", tmp_path / "lora.safetensors")
    assert said.code == 2
    assert "rank is 999, and no layer here has more than the" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_model_without_factors_needs_its_base(dense: Run, tmp_path: Path) -> None:
    said = erasure("export", dense.folder, "--to", "lora", "--out", tmp_path / "l.safetensors")
    assert said.code == 2
    assert "no run that holds the factors of its edit" in said.err
    assert "--base" in said.err
    assert list(tmp_path.iterdir()) == []


def test_an_extraction_says_its_error_and_what_holds_more(
    dense: Run, tiny_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    report = exported(dense, path, "--to", "lora", "--base", tiny_folder, "--rank", 1)
    assert report["error"] > 0.1
    assert report["worst_error"] == max(report["errors"].values())
    assert report["errors"][report["worst_layer"]] == report["worst_error"]
    left = [
        n
        for n in differences(tiny_checkpoint, dense.model())
        if tiny_checkpoint.network[n].dim() == 1
    ]
    assert sorted(report["left_out"]) == sorted(left)
    (outside, lossy) = report["notices"]
    assert f"{len(left)} biases and norms moved" in outside
    assert "--to patch is exact, and --to diff" in lossy
    merged = with_loras(tiny_checkpoint, [Part(path)])
    wanted = differences(tiny_checkpoint, dense.model())
    off = sum(
        float((merged.network[n].double() - w.double()).square().sum())
        for n, w in dense.model().network.items()
    )
    whole = sum(float(change.square().sum()) for change in wanted.values())
    assert (off / whole) ** 0.5 == pytest.approx(report["error"], rel=1e-3)


def test_an_energy_is_reached_in_every_layer_by_as_few_ranks_as_it_needs(
    dense: Run, tiny_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    report = exported(dense, path, "--to", "lora", "--base", tiny_folder, "--energy", 0.8)
    assert max(report["errors"].values()) <= 0.2**0.5
    assert max(report["errors"].values()) > 0.1
    ranks = {t.shape[0] for n, t in load_file(path).items() if n.endswith("lora_down.weight")}
    assert len(ranks) > 1


def test_full_differences_are_the_edit(
    dense: Run, tiny_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "diff.safetensors"
    report = exported(dense, path, "--to", "diff", "--base", tiny_folder)
    edited, merged = dense.model(), with_loras(tiny_checkpoint, [Part(path)])
    off = max(
        float((merged.network[n].double() - w.double()).abs().max())
        for n, w in edited.network.items()
    )
    assert off <= report["largest_rounding"] < 1e-6
    tensors = load_file(path)
    wanted = differences(tiny_checkpoint, edited)
    assert torch.equal(tensors["lora_unet_conv_in.diff"], wanted["conv_in.weight"].float())
    assert torch.equal(tensors["lora_unet_conv_in.diff_b"], wanted["conv_in.bias"].float())
    assert {n.rpartition(".")[2] for n in tensors} == {"diff", "diff_b"}


@pytest.mark.slow
def test_a_mask_chooses_layers_for_factors(
    tiny_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    mask = ("--mask", "random", "--density", 0.3, "--scope", "attn")
    run = erased(tiny_folder, tmp_path / "run", *ESD, *mask, "--as", "lora", "--rank", 2)
    chosen = load_mask(run.folder / "mask.safetensors")
    names = run.record["config"]["lora"]["modules"]
    assert set(differences(tiny_checkpoint, run.model())) == set(names)
    for name, entry in chosen.entries.items():
        assert bool(entry.all() if name in names else not entry.any())
    sizes = [tiny_checkpoint.network[n].numel() for n in names]
    total = sum(e.numel() for n, e in chosen.entries.items() if n.endswith("weight"))
    assert 0.25 * total < sum(sizes) < 0.3 * total + max(sizes)


@pytest.mark.slow
def test_a_dense_mask_moves_selected_weights_alone_and_leaves_no_lora(
    tiny_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    mask = ("--mask", "random", "--density", 0.3, "--scope", "xattn")
    run = erased(
        tiny_folder,
        tmp_path / "run",
        *ESD,
        *mask,
        "--as",
        "lora",
        "--rank",
        2,
        "--lora-mask",
        "dense",
    )
    chosen = load_mask(run.folder / "mask.safetensors").entries
    moved = 0
    for name, change in differences(tiny_checkpoint, run.model()).items():
        assert not change[~chosen[name]].any()
        moved += int((change != 0).sum())
    assert moved == run.record["moved"] > 0.9 * run.record["selected"]
    assert not (run.folder / "lora.safetensors").exists()
    assert "lora" not in run.report


@pytest.mark.slow
def test_a_cut_run_of_factors_goes_on_to_the_same_bytes(
    trained: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erasure.diffusion.keeper import Keeper

    class Stop(Exception):
        pass

    after = Keeper.after

    def stopping(keeper: Keeper, history: list[Any]) -> None:
        after(keeper, history)
        if len(history) == 2:
            raise Stop

    line = (
        *("erase", tiny_folder, "--concept", "church", "--cache", tmp_path / "cache"),
        *("--out", tmp_path / "run", "--set", "save_every=1", *ESD),
        *("--as", "lora", "--rank", 2, "--lora-alpha", 1),
    )
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "after", stopping)
        with pytest.raises(Stop):
            erasure(*line)
    said = erasure(*line, "--resume", "--json")
    assert said.code == 0, said.err
    again = Run(tmp_path / "run", said)
    assert again.record["result_hash"] == trained.record["result_hash"]
    assert (again.folder / "lora.safetensors").read_bytes()[8:] == (
        trained.folder / "lora.safetensors"
    ).read_bytes()[8:]


def test_lora_files_are_merged_into_the_base_first(
    trained: Run, solved: Run, tiny_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    one, two = trained.folder / "lora.safetensors", tmp_path / "two.safetensors"
    exported(solved, two, "--to", "lora", "--naming", "diffusers")
    run = erased(
        *(tiny_folder, tmp_path / "run", "--method", "uce", *QUICK),
        *("--lora", f"{one}:0.5", "--lora", two),
    )
    base = with_loras(tiny_checkpoint, [Part(one, 0.5), Part(two)])
    assert run.record["base_hash"] == base.network_hash() != tiny_checkpoint.network_hash()
    files = run.record["config"]["loras"]
    assert [(f["file"], f["strength"]) for f in files] == [(one.name, 0.5), (two.name, 1.0)]
    assert str(tmp_path) not in json.dumps(run.record)
    assert f"merged {one.name} at 0.5 into" in run.said.err
    assert erasure("verify", run.folder).code == 0
    for component, name in (("unet", "conv_in.weight"), ("vae", "quant_conv.weight")):
        assert torch.equal(
            run.model().components[component][name], base.components[component][name]
        )


def scaled(path: Path, change: Callable[[str, Tensor], tuple[str, Tensor] | None]) -> Path:
    """A copy of a LoRA file with other keys or values."""
    pairs = (change(name, tensor) for name, tensor in load_file(path).items())
    out = path.with_name(f"changed-{path.name}")
    save_file({name: t.contiguous() for name, t in filter(None, pairs)}, out)
    return out


def test_a_lora_without_alphas_is_taken_whole_and_that_is_told(
    trained: Run, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes((trained.folder / "lora.safetensors").read_bytes())
    bare = scaled(path, lambda n, t: None if n.endswith("alpha") else (n, t))
    file, own = read_lora(bare, tiny_checkpoint), read_lora(path, tiny_checkpoint)
    assert "states no alpha for" in file.notes[0]
    assert own.notes == ()
    for name, change in file.changes["unet"].items():
        other = own.changes["unet"][name]
        assert isinstance(change, Thin)
        assert isinstance(other, Thin)
        torch.testing.assert_close(change.factors.change(), 2 * other.factors.change())
