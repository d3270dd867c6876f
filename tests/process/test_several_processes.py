"""Several processes: the same mask, the same weights, one voice, and runs that lose a process.

The processes are real ones, connected by gloo. Torchrun starts those of the slow tests, and of one
in tests/evaluation/test_evaluation_drawing.py; the others are told what it would tell them.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.console import ROOT, Said, command, erasure
from support.forked import forked, run_line
from support.tiny import (
    CPU,
    Toy,
    ToyDenoiser,
    assert_same_bits,
    copied,
    outside,
    some_mask,
    toy_batches,
    toy_data,
    toy_schedule,
)
from torch import Tensor, nn

from erasure import load_mask, read_checkpoint, verify
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.scores.saliency import SaliencyConfig, accumulate_gradients, saliency_scores
from erasure.errors import TrainingError
from erasure.methods import SalUn
from erasure.team import ALONE, Team, require_same, share_of
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.work import Work
from pipelines.process.processes import Processes, processes

RECIPE = """
model = {model!r}
concept = "church"
device = "cpu"
save_every = 50

[saliency]
draws = 3
batch_size = 2

[train]
steps = 4
batch_size = 5
micro_batch = 2
warmup = 0
optimizer = "sgd"
momentum = 0.9
learning_rate = 0.05

[data.forget]
drawn = 3

[data.retain]
drawn = 3

[data.drawing]
steps = 2
batch_size = 2

[grid]
seeds = "0"

