"""Kill the commands at random moments, start them again, and compare with an unbroken run.

    python benchmarks/faults.py --kills 50 --seed 0

Training, mask, drawing, evaluation and export run as processes of their own on a random pipeline
of 50,000 weights, and are killed by SIGKILL: half of them exactly at a file operation, half some
time after one. Then the same command is given again, with `--resume` where it has that, until it
ends. Each time every file at its own name must be what it was or what it will be; at the end the
result must be that of an unbroken run, byte for byte but for times and the order of what stands in
the header of a safetensors file, and nothing else may be left. `--keep` keeps what is wrong, and
the unbroken runs.
"""

import argparse
import hashlib
import itertools
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from command_processes import Forks, Fresh, Starter

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """save_every = 1
device = "cpu"
cache = "cache"
[saliency]
draws = 2
[train]
steps = 6
batch_size = 2
warmup = 0
[data.forget]
drawn = 2
[data.retain]
drawn = 2
[data.drawing]
steps = 2
[grid]
seeds = "0"
[grid.drawing]
steps = 2
"""
PROMPTS = """prompt,object,style,seed
a church in sketch style,church,sketch,1
a church in flat style,church,flat,2
a dog in sketch style,dog,sketch,3
a dog in flat style,dog,flat,4
"""
TIMES = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?|\d{4}-\d\d-\d\d \d\d:\d\d")
SPENT = re.compile(rb"<dd>(\d+ h )?(\d+ min )?[\d.]+ s</dd>")
UNFINISHED = "state.safetensors"
"""Where training keeps what it needs to go on; not part of a result."""


@dataclass(frozen=True)
class Job:
    """A command, what is there before it, and how it is given again."""

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    before: str | None = None
    """Name of an older result, copied to the place of the new one."""
    place: str = ""


@dataclass
class Tally:
    """What happened to one job."""

    kills: int = 0
    starts: int = 0
    forced: int = 0
    """Starts that refused to replace what an earlier one had finished, and needed --force."""
    problems: list[str] = field(default_factory=list)


def jobs_of(model: Path, run: Path, other: Path) -> dict[str, Job]:
    """All jobs, by name; they run in a folder of their own."""
    base, edited = str(model), str(run)
    erased = ("--concept", "church", "--recipe", "quick.toml")
    quick = ("--steps", "2", "--batch-size", "2")
    drawn = ("--prompt", "an image of a church", "--prompt", "a dog", "--seeds", "0-1", *quick)
    judged = ("--suite", "csv", "--prompts", "prompts.csv", "--judge", "canvas", *quick)
    force = ("--force",)
    return {
        "training": Job(("erase", base, *erased, "--out", "run"), ("--resume",)),
        "training over an older run": Job(
            ("erase", base, *erased, "--seed", "1", "--out", "run", *force),
            ("--resume",),
            before=edited,
            place="run",
        ),
        "mask": Job(("mask", base, *erased, "--out", "mask.safetensors")),
        "drawing": Job(
            ("compare", base, edited, *drawn, "--out", "grid.png", "--pictures", "pictures")
        ),
        "evaluation": Job(("evaluate", edited, "--against", base, *judged, "--out", "evaluation")),
        "export to a folder": Job(("export", edited, "--to", "diffusers", "--out", "folder")),
        "export over an older folder": Job(
            ("export", edited, "--to", "diffusers", "--out", "folder", *force),
            before=str(other),
            place="folder",
        ),
        "export to a file": Job(("export", edited, "--dtype", "fp16", "--out", "one.safetensors")),
        "export to a patch": Job(
            ("export", edited, "--to", "patch", "--base", base, "--out", "church.patch")
        ),
    }


@dataclass(frozen=True)
class Moment:
    """When to kill: at file operation `at`, or a share of the time to the next one after it."""

    at: int
    share: float | None


