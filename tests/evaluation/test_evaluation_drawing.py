"""The runner of an evaluation: same pictures on any number of processes and after any accident."""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.console import command
from support.forked import forked
from support.leftovers import left_by_the_dead, without_owners
from support.tiny import CPU

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.errors import ConfigError, DiskError, TrainingError
from eval.errors import EvalError
from pipelines.drawing import generation
from pipelines.drawing.guards import Guard
from pipelines.evaluation import drawing
from pipelines.evaluation.drawing import RunConfig, draw_cases
from pipelines.evaluation.manifest import Drawn, Manifest, cases_hash, unusable
from pipelines.evaluation.usable import require_usable
from pipelines.process.processes import Processes, processes
from pipelines.process.progress import Reporter
from prompts.suites.case import LazyCases, PromptCase

QUIET = Reporter(quiet=True)
CONFIG = RunConfig(steps=2, guidance=3.0, batch_size=2)
CASES = [
    PromptCase(case="a", prompt="a church", seed=3),
    PromptCase(case="b", prompt="a dog", seed=3, guidance=7.0, labels={"object": "dog"}),
    PromptCase(case="c", prompt="a church", seed=2**40, width=24, height=16),
    PromptCase(case="d", prompt="", seed=0),
    PromptCase(case="e", prompt="a church\u2028by night", seed=3, guidance=1.0),
    PromptCase(case="f", prompt="a church", seed=5, width=24, height=16),
    PromptCase(case="g", prompt="a dog", seed=9),
]
BATCHES = ["ab", "cf", "dg", "e"]
"""Batches of two: guided cases of one size go together, and those that never fill come last."""


