"""Kill the commands at random moments, start them again, and compare with an unbroken run.

    python benchmarks/faults.py --kills 56 --seed 0

Training, mask, drawing, evaluation and export run as processes of their own on a random pipeline
of 50,000 weights, and are killed by SIGKILL: half of them exactly at a file operation, half some
time after one. Then the same command is given again, with `--resume` where it has that, until it
ends. Each time every file at its own name must be what it was or what it will be; at the end the
result must be that of an unbroken run, byte for byte but for times, and nothing else may be left.
`--keep` keeps what is wrong, and the unbroken runs.
"""

import argparse
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from command_processes import Forks, Fresh, Workplace
from fault_jobs import Job, chosen_jobs, different, digests, midway, prepare


@dataclass
class Tally:
    """What happened to one job."""

    kills: int = 0
    starts: int = 0
    forced: int = 0
    """Starts that refused to replace what an earlier one had finished, and needed --force."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """When to kill: at file operation `at`, or a share of the time to the next one after it."""

    at: int
    share: float | None


@dataclass
class Killing:
    """Runs commands and kills them."""

    place: Workplace
    where: Path
    """Folder of the command."""
    keep: Path | None = None
    """Where to copy what is wrong."""
    log: Path = field(init=False)
    """One line a file operation, its time first."""

    def __post_init__(self) -> None:
        self.log = self.place.folder / "log"

    def run(self, arguments: tuple[str, ...], moment: Moment | None, gaps: list[float]) -> int:
        """Run a command, or kill it; returns the exit code, negative for a signal."""
        self.log.write_bytes(b"")
        stop_at = moment.at if moment is not None and moment.share is None else -1
        running = self.place.start(self.where, arguments, log=str(self.log), stop_at=stop_at)
        while (code := running.code()) is None:
            if moment is not None and self.log.read_bytes().count(b"\n") >= moment.at:
                if moment.share is not None:
                    time.sleep(moment.share * gaps[min(moment.at, len(gaps)) - 1])
                if running.code() is None:
                    running.kill()
                    return -signal.SIGKILL
            time.sleep(0.002)
        return code

    def gaps(self) -> list[float]:
        """Seconds from each noted operation of the last run to the next."""
        times = [float(line.split()[0]) for line in self.log.read_text().splitlines()]
        return [after - before for before, after in itertools.pairwise(times)] or [0.0]


def broken(killing: Killing, name: str, job: Job, kills: int, draw: random.Random) -> Tally:
    """Kill a job `kills` times, in trials of one to three kills each."""
    tally = Tally()
    prepare(killing.where, job)
    old = digests(killing.where)
    code = killing.run(job.arguments, None, [])
    if code:
        tally.problems.append(f"unbroken: exit {code}: {killing.place.said()}")
        return tally
    wanted, gaps = digests(killing.where), killing.gaps()
    kept = killing.keep and killing.keep / name.replace(" ", "-")
    if kept is not None:
        shutil.copytree(killing.where, kept / "unbroken")
    tries = 0
    while tally.kills < kills and tries < 5 * kills:
        tries += 1
        prepare(killing.where, job)
        length = min(draw.randint(1, 3), kills - tally.kills)
        wrong = list(trial(killing, job, length, gaps, (old, wanted), tally, draw))
        if wrong and kept is not None:
            shutil.copytree(killing.where, kept / f"broken-{tries}")
        tally.problems += wrong
        print(f"{name}: {tally.kills} of {kills} kills", file=sys.stderr, flush=True)
    return tally


def trial(
    killing: Killing,
    job: Job,
    kills: int,
    gaps: list[float],
    known: tuple[dict[str, str], dict[str, str]],
    tally: Tally,
    draw: random.Random,
) -> Iterator[str]:
    """Kill up to `kills` times, then let it end; yields what is wrong."""
    where, (old, wanted) = killing.where, known
    arguments, history = job.arguments, []
    for turn in range(kills + 2):
        moment = None
        if turn < kills:
            share = draw.random() if draw.random() < 0.5 else None
            moment = Moment(draw.randint(1, len(gaps) + 1), share)
        tally.starts += 1
        code = killing.run(arguments, moment, gaps)
        if code == -signal.SIGKILL:
            tally.kills += 1
            history.append(f"{moment}")
            for wrong in midway(digests(where), old, wanted, job):
                yield f"{wrong} after {history}"
            arguments = (*job.arguments, *job.again)
            continue
        said = killing.place.said()
        if code == 0 or "is finished" in said:
            break
        if "exists; give" in said and "--force" not in arguments:
            tally.forced += 1
            arguments = (*job.arguments, "--force")
            continue
        yield f"exit {code} after {history}: {said}"
        return
    else:
        yield f"did not end after {history}: {killing.place.said()}"
        return
    yield from (f"{wrong} after {history}" for wrong in different(digests(where), wanted))


def markdown(tallies: Mapping[str, Tally], command: str) -> str:
    """The table, and below it what is wrong."""
    lines = [
        f"`python {command}`",
        "",
        "| job | kills | starts | of them with --force | problems |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, tally in tallies.items():
        counts = (tally.kills, tally.starts, tally.forced, len(tally.problems))
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    every = list(tallies.values())
    kills, starts, forced = (
        sum(getattr(t, n) for t in every) for n in ("kills", "starts", "forced")
    )
    problems = [f"{name}: {problem}" for name, t in tallies.items() for problem in t.problems]
    lines.append(f"| all | {kills} | {starts} | {forced} | {len(problems)} |")
    return "\n\n".join(["\n".join(lines), *problems])


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
        place = Workplace(Path(folder), Forks() if chosen.fork else Fresh())
        killing = Killing(place, place.folder / "work", chosen.keep)
        jobs = chosen_jobs(place, chosen.model, chosen.jobs)
        tallies = {}
        for number, (name, job) in enumerate(jobs.items()):
            kills = chosen.kills * (number + 1) // len(jobs) - chosen.kills * number // len(jobs)
            draw = random.Random(f"{chosen.seed} {name}")
            tallies[name] = broken(killing, name, job, kills, draw)
    print(markdown(tallies, " ".join(sys.argv)))
    sys.exit(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    main()