@dataclass
class Bench:
    """Runs commands in folders below one."""

    folder: Path
    starter: Starter
    keep: Path | None = None
    """Where to copy what is wrong."""

    def run(
        self, where: Path, arguments: tuple[str, ...], moment: Moment | None, gaps: list[float]
    ) -> int:
        """Run a command, or kill it; returns the exit code, negative for a signal."""
        log = self.folder / "log"
        log.write_bytes(b"")
        told = {
            "arguments": arguments,
            "folder": str(where),
            "log": str(log),
            "stop_at": moment.at if moment is not None and moment.share is None else -1,
            "out": str(self.folder / "out"),
            "err": str(self.folder / "err"),
        }
        running = self.starter.start(told)
        while (code := running.code()) is None:
            if moment is not None and log.read_bytes().count(b"\n") >= moment.at:
                if moment.share is not None:
                    time.sleep(moment.share * gaps[min(moment.at, len(gaps)) - 1])
                if running.code() is None:
                    running.kill()
                    return -signal.SIGKILL
            time.sleep(0.002)
        return code

    def said(self) -> str:
        """Last line on stderr."""
        lines = (self.folder / "err").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def gaps(self) -> list[float]:
        """Seconds from each noted operation of the last run to the next."""
        times = [float(line.split()[0]) for line in (self.folder / "log").read_text().splitlines()]
        return [after - before for before, after in itertools.pairwise(times)] or [0.0]