def draw(
    checkpoint: Checkpoint,
    folder: Path,
    config: RunConfig = CONFIG,
    cases: Any = CASES,  # noqa: ANN401
    name: str = "after",
    **more: Any,  # noqa: ANN401
) -> list[Drawn]:
    more = {"device": CPU, "reporter": QUIET, "name": name, **more}
    return draw_cases(checkpoint, cases, folder, config, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """Path within the folder -> bytes, of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stamps(folder: Path) -> dict[str, int]:
    """File name -> when it was written, of every picture."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("images/after/*.png")}


def pixels(folder: Path, drawn: Drawn) -> np.ndarray[Any, np.dtype[np.int16]]:
    with Image.open(folder / drawn.file) as image:
        return np.asarray(image, dtype=np.int16)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes that are started: the last bits depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unbroken(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed; do not write into it."""
    folder = tmp_path_factory.mktemp("unbroken")
    draw(tiny_checkpoint, folder)
    return folder


@pytest.fixture
def copied(unbroken: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(unbroken, tmp_path / "copy"))


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the seeds of each batch that is drawn."""
    seen: list[str] = []
    paint = generation.Painter.paint
    seeds = {(case.prompt, case.seed): case.case for case in CASES}

    def noting(self: generation.Painter, requests: Any) -> Any:  # noqa: ANN401
        seen.append("".join(seeds[request.prompt, request.seed] for request in requests))
        return paint(self, requests)

    monkeypatch.setattr(generation.Painter, "paint", noting)
    return seen


def with_weight(checkpoint: Checkpoint, part: str, name: str, value: float) -> Checkpoint:
    weights = {**checkpoint.components[part]}
    weights[name] = torch.full_like(weights[name], value)
    return replace(checkpoint, components={**checkpoint.components, part: weights})


def test_every_case_has_its_picture_and_its_line(
    tiny_checkpoint: Checkpoint, tmp_path: Path, painted: list[str]
) -> None:
    drawn = draw(tiny_checkpoint, tmp_path)
    assert painted == BATCHES
    assert [picture.case.case for picture in drawn] == [case.case for case in CASES]
    assert {picture.state for picture in drawn} == {"ok"}
    assert drawn[1].case == replace(CASES[1], width=32, height=32)  # labels and all
    assert (drawn[0].case.guidance, drawn[4].case.guidance) == (3.0, 1.0)
    for picture in drawn:
        assert picture.file == f"images/after/{picture.case.case}.png"
        size = (picture.case.width, picture.case.height)
        with Image.open(tmp_path / picture.file) as image:
            assert image.size == size
    lines = (tmp_path / "manifest" / "after.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == [picture.row() for picture in drawn]
    assert len({picture.sha256 for picture in drawn}) == len(CASES)
    assert unusable(drawn) == {"nan": 0, "black": 0}


def test_a_picture_is_the_same_in_a_batch_of_any_size(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    alone = draw(tiny_checkpoint, tmp_path / "1", replace(CONFIG, batch_size=1))
    for size in (3, 64):
        folder = tmp_path / str(size)
        for one, other in zip(
            alone, draw(tiny_checkpoint, folder, replace(CONFIG, batch_size=size)), strict=True
        ):
            # One step of 255: the sums of a convolution are added up in another order.
            assert np.abs(pixels(tmp_path / "1", one) - pixels(folder, other)).max() <= 1


def test_pictures_of_streamed_blocks_are_the_same_and_are_not_drawn_again(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = draw(tiny_checkpoint, tmp_path / "plain")
    streamed: list[object] = []
    make = generation.streamed_network

    def noting(*inputs: Any) -> Any:  # noqa: ANN401
        streamed.append(inputs)
        return make(*inputs)

    monkeypatch.setattr(generation, "streamed_network", noting)
    other = draw(tiny_checkpoint, tmp_path / "streamed", replace(CONFIG, stream=True))
    assert len(streamed) == 1
    assert [picture.sha256 for picture in other] == [picture.sha256 for picture in plain]
    draw(tiny_checkpoint, tmp_path / "plain", replace(CONFIG, stream=True))
    assert len(streamed) == 1


def test_two_models_begin_with_the_same_noise(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    before, after = (draw(tiny_checkpoint, tmp_path, name=name) for name in ("before", "after"))
    assert [picture.sha256 for picture in before] == [picture.sha256 for picture in after]
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"before", "after"}


def test_what_is_there_is_not_drawn_again(
    tiny_checkpoint: Checkpoint, copied: Path, painted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    was, written = contents(copied), stamps(copied)
    monkeypatch.setattr(drawing, "Painter", None)  # the model is not even built
    assert len(draw(tiny_checkpoint, copied)) == len(CASES)
    assert painted == []
    assert (contents(copied), stamps(copied)) == (was, written)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


@pytest.mark.crossed
@pytest.mark.parametrize("damage", [Path.unlink, cut, alter])
@pytest.mark.parametrize("file", ["images/after/b.png", "manifest/after/000000.jsonl"])
def test_a_damaged_file_costs_its_batch_alone(
    tiny_checkpoint: Checkpoint,
    copied: Path,
    painted: list[str],
    file: str,
    damage: Callable[[Path], None],
) -> None:
    was, written = contents(copied), stamps(copied)
    damage(copied / file)
    draw(tiny_checkpoint, copied)
    assert painted == ["ab"]
    assert contents(copied) == was
    assert {name for name, when in stamps(copied).items() if when != written[name]} <= {"b.png"}


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"steps": 3}, "steps 2 instead of 3"),
        ({"guidance": 4.0}, r"guidance 3\.0 instead of 4\.0"),
        ({"scheduler": "euler"}, "scheduler 'ddim' instead of 'euler'"),
        ({"precision": "bf16"}, "precision 'fp32' instead of 'bf16'"),
        ({"width": 40}, "width None instead of 40"),
        ({"batch_size": 3}, "batch_size 2 instead of 3"),
    ],
)
def test_pictures_of_other_settings_are_refused(
    tiny_checkpoint: Checkpoint, copied: Path, change: dict[str, Any], setting: str
) -> None:
    was = contents(copied)
    with pytest.raises(ConfigError, match=f"drawn with {setting}; give another out, or force=True"):
        draw(tiny_checkpoint, copied, replace(CONFIG, **change))
    assert contents(copied) == was


def test_pictures_of_another_model_or_other_prompts_are_refused(
    tiny_checkpoint: Checkpoint, copied: Path
) -> None:
    other = with_weight(tiny_checkpoint, "vae", "decoder.conv_out.bias", 0.25)
    with pytest.raises(ConfigError, match=r"drawn with model '\w{8}\.\.\.' instead of '\w{8}"):
        draw(other, copied)
    config = {**tiny_checkpoint.description.components["text_encoder"], "layer_norm_eps": 1e-3}
    description = tiny_checkpoint.description.having(text_encoder=config)
    with pytest.raises(ConfigError, match="drawn with model '"):
        draw(replace(tiny_checkpoint, description=description), copied)
    with pytest.raises(ConfigError, match="drawn with cases 7 instead of 6, prompts '"):
        draw(tiny_checkpoint, copied, cases=CASES[1:])
    with pytest.raises(ConfigError, match="drawn with prompts '"):
        draw(tiny_checkpoint, copied, cases=CASES[::-1])
    relabelled = [replace(case, labels={"style": "sketch"}) for case in CASES]
    assert cases_hash(relabelled) == cases_hash(CASES)  # a label changes no picture
    assert draw(tiny_checkpoint, copied, cases=relabelled)[0].case.labels == {"style": "sketch"}


def test_force_replaces_the_pictures_of_other_settings(
    tiny_checkpoint: Checkpoint, copied: Path, tmp_path: Path
) -> None:
    (copied / "images" / "after" / "mine.png").touch()
    left_by_the_dead(copied / "images" / "after" / "a.png")
    config = replace(CONFIG, steps=1)
    draw(tiny_checkpoint, copied, config, CASES[:2], force=True)
    draw(tiny_checkpoint, tmp_path / "new", config, CASES[:2])
    there = contents(copied)
    assert there.pop("images/after/mine.png") == b""  # it is not the runner's
    assert there == contents(tmp_path / "new")


def test_settings_without_a_picture_bind_nobody(tmp_path: Path) -> None:
    """As they lie there where the memory was not enough for the first batch."""
    manifest = Manifest(tmp_path, "after")
    manifest.begin({"batch_size": 16})
    manifest.check({"batch_size": 8}, force=False)
    manifest.begin({"batch_size": 8})
    manifest.keep(CASES[0], Image.new("RGB", (8, 8)), "ok")
    manifest.check({"batch_size": 8}, force=False)
    with pytest.raises(ConfigError, match="drawn with batch_size 8 instead of 16"):
        manifest.check({"batch_size": 16}, force=False)


def test_force_removes_nothing_outside_the_folder(
    tiny_checkpoint: Checkpoint, copied: Path, tmp_path: Path
) -> None:
    (tmp_path / "dear.png").touch()
    piece = copied / "manifest" / "after" / "000000.jsonl"
    piece.write_text('{"file": "../dear.png"}\n{"file": 3}\n{"file": "../../../dear.png"}\n')
    draw(tiny_checkpoint, copied, replace(CONFIG, steps=1), CASES[:1], force=True)
    assert (tmp_path / "dear.png").exists()


@pytest.mark.parametrize("header", [None, "", "[1]", '{"steps": '])
def test_pictures_that_do_not_say_how_they_were_drawn_are_refused(
    tiny_checkpoint: Checkpoint, copied: Path, header: str | None
) -> None:
    settings = copied / "manifest" / "after" / "settings.json"
    settings.unlink() if header is None else settings.write_text(header)
    with pytest.raises(ConfigError, match=r"no whole settings\.json .* give another out, or"):
        draw(tiny_checkpoint, copied)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_draws_no_numbers_stops_after_its_first_batch(
    tiny_checkpoint: Checkpoint, tmp_path: Path, value: float
) -> None:
    broken = with_weight(tiny_checkpoint, "unet", "conv_in.bias", value)
    with pytest.raises(TrainingError, match=r"model after .* not finite in all 2 pictures"):
        draw(broken, tmp_path)
    assert len(list((tmp_path / "images" / "after").iterdir())) == 2


@pytest.mark.parametrize("bias", [-1e6, 1e6, 0.0])
def test_a_model_of_one_colour_is_not_evaluated(
    tiny_checkpoint: Checkpoint, unbroken: Path, tmp_path: Path, bias: float
) -> None:
    one_colour = with_weight(tiny_checkpoint, "vae", "decoder.conv_out.bias", bias)
    one_colour = with_weight(one_colour, "vae", "decoder.conv_out.weight", 0.0)
    with pytest.raises(TrainingError, match="all 7 pictures of the model after are black, of one"):
        require_usable(draw(one_colour, tmp_path), tmp_path, "after")
    whole = draw(tiny_checkpoint, unbroken)
    require_usable(whole, unbroken, "after")
    lost = [replace(picture, state="black") for picture in whole[1:]]
    require_usable([*lost, whole[0]], unbroken, "after")  # one that shows something will do


def test_one_picture_that_is_nan_leaves_the_rest_of_its_batch_alone(
    tiny_checkpoint: Checkpoint, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = generation.initial_noise

    def spoilt(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
        drawn = noise(seeds, shape)
        drawn[[seed == 9 for seed in seeds]] = float("nan")
        return drawn

    monkeypatch.setattr(generation, "initial_noise", spoilt)
    drawn = draw(tiny_checkpoint, tmp_path)
    assert [picture.state for picture in drawn] == ["ok"] * 6 + ["nan"]
    for picture in drawn[:6]:
        assert (tmp_path / picture.file).read_bytes() == (unbroken / picture.file).read_bytes()


def test_a_black_picture_is_counted(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    black = with_weight(tiny_checkpoint, "vae", "decoder.conv_out.bias", -1e6)
    drawn = draw(black, tmp_path)
    assert {picture.state for picture in drawn} == {"black"}
    assert unusable(drawn) == {"nan": 0, "black": len(CASES)}
    assert [picture.state for picture in draw(black, tmp_path)] == ["black"] * len(CASES)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_loses_no_finished_picture(
    tiny_checkpoint: Checkpoint,
    unbroken: Path,
    tmp_path: Path,
    painted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    move, moves = os.replace, 0

    def failing(part: Path, path: Path) -> None:
        nonlocal moves
        moves += 1
        if moves == 6:  # the settings, `a`, `b`, their line, `c`, and then `f`
            raise error
        move(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        wanted = DiskError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(wanted, match="the disk is full" if wanted is DiskError else None):
            draw(tiny_checkpoint, tmp_path)
    finished = stamps(tmp_path)
    assert sorted(finished) == ["a.png", "b.png", "c.png"]
    draw(tiny_checkpoint, tmp_path)
    assert painted == ["ab", "cf", *BATCHES[1:]]
    assert {name: stamps(tmp_path)[name] for name in finished} == finished
    assert contents(tmp_path) == contents(unbroken)


def test_cases_are_read_again_or_once(
    tiny_checkpoint: Checkpoint, unbroken: Path, tmp_path: Path
) -> None:
    draw(tiny_checkpoint, tmp_path / "lazy", cases=LazyCases(lambda: iter(CASES)))
    draw(tiny_checkpoint, tmp_path / "once", cases=iter(CASES))
    assert contents(tmp_path / "lazy") == contents(tmp_path / "once") == contents(unbroken)


def test_no_case_and_a_case_that_comes_twice_are_errors(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no prompt to draw; give at least one"):
        draw(tiny_checkpoint, tmp_path, cases=[])
    with pytest.raises(ConfigError, match="'a' comes twice; give each an id of its own"):
        draw(tiny_checkpoint, tmp_path, cases=[*CASES, CASES[0]])
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheduler": "dimm"}, "no scheduler 'dimm'; the nearest is ddim"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"guidance": float("nan")}, "guidance is nan; give 0 or more"),
        ({"guidance": -1.0}, r"guidance is -1\.0; give 0 or more"),
        ({"height": 63}, "size is 63; give a multiple of 8"),
    ],
)
def test_a_setting_out_of_range_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**change)


def test_progress_counts_every_picture(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    reporter = Reporter(quiet=True)
    draw(tiny_checkpoint, tmp_path, reporter=reporter)
    assert list(reporter.seconds) == ["draw after"]


def test_one_process_alone_needs_no_launcher() -> None:
    alone = processes(CPU)
    assert (alone.rank, alone.count, alone.first) == (0, 1, True)
    alone.wait()
    team = [Processes(rank, 3) for rank in range(3)]
    assert [[p.has(n) for p in team].index(True) for n in range(6)] == [0, 1, 2, 0, 1, 2]
    assert [process.first for process in team] == [True, False, False]


def test_processes_that_do_not_share_the_folder_are_an_error(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "wait", lambda self: None)
    monkeypatch.setattr(drawing, "processes", lambda device: Processes(0, 2))
    with pytest.raises(EvalError, match=r"batch 1 of .* give all processes the same folder"):
        draw(tiny_checkpoint, tmp_path)


MEET = """
import atexit
import sys
import torch
from pipelines.process.processes import processes
# What is registered first is called last.
atexit.register(
    lambda: sys.stdout.write(f"connected: {torch.distributed.is_initialized()}\\n")
)
team = processes(torch.device("cpu"))
# One write a line, since two processes share the pipe.
sys.stdout.write(f"{team.agreed(lambda: 'met')} {team.rank} {team.count}\\n")
"""


# With `--cpu` in place of `--multi_gpu` accelerate makes a single process, unless there is MPI.
ACCELERATE = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2),
    *("--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--main_process_port", 0),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)


@pytest.mark.slow
@pytest.mark.parametrize("launch", [ACCELERATE, TORCHRUN], ids=["accelerate", "torchrun"])
def test_two_processes_of_a_launcher_meet(launch: tuple[object, ...], tmp_path: Path) -> None:
    script = tmp_path / "meet.py"
    script.write_text(MEET, encoding="utf-8")
    said = command(*launch, script)
    assert said.code == 0, said.err
    assert sorted(said.out.splitlines()) == ["connected: False"] * 2 + ["met 0 2", "met 1 2"]


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(
    tiny_folder: Path, unbroken: Path, tmp_path: Path
) -> None:
    said = forked(draw_elsewhere, tiny_folder, tmp_path, count=2)
    assert said.code == 0, said.err
    shares = [f"{rank}:{batch}" for rank in (0, 1) for batch in BATCHES[rank::2]]
    assert sorted(said.out.split()) == sorted(shares)
    assert contents(tmp_path) == contents(unbroken)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(
    tiny_checkpoint: Checkpoint,
    tiny_folder: Path,
    unbroken: Path,
    tmp_path: Path,
    painted: list[str],
) -> None:
    killed = forked(draw_elsewhere, tiny_folder, tmp_path, 6)  # halfway through the second batch
    assert killed.code == -signal.SIGKILL, killed.err
    assert sorted(without_owners(file.name) for file in (tmp_path / "images/after").iterdir()) == [
        *("a.png", "b.png", "c.png"),
        "f.png.part",
    ]
    finished = stamps(tmp_path)
    draw(tiny_checkpoint, tmp_path)
    assert painted == BATCHES[1:]
    assert {name: stamps(tmp_path)[name] for name in finished} == finished
    assert contents(tmp_path) == contents(unbroken)


def draw_elsewhere(model: Path, folder: Path, kill_at: int = 0) -> None:
    """Draw; print the batches drawn; with a number, die at that many files."""
    paint, move, moves = generation.Painter.paint, os.replace, 0
    ids = {(case.prompt, case.seed): case.case for case in CASES}

    def noting(self: generation.Painter, requests: Any) -> Any:  # noqa: ANN401
        names = "".join(ids[request.prompt, request.seed] for request in requests)
        sys.stdout.write(f"{os.environ.get('RANK', '0')}:{names}\n")
        return paint(self, requests)

    def dying(part: Path, path: Path) -> None:
        nonlocal moves
        moves += 1
        if moves == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        move(part, path)

    generation.Painter.paint = noting  # type: ignore[method-assign]
    os.replace = dying  # type: ignore[assignment]
    draw(read_checkpoint(model), folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheduler": "lms"}, "cannot begin at noise alone"),
        ({"guard": Guard("sld-max", "a church")}, r"that of 'a church.* is 1\.0; give more than 1"),
    ],
)
def test_what_a_later_batch_would_stop_at_leaves_no_folder(
    tiny_checkpoint: Checkpoint, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    description = tiny_checkpoint.description
    scheduler = {**description.scheduler, "rescale_betas_zero_snr": True}
    model = replace(tiny_checkpoint, description=replace(description, scheduler=scheduler))
    with pytest.raises(ConfigError, match=message):
        draw(model, tmp_path / "run", replace(CONFIG, **change))
    assert list(tmp_path.iterdir()) == []
