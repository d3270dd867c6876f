"""Kill the commands at random moments, start them again, and compare with an unbroken run.

    python benchmarks/faults/faults.py --kills 56 --seed 0
    python benchmarks/faults/faults.py --kills 0 --pairs 4

Training, mask, drawing, evaluation and export run as processes of their own on a random pipeline
of 50,000 weights, and are killed by SIGKILL: half of them exactly at a file operation, half some
time after one. Then the same command is given again, with `--resume` where it has that, until it
ends. Each time every file at its own name must be what it was or what it will be; at the end the
result must be that of an unbroken run, byte for byte but for times, and nothing else may be left.
`--keep` keeps what is wrong, and the unbroken runs.

`--pairs` starts two commands at once, within a fifth of a second: with one place to write to, where
one must end as if it were alone and the other at once, and with one empty cache, where both must
end as if they were alone. In some of them the first is killed on the way and given again.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from command_processes import Forks, Fresh, Workplace
from fault_jobs import Job, chosen_jobs, different, digests, midway, prepare
from fault_pairs import PairTally, pairs_of, pairs_table, try_pair
from fault_table import table
from killing import Killing, Moment


@dataclass
class KillTally:
    """What happened to one job that was killed."""

    kills: int = 0
    starts: int = 0
    forced: int = 0
    """Starts that refused to replace what an earlier one had finished, and needed --force."""
    problems: list[str] = field(default_factory=list)


def broken(killing: Killing, name: str, job: Job, kills: int, draw: random.Random) -> KillTally:
    """Kill a job `kills` times, in trials of one to three kills each."""
    tally = KillTally()
    prepare(killing.where, job)
    old = digests(killing.where)
    code = killing.run(job.arguments, None, [])
    if code:
        tally.problems.append(f"unbroken: exit {code}: {killing.place.said()}")
        return tally
    wanted, gaps = digests(killing.where), killing.gaps()
    evidence = killing.keep and killing.keep / name.replace(" ", "-")
    if evidence is not None:
        shutil.copytree(killing.where, evidence / "unbroken")
    tries = 0
    while tally.kills < kills and tries < 5 * kills:
        tries += 1
        prepare(killing.where, job)
        length = min(draw.randint(1, 3), kills - tally.kills)
        wrong = list(trial(killing, job, length, gaps, (old, wanted), tally, draw))
        if wrong and evidence is not None:
            shutil.copytree(killing.where, evidence / f"broken-{tries}")
        tally.problems += wrong
        print(f"{name}: {tally.kills} of {kills} kills", file=sys.stderr, flush=True)
    return tally


def trial(
    killing: Killing,
    job: Job,
    kills: int,
    gaps: list[float],
    known: tuple[dict[str, str], dict[str, str]],
    tally: KillTally,
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
            arguments = job.once_more(digests(where), old)
            continue
        said = killing.place.said()
        if code == 0 or "is finished" in said:
            break
        if code == 2 and "--force" in said and "--force" not in arguments:
            tally.forced += 1
            arguments = job.forced
            continue
        yield f"exit {code} after {history}: {said}"
        return
    else:
        yield f"did not end after {history}: {killing.place.said()}"
        return
    yield from (f"{wrong} after {history}" for wrong in different(digests(where), wanted))


def markdown(tallies: Mapping[str, KillTally]) -> list[str]:
    """Lines of the table."""
    heads = ["job", "kills", "starts", "of them with --force", "problems"]
    rows = {name: (t.kills, t.starts, t.forced, len(t.problems)) for name, t in tallies.items()}
    return table(heads, rows)


def main() -> None:
    """Print the table; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=56, help="in all")
    parser.add_argument("--pairs", type=int, default=0, help="trials of each pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", help="beginnings of names, of pairs too; all if none")
    parser.add_argument("--model", type=Path, help="a diffusers folder; a tiny one if none")
    parser.add_argument(
        "--keep", type=Path, help="folder for the unbroken runs and what went wrong"
    )
    parser.add_argument("--fork", action="store_true", help="import once, fork for each command")
    chosen = parser.parse_args()
    starter = Forks if chosen.fork else Fresh
    tallies: dict[str, KillTally] = {}
    pairs: dict[str, PairTally] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Workplace(Path(folder), starter())
        killing = Killing(place, place.folder / "work", chosen.keep)
        if chosen.kills:
            jobs = chosen_jobs(place, chosen.model, chosen.jobs)
            for number, (name, job) in enumerate(jobs.items()):
                before, after = (chosen.kills * n // len(jobs) for n in (number, number + 1))
                draw = random.Random(f"{chosen.seed} {name}")
                tallies[name] = broken(killing, name, job, after - before, draw)
        if chosen.pairs:
            second = Workplace(place.folder / "second", starter())
            second.folder.mkdir()
            workers = killing, Killing(second, killing.where)
            for name, pair in pairs_of(chosen_jobs(place, chosen.model, None)).items():
                if chosen.jobs is None or name.startswith(tuple(chosen.jobs)):
                    draw = random.Random(f"{chosen.seed} {name}")
                    pairs[name] = try_pair(name, pair, workers, chosen.pairs, draw)
    tables = [markdown(tallies)] if tallies else []
    tables += [pairs_table(pairs)] if pairs else []
    wrong = {n: t.problems for n, t in (*tallies.items(), *pairs.items())}
    problems = [f"{name}: {problem}" for name, those in wrong.items() for problem in those]
    report = [f"`python {' '.join(sys.argv)}`", *map("\n".join, tables), *problems]
    print("\n\n".join(report))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