[grid.drawing]
steps = 2
"""
"""No number of it can be halved."""


def launch(count: int, *arguments: object, **environment: object) -> Said:
    """Let torchrun run Python with these arguments in `count` processes of one thread each."""
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    environment |= {"OMP_NUM_THREADS": 1}
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count))
    return command(*torchrun, *arguments, **environment)


# ---------------------------------------------------------------------------------------------
# A whole run


@pytest.fixture(scope="module")
def recipe(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "several.toml"
    path.write_text(RECIPE.format(model=str(tiny_folder)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def line(recipe: Path, caches: Path) -> list[object]:
    """The command of a run that draws no picture again."""
    return ["erase", "--recipe", recipe, "--cache", caches / "one"]


@pytest.fixture(scope="module")
def one(line: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    said = forked(run_line, *line, "--out", out)
    assert said.code == 0, said.err
    return out


@pytest.fixture(scope="module")
def both(one: Path, recipe: Path, caches: Path) -> tuple[Path, Said]:
    """Let two processes share the run with a cache of their own, and keep what they said."""
    out = one.with_name("both")
    cache = ("--cache", caches / "both")
    said = forked(run_line, "erase", "--recipe", recipe, *cache, "--out", out, count=2)
    assert said.code == 0, said.err
    return out, said


def unet(run: Path) -> dict[str, Tensor]:
    return load_file(run / "model/unet/diffusion_pytorch_model.safetensors")


def history(run: Path) -> list[list[float]]:
    rows = (run / "loss.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [[float(value) for value in row.split(",")] for row in rows]


def overlap(a: Path, b: Path) -> float:
    one, other = (load_mask(run / "mask.safetensors") for run in (a, b))
    assert one.selected == other.selected
    assert list(one.entries) == list(other.entries)
    shared = sum(int((one.entries[n] & other.entries[n]).sum()) for n in one.entries)
    return shared / one.selected


def assert_same_run(a: Path, b: Path, base: Path) -> None:
    """Equal but for rounding: the updates, not the weights, set the scale."""
    assert {path.name for path in a.iterdir()} == {path.name for path in b.iterdir()}
    assert overlap(a, b) >= 0.9999
    first, second, start = unet(a), unet(b), read_checkpoint(base).network
    moved = max(float((first[name] - start[name]).abs().max()) for name in start)
    assert moved > 1e-3
    for name in start:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-4 * moved)
    assert history(a) == [pytest.approx(row, rel=1e-5) for row in history(b)]
    for run in (a, b):
        unselected = outside(load_mask(run / "mask.safetensors").entries)
        assert_same_bits(unet(run), dict(start), unselected)
        assert verify(run).passed


def test_two_processes_do_what_one_does(
    one: Path, both: tuple[Path, Said], tiny_folder: Path
) -> None:
    assert_same_run(one, both[0], tiny_folder)


def test_two_processes_draw_the_pictures_that_one_draws(
    one: Path, both: tuple[Path, Said], caches: Path
) -> None:
    for kind, count in (("pictures", 2), ("latents", 2), ("prompts", 1)):
        entries = {path.name: load_file(path) for path in (caches / "one" / kind).iterdir()}
        assert len(entries) == count
        assert {path.name for path in (caches / "both" / kind).iterdir()} == set(entries)
        for name, tensors in entries.items():
            again = load_file(caches / "both" / kind / name)
            assert all(torch.equal(again[key], value) for key, value in tensors.items())


def test_only_the_first_of_them_speaks(both: tuple[Path, Said]) -> None:
    out, said = both
    assert said.out.count("bit-identical") == 1
    assert said.out.count(str(out / "model")) == 1
    stages = [row.split(":")[0] for row in said.err.splitlines() if " in " in row]
    assert len(stages) == len(set(stages))
    assert "train" in stages


@pytest.mark.slow
def test_a_mask_of_two_processes_is_that_of_one(
    one: Path, recipe: Path, tiny_folder: Path, caches: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mask.safetensors"
    options = ("--recipe", recipe, "--concept", "church", "--cache", caches / "one", "--out", out)
    said = launch(2, "-m", "pipelines.cli", "mask", tiny_folder, *options)
    assert said.code == 0, said.err
    assert said.out.count("selected") == 1
    assert overlap(tmp_path, one) >= 0.9999


# ---------------------------------------------------------------------------------------------
# A run that loses a process, or is stopped


def sentences(said: Said) -> list[str]:
    """What the command line said of the end; the launcher adds a report of its own."""
    return [row for row in said.err.splitlines() if row.startswith("erasure: ")]


def saved_steps(run: Path) -> int:
    return len(load_file(run / "state.safetensors")["history"])


@pytest.mark.slow
def test_a_run_whose_second_process_is_killed_goes_on_alone(
    one: Path, line: list[object], tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = launch(2, __file__, *line, "--out", out, DIES_AT="1:3:SIGKILL")
    assert said.code != 0
    (sentence,) = sentences(said)
    assert (
        "what was finished is kept: give the same command again, `erase` with --resume" in sentence
    )
    assert said.err.count("Traceback (most") == 1  # the launcher's report
    assert saved_steps(out) == 2  # save_every is 50: the end itself was the occasion
    assert not list(out.rglob("*.part"))
    said = erasure(*line, "--out", out, "--resume")
    assert said.code == 0, said.err
    assert_same_run(out, one, tiny_folder)


@pytest.mark.slow
def test_a_run_whose_first_process_is_killed_says_so_too(
    one: Path, line: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = launch(2, __file__, *line, "--out", out, DIES_AT="0:3:SIGKILL")
    assert said.code != 0
    (sentence,) = sentences(said)
    assert "what was finished is kept" in sentence
    assert said.err.count("Traceback (most") == 1  # the launcher's report
    assert (out / "mask.safetensors").exists()


@pytest.mark.slow
def test_a_run_that_one_process_began_is_ended_by_two(
    one: Path, line: list[object], tiny_folder: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedTrainer, "_accumulate", MaskedTrainer._accumulate)  # put back
        die_at(0, 2, "SIGINT")
        said = erasure(*line, "--out", cut)
    assert (said.code, saved_steps(cut)) == (1, 2)
    state = cut / "state.safetensors"
    content = state.read_bytes()
    state.with_name(f"{state.name}.old").write_bytes(content)
    state.write_bytes(content[:-9])  # both take the one before, and one says so
    said = launch(2, "-m", "pipelines.cli", *line, "--out", cut, "--resume")
    assert said.code == 0, said.err
    assert said.err.count("so the one before it, of step 2, is used") == 1
    assert_same_run(cut, one, tiny_folder)


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_after_the_same_step(
    line: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = launch(2, __file__, *line, "--out", out, DIES_AT="1:3:SIGINT")
    assert said.code != 0
    assert sentences(said) == [
        "erasure: interrupted; what was finished is kept, and the same command with --resume "
        "goes on"
    ]
    assert saved_steps(out) == 3


@pytest.mark.slow
def test_wrong_input_is_told_once(line: list[object], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    said = launch(2, "-m", "pipelines.cli", *line, "--out", tmp_path)
    assert said.code != 0
    assert sentences(said) == [
        f"erasure: {tmp_path} exists; give another path, or --force to replace it"
    ]


def die_at(rank: int, step: int, name: str) -> None:
    """Send this process a signal as step `step` begins, if it is the one of that rank."""
    accumulate = MaskedTrainer._accumulate

    def accumulate_or_die(self: MaskedTrainer[Any], index: int) -> tuple[float, float, Work]:
        if self._team.rank == rank and index + 1 == step:
            os.kill(os.getpid(), getattr(signal, name))
        return accumulate(self, index)

    MaskedTrainer._accumulate = accumulate_or_die  # type: ignore[method-assign]


# ---------------------------------------------------------------------------------------------
# The parts, by themselves

CONFIG = TrainConfig(steps=6, batch_size=5, learning_rate=0.05, optimizer="sgd")
CONFIGS = {
    "uneven shares": CONFIG,
    "micro batches": replace(CONFIG, batch_size=7, micro_batch=2),
    "one sample for two": replace(CONFIG, batch_size=1),
    "clipping": replace(CONFIG, clip_norm=0.05),
    "adamw with decay": replace(CONFIG, optimizer="adamw", weight_decay=0.1, learning_rate=1e-3),
}
NO_RETAIN = "nothing retained"


class Spare(nn.Module):
    """A toy with a weight that no prediction uses."""

    def __init__(self) -> None:
        super().__init__()
        self.toy = Toy()
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, *arguments: Any) -> Tensor:  # noqa: ANN401
        return self.toy(*arguments)


def trained(config: TrainConfig, data: ConceptData, team: Team) -> dict[str, Tensor]:
    network = Spare()
    trainer = MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(data, seed=config.seed),
        some_mask(network) | {"unused": torch.ones(3, dtype=torch.bool)},
        objective=SalUn(),
        config=config,
        team=team,
    )
    losses = [[step.loss, step.forget, step.retain] for step in trainer.steps()]
    return copied(network) | {"losses": torch.tensor(losses)}


def scored(config: SaliencyConfig, team: Team) -> dict[str, Tensor]:
    network = Spare()
    passes = list(
        accumulate_gradients(
            ToyDenoiser(network), toy_data(), toy_schedule(), config, device=CPU, team=team
        )
    )
    done = [progress.done for progress in passes]
    assert done == sorted(done)
    assert done[-1:] == [len(toy_data().forget) * config.draws][: len(done)]
    return saliency_scores(network, dict(network.named_parameters()), team)


def parts(team: Team) -> dict[str, Mapping[str, Tensor]]:
    """All that is compared, by name."""
    results = {name: trained(config, toy_data(), team) for name, config in CONFIGS.items()}
    results[NO_RETAIN] = trained(CONFIG, toy_data(retain=0), team)
    results["saliency"] = scored(SaliencyConfig(draws=3, batch_size=2), team)
    return results


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """Read the `parts` that three processes have written."""
    path = tmp_path_factory.mktemp("parts") / "parts.safetensors"
    said = forked(main, count=3, PARTS_TO=path)
    assert said.code == 0, said.err
    results: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(path).items():
        name, _, weight = key.partition("/")
        results.setdefault(name, {})[weight] = value
    return results


@pytest.mark.parametrize("name", [*CONFIGS, NO_RETAIN, "saliency"])
def test_three_processes_compute_what_one_computes(
    shared: dict[str, dict[str, Tensor]], name: str
) -> None:
    if name == "saliency":
        wanted = scored(SaliencyConfig(draws=3, batch_size=2), ALONE)
    else:
        data = toy_data(retain=0) if name == NO_RETAIN else toy_data()
        wanted = trained(CONFIGS.get(name, CONFIG), data, ALONE)
        assert torch.equal(wanted["unused"], torch.ones(3))  # not even by weight decay
        assert torch.equal(shared[name]["unused"], torch.ones(3))
    assert shared[name].keys() == wanted.keys()
    for weight, value in wanted.items():
        # Sums of float32 in another order.
        torch.testing.assert_close(shared[name][weight], value, rtol=1e-5, atol=2e-6)


@given(total=st.integers(0, 40), count=st.integers(1, 9))
def test_shares_are_all_there_is_and_about_as_long(total: int, count: int) -> None:
    shares = [share_of(Processes(rank, count), total) for rank in range(count)]
    assert [n for share in shares for n in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_alone_sums_nothing_and_is_told_what_it_makes() -> None:
    for team in (ALONE, processes(CPU)):
        value = torch.arange(3.0)
        team.sum_([value])
        team.wait()
        require_same(team, 7, "settings")
        assert torch.equal(value, torch.arange(3.0))
    assert processes(CPU).agreed(lambda: 5) == 5
    assert [processes(CPU).any(flag) for flag in (True, False)] == [True, False]


def check_team(team: Processes) -> None:
    """What holds in each of several processes."""
    value = torch.full((2, 3), team.rank + 1.0)
    whole = torch.full((300, 300), team.rank + 1.0)
    turned = torch.arange(90_000.0).view(300, 300).t()
    count = torch.tensor([team.rank, 1])
    team.sum_(iter([value, count, whole, turned]))
    n = team.count
    for tensor in (value, whole):
        assert (tensor == n * (n + 1) / 2).all()
    assert count.tolist() == [n * (n - 1) // 2, n]
    assert torch.equal(turned, n * torch.arange(90_000.0).view(300, 300).t())
    assert team.agreed(lambda: {"rank": team.rank}) == {"rank": 0}
    assert team.any(team.rank == n - 1)
    assert not team.any(False)
    require_same(team, 2**60 + 1, "settings")
    with pytest.raises(TrainingError, match=f"the {n} processes do not have the same settings"):
        require_same(team, team.rank, "settings")


def main() -> None:
    """One of several processes: the parts to a file, or the command line with a signal."""
    if path := os.environ.get("PARTS_TO"):
        team = processes(CPU)
        check_team(team)
        results = parts(team)
        if team.first:
            flat = {f"{n}/{key}": v for n, values in results.items() for key, v in values.items()}
            save_file(flat, path)
        team.wait()
        return
    if place := os.environ.get("DIES_AT"):
        rank, step, name = place.split(":")
        die_at(int(rank), int(step), name)
    from pipelines.cli import main as run

    run()


if __name__ == "__main__":
    main()