def digests(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, times replaced; folders that are empty too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = hashlib.sha256(timeless(path)).hexdigest()
        elif not any(path.iterdir()):
            found[f"{name}/"] = ""
    return found


def timeless(path: Path) -> bytes:
    """The content without what the clock and the order of a hash table put there."""
    content = path.read_bytes()
    try:
        if path.name in ("erasure.json", "results.json"):
            value = json.loads(content)
            value.pop("seconds", None)
            content = json.dumps(value).encode()
        elif path.suffix in (".safetensors", ".patch"):
            size = 8 + int.from_bytes(content[:8], "little")
            header = json.dumps(json.loads(content[8:size]), sort_keys=True)
            content = header.encode() + content[size:]
    except ValueError:  # half a file, which the hash will show
        return content
    return SPENT.sub(b"<time>", TIMES.sub(b"<time>", content))


def prepare(where: Path, job: Job) -> None:
    """A fresh folder for a job."""
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    (where / "quick.toml").write_text(RECIPE)
    (where / "prompts.csv").write_text(PROMPTS)
    if job.before is not None:
        shutil.copytree(job.before, where / job.place)


def broken(bench: Bench, name: str, job: Job, kills: int, draw: random.Random) -> Tally:
    """Kill a job `kills` times, in trials of one to three kills each."""
    tally = Tally()
    where = bench.folder / "work"
    prepare(where, job)
    old = digests(where)
    code = bench.run(where, job.arguments, None, [])
    if code:
        tally.problems.append(f"unbroken: exit {code}: {bench.said()}")
        return tally
    wanted, gaps = digests(where), bench.gaps()
    if bench.keep is not None:
        shutil.copytree(where, bench.keep / name.replace(" ", "-") / "unbroken")
    tries = 0
    while tally.kills < kills and tries < 5 * kills and not tally.problems:
        tries += 1
        prepare(where, job)
        length = min(draw.randint(1, 3), kills - tally.kills)
        tally.problems += trial(bench, job, length, gaps, (old, wanted), tally, draw)
        if tally.problems and bench.keep is not None:
            shutil.copytree(where, bench.keep / name.replace(" ", "-") / "broken")
        print(f"{name}: {tally.kills} of {kills} kills", file=sys.stderr, flush=True)
    return tally


def trial(
    bench: Bench,
    job: Job,
    kills: int,
    gaps: list[float],
    known: tuple[dict[str, str], dict[str, str]],
    tally: Tally,
    draw: random.Random,
) -> Iterator[str]:
    """Kill up to `kills` times, then let it end; yields what is wrong."""
    where, (old, wanted) = bench.folder / "work", known
    arguments, history = job.arguments, []
    for turn in range(kills + 2):
        moment = None
        if turn < kills:
            share = draw.random() if draw.random() < 0.5 else None
            moment = Moment(draw.randint(1, len(gaps) + 1), share)
        tally.starts += 1
        code = bench.run(where, arguments, moment, gaps)
        if code == -signal.SIGKILL:
            tally.kills += 1
            history.append(f"{moment}")
            yield from (f"{half} after {history}" for half in halves(where, old, wanted))
            arguments = (*job.arguments, *job.again)
            continue
        if code == 0 or "is finished" in bench.said():
            break
        if "exists; give" in bench.said() and "--force" not in arguments:
            tally.forced += 1
            arguments = (*job.arguments, "--force")
            continue
        yield f"exit {code} after {history}: {bench.said()}"
        return
    else:
        yield f"did not end after {history}: {bench.said()}"
        return
    found = digests(where)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            how = (
                "missing"
                if name not in found
                else "left behind"
                if name not in wanted
                else "differs"
            )
            yield f"{name} {how} after {history}"


def halves(where: Path, old: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Files at their own names that are neither as before nor as they will be."""
    for name, digest in digests(where).items():
        parts = Path(name).parts
        if any(part.endswith((".part", ".old")) for part in parts) or parts[-1] == UNFINISHED:
            continue
        if name in wanted and digest not in (wanted[name], old.get(name)):
            yield f"{name} is half-written"


def markdown(tallies: Mapping[str, Tally], command: str) -> str:
    """The table, and below it what is wrong."""
    lines = [
        f"`python {command}`",
        "",
        "| job | kills | starts | of them with --force | result equal, nothing left |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, tally in tallies.items():
        equal = "NO" if tally.problems else "yes"
        lines.append(f"| {name} | {tally.kills} | {tally.starts} | {tally.forced} | {equal} |")
    kills, starts = (sum(getattr(t, n) for t in tallies.values()) for n in ("kills", "starts"))
    good = all(not tally.problems for tally in tallies.values())
    lines.append(f"| all | {kills} | {starts} | | {'yes' if good else 'NO'} |")
    for name, tally in tallies.items():
        lines += [f"\n{name}: {problem}" for problem in tally.problems]
    return "\n".join(lines)


def main() -> None:
    """Print the table; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=56, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", help="beginnings of their names; all if none")
    parser.add_argument("--model", type=Path, help="a diffusers folder; a tiny one if none")
    parser.add_argument(
        "--keep", type=Path, help="folder for the unbroken runs and what went wrong"
    )
    parser.add_argument("--fork", action="store_true", help="import once, fork for each command")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder), Forks() if chosen.fork else Fresh(), chosen.keep)
        model = chosen.model or _tiny(bench.folder / "model")
        jobs = _chosen(jobs_of(model, bench.folder / "run" / "run", model), chosen.jobs)
        if any(
            str(bench.folder / "run") in part for job in jobs.values() for part in job.arguments
        ):
            _erase(bench, model)
        tallies = {}
        for number, (name, job) in enumerate(jobs.items()):
            kills = chosen.kills * (number + 1) // len(jobs) - chosen.kills * number // len(jobs)
            draw = random.Random(f"{chosen.seed} {name}")
            tallies[name] = broken(bench, name, job, kills, draw)
    print(markdown(tallies, " ".join(sys.argv)))
    sys.exit(any(tally.problems for tally in tallies.values()))


def _tiny(folder: Path) -> Path:
    """The random pipeline of the tests."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    from tiny import write_tiny_pipeline  # type: ignore[import-not-found]

    write_tiny_pipeline(folder)
    return folder


def _chosen(jobs: dict[str, Job], names: list[str] | None) -> dict[str, Job]:
    found = {n: job for n, job in jobs.items() if names is None or n.startswith(tuple(names))}
    if not found:
        sys.exit(f"there is no job {names}; known are {', '.join(jobs)}")
    return found


def _erase(bench: Bench, model: Path) -> None:
    """The edited model that other jobs take, in `run/run`."""
    job = Job(
        ("erase", str(model), "--concept", "church", "--recipe", "quick.toml", "--out", "run")
    )
    prepare(bench.folder / "run", job)
    if bench.run(bench.folder / "run", job.arguments, None, []):
        sys.exit(f"the model to start from cannot be made: {bench.said()}")


if __name__ == "__main__":
    main()
