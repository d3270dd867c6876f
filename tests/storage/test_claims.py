"""One writer at a time: who holds a file or a folder, who is refused, and what stays afterwards."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.console import command, erasure
from support.forked import forked
from support.refusals import assert_told, tree

from erasure.errors import CheckpointError, DiskError
from erasure.storage.claims import claimed

HOLD = """
import fcntl, os, socket, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX)
os.write(file, f"{os.getpid()} {sys.argv[2] or socket.gethostname()}\\n".encode())
print("held", flush=True)
sys.stdin.read()
"""
HOLD_FOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path, host: str = "", program: str = HOLD) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds a lock as the description of the lock says, not by our code."""
    line = [sys.executable, "-Sc", program, str(path), host]
    with subprocess.Popen(line, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def enter(path: Path) -> None:
    with claimed(path):
        pass


def test_what_is_claimed_is_refused_to_others_in_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with holder(tmp_path / ".run.lock") as other:
        with pytest.raises(CheckpointError) as raised:
            enter(out)
        assert str(raised.value) == (
            f"{out} is in use by another run (process {other.pid}); wait for it, or give another "
            "path"
        )
        enter(tmp_path / "other")  # its neighbour is free
    enter(out)


def test_a_lock_dies_with_its_process_and_its_file_goes_with_the_next(tmp_path: Path) -> None:
    with holder(tmp_path / ".run.lock") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (tmp_path / ".run.lock").exists()
        enter(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_process_on_another_machine_is_named_with_it(tmp_path: Path) -> None:
    with holder(tmp_path / ".run.lock", "node-7.example") as other:
        with pytest.raises(CheckpointError, match=rf"\(process {other.pid} on node-7.example\)"):
            enter(tmp_path / "run")


@pytest.mark.parametrize("host", ["\x1b[2J", "a b", "x" * 400])
def test_what_is_no_name_of_a_machine_is_not_printed(host: str, tmp_path: Path) -> None:
    with holder(tmp_path / ".run.lock", host):
        with pytest.raises(CheckpointError, match="in use by another run; wait"):
            enter(tmp_path / "run")


def test_a_claim_leaves_nothing_not_even_the_folders_above(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "run"
    with claimed(out):
        assert [path.name for path in out.parent.iterdir()] == [".run.lock"]
        assert not out.exists()
    assert list(tmp_path.iterdir()) == []
    with claimed(out):
        out.mkdir()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "a",
        "a/b",
        "a/b/run",
    ]


def test_a_process_may_claim_again_and_holds_on_until_it_has_let_go_as_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with claimed(tmp_path / "run"):
        with claimed(Path("run")):
            pass
        assert is_locked(tmp_path / ".run.lock")
    assert list(tmp_path.iterdir()) == []


def is_locked(lock: Path) -> bool:
    """As another process sees it."""
    program = (
        "import fcntl, os, sys; "
        "fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    return "BlockingIOError" in command("-Sc", program, lock).err


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "run")
    with holder(tmp_path / "real" / ".run.lock"):
        with pytest.raises(CheckpointError, match="link is in use"):
            enter(tmp_path / "link")


@pytest.mark.parametrize("name", ["é" * 124, "." * 200])
def test_a_name_as_long_as_a_disk_takes_can_be_claimed(name: str, tmp_path: Path) -> None:
    with claimed(tmp_path / name):
        (tmp_path / name).mkdir()
    assert os.listdir(tmp_path) == [name]


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    (tmp_path / ".run.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(DiskError, match=r"cannot write .*run: "):
        enter(tmp_path / "run")
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"cannot write .*: .*file is a file; give"):
        enter(tmp_path / "file" / "a" / "run")


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"cannot write .*run: .*; give another path"):
        enter(tmp_path / "run")


def test_the_root_of_a_disk_is_told() -> None:
    with pytest.raises(CheckpointError, match="cannot write /: it is the root of a disk; name"):
        enter(Path("/"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the system has no /proc")
def test_a_folder_that_takes_no_file_is_not_said_to_be_in_use() -> None:
    with pytest.raises(DiskError, match="cannot write /proc/run: No such file or directory"):
        enter(Path("/proc/run"))


def refusing(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no lock's file be made."""
    real = os.open

    def opened(path: Any, *more: Any, **options: Any) -> int:  # noqa: ANN401
        if str(path).endswith(".lock"):
            raise OSError(code, os.strerror(code))
        return real(path, *more, **options)

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_folder_whose_neighbourhood_is_read_only_is_locked_itself(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    refusing(code, monkeypatch)
    with claimed(out):
        with pytest.raises(BlockingIOError):
            fcntl.flock(os.open(out, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    with holder(out, program=HOLD_FOLDER):
        with pytest.raises(CheckpointError, match="in use by another run; wait"):
            enter(out)
    enter(out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EACCES, "permission is denied"), (errno.ENOSPC, "the disk is full")]
)
def test_a_place_where_no_lock_can_be_made_is_told_at_once(
    code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(code, monkeypatch)
    with pytest.raises(DiskError, match=words):
        enter(tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_that_is_said_and_the_work_goes_on(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", none)
    with claimed(tmp_path / "run"):
        (warning,) = caplog.messages
    assert f"{tmp_path / 'run'} lies where nothing can be locked" in warning
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------
# Races


def try_once(path: str) -> None:
    """Claim when all are ready, hold on until all have tried, and print what became of it."""
    meet(Path(path).with_name("ready"))
    try:
        with claimed(Path(path)):
            print("won", flush=True)
            meet(Path(path).with_name("tried"))
    except CheckpointError as err:
        print("refused" if "in use" in str(err) else err, flush=True)
        meet(Path(path).with_name("tried"))


def meet(folder: Path) -> None:
    """Return when all processes have come here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / os.environ["RANK"]).touch()
    while len(list(folder.iterdir())) < int(os.environ["WORLD_SIZE"]):
        pass


def try_often(path: str, seconds: float) -> None:
    """Claim and let go for a while; fails where another process is in at the same time."""
    meet(Path(f"{path}-ready"))
    inside, end, wins = Path(f"{path}-inside"), time.time() + seconds, 0
    while time.time() < end:
        try:
            with claimed(Path(path)):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                inside.unlink()
                wins += 1
        except CheckpointError as err:
            assert "in use" in str(err)  # noqa: PT017
    print(wins, flush=True)


def test_of_several_that_start_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    said = forked(try_once, str(tmp_path / "run"), count=4)
    assert said.code == 0, said.err
    assert sorted(said.out.split()) == ["refused"] * 3 + ["won"]


@pytest.mark.slow
def test_a_lock_that_comes_and_goes_never_lets_two_in(tmp_path: Path) -> None:
    said = forked(try_often, str(tmp_path / "a" / "run"), 1.0, count=3)
    assert said.code == 0, said.err
    assert all(int(wins) > 0 for wins in said.out.split())
    assert not list(tmp_path.rglob("*run")) + list(tmp_path.rglob("*.lock"))


# ---------------------------------------------------------------------------------------------
# The command line

CHURCH = ("--concept", "church")
SUITE = ("--suite", "csv", "--prompts", "none.csv")
TRAIN = ("classify", "train", "--data", "digits", "--arch", "mlp")
LINES = {
    # What is written, or the last of it, is `OUT`; the model `none` is an empty folder.
    "erase": ("erase", "none", *CHURCH, "--out", "OUT"),
    "erase --resume": ("erase", "none", *CHURCH, "--resume", "--out", "OUT"),
    "erase --force": ("erase", "none", *CHURCH, "--force", "--out", "OUT"),
    "mask": ("mask", "none", *CHURCH, "--out", "OUT.safetensors"),
    "mask --plot": ("mask", "none", *CHURCH, "--out", "m.safetensors", "--plot", "OUT.png"),
    "compare": ("compare", "none", "none", "--prompt", "x", "--out", "OUT.png"),
    "compare --pictures": (
        *("compare", "none", "none", "--prompt", "x", "--out", "x.png", "--pictures", "OUT"),
    ),
    "evaluate": ("evaluate", "none", *SUITE, "--out", "OUT"),
    "export": ("export", "none", "--out", "OUT.safetensors"),
    "export --to diffusers": ("export", "none", "--to", "diffusers", "--out", "OUT"),
    "export --to patch": ("export", "none", "--to", "patch", "--base", "none", "--out", "OUT"),
    "patch apply": ("patch", "apply", "none", "none.patch", "--out", "OUT"),
    "patch remove": ("patch", "remove", "none", "none.patch", "--out", "OUT"),
    "patch stack": ("patch", "stack", "none", "a.patch", "b.patch", "--out", "OUT"),
    "demo": ("demo", "--out", "OUT"),
    "classify train": (*TRAIN, "--out", "OUT.safetensors"),
    "classify train --method": (*TRAIN, "--method", "sisa", "--out", "OUT"),
    "classify unlearn": ("classify", "unlearn", "none", "--out", "OUT.safetensors"),
    "classify evaluate": ("classify", "evaluate", "none", "--out", "OUT.json"),
    "classify bench": ("classify", "bench", "--recipe", "laptop", "--out", "OUT"),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_second_command_is_refused_before_it_opens_anything(
    line: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none").mkdir()  # there, and nothing in it that could be opened
    name = next(word for word in line if word.startswith("OUT"))
    with holder(tmp_path / f".{name}.lock") as other:
        refused(line, f"{name} is in use by another run (process {other.pid})")


def test_a_folder_that_forgets_exactly_is_claimed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("model/record.json").write_text("{}", encoding="utf-8")
    with holder(tmp_path / ".out.lock"):
        refused(("classify", "unlearn", "model", "--out", "out"), "out is in use")


def test_a_run_has_its_folder_to_itself_while_it_draws(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def draw(*_: object, **__: object) -> None:
        seen.append(is_locked(tmp_path / ".run.lock"))
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.data.concept_data.Gatherer.gather", draw)
    said = erasure("erase", "--recipe", tiny_recipe, "--out", tmp_path / "run")
    assert (said.code, seen) == (1, [True])
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_stays_as_it_is_with_force_and_with_resume(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    before = tree(run)
    for more in ("--force", "--resume"):
        with holder(tmp_path / ".run.lock"):
            line = ("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", run, more)
            assert_told(erasure(*line), 2, "in use")
    assert tree(run) == before
