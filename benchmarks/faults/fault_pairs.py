"""Two commands at once: with one place to write to, with one empty cache, one of them killed."""

import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from command_processes import Running
from fault_jobs import Job, different, digests, prepare
from fault_table import table
from killing import Killing

IN_USE: Final = "is in use by another run"
THERE: Final = "exists; give"
"""What the other is told where the first has ended already."""
_NEAR: Final = 0.2
"""Seconds, at most, from the start of one to that of the other."""
Commands = tuple[tuple[str, ...], tuple[str, ...]]
Digests = Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """Two commands."""

    commands: Commands
    apart: bool = False
    """Whether they write to two places, so that both end well."""
    again: tuple[str, ...] = ()
    """What is added to the command of one that was killed, when it is given again."""
    kills: bool = False
    """Whether the first is killed on the way."""


@dataclass
class PairTally:
    """What happened to one pair."""

    trials: int = 0
    kills: int = 0
    well: int = 0
    """Commands that ended well, those given again included."""
    refused: int = 0
    """Commands that ended at once, as another one was writing there."""
    problems: list[str] = field(default_factory=list)


def pairs_of(jobs: Mapping[str, Job]) -> dict[str, Pair]:
    """All pairs, by name; see `jobs_of` for the commands."""
    train = jobs["training"].arguments
    other = (*train[: train.index("--out")], "--seed", "1", "--out", "run")
    apart = (*train[:-1], "one"), (*train[:-1], "two")
    same = {
        f"one place: {name}": Pair((job.arguments, job.arguments))
        for name, job in jobs.items()
        if job.before is None and name != "training"
    }
    resume = ("--resume",)
    return {
        "one place: training": Pair((train, other)),
        "one place: training, the first killed": Pair((train, other), again=resume, kills=True),
        **same,
        "one empty cache": Pair(apart, apart=True),
        "one empty cache, the first killed": Pair(apart, apart=True, again=resume, kills=True),
    }


def try_pair(
    name: str, pair: Pair, workers: tuple[Killing, Killing], trials: int, draw: random.Random
) -> PairTally:
    """Run a pair several times; times between the starts and moments of the kills are drawn."""
    tally = PairTally()
    wanted, length = unbroken(pair, workers[0])
    while tally.trials < trials:
        prepare(workers[0].where, Job(()))
        tally.trials += 1
        kill_at = draw.randint(1, length) if pair.kills else None
        gap = draw.uniform(0, _NEAR)
        codes = together(workers, pair.commands, gap, kill_at)
        wrong = list(trial(pair, workers, codes, wanted, tally))
        tally.problems += [f"{each} after {gap:.3f} s, kill at {kill_at}" for each in wrong]
        print(f"{name}: {tally.trials} of {trials}", file=sys.stderr, flush=True)
    return tally


def unbroken(pair: Pair, worker: Killing) -> tuple[list[Digests], int]:
    """What each command leaves where it is alone, or both in turn; file operations of the first."""
    wanted, length = [], 0
    prepare(worker.where, Job(()))
    for number, command in enumerate(pair.commands):
        if not pair.apart:
            prepare(worker.where, Job(()))
        if worker.run(command, None, []):
            sys.exit(f"{' '.join(command)}: {worker.place.said()}")
        length = length or len(worker.gaps())
        wanted.append(digests(worker.where))
        if pair.apart and number:
            wanted[0] = wanted[1]
    return wanted, length


def together(
    workers: tuple[Killing, Killing], commands: Commands, gap: float, kill_at: int | None
) -> list[int]:
    """Run both; returns the exit codes, negative for a signal."""
    running: list[Running] = []
    for worker, command in zip(workers, commands, strict=True):
        running.append(worker.start(command))
        time.sleep(gap if len(running) == 1 else 0)
    codes: list[int | None] = [None, None]
    while None in codes:
        for number, process in enumerate(running):
            if codes[number] is None:
                codes[number] = process.code()
        if codes[0] is None and kill_at is not None and workers[0].operations() >= kill_at:
            running[0].kill()
            codes[0] = -9
        time.sleep(0.002)
    return [code for code in codes if code is not None]


def trial(
    pair: Pair,
    workers: tuple[Killing, Killing],
    codes: list[int],
    wanted: list[Digests],
    tally: PairTally,
) -> Iterator[str]:
    """Count what became of both, let a killed one go on, and yield what is wrong."""
    ends = [worker.place.said() for worker in workers]
    if codes[0] == -9:
        tally.kills += 1
        won = codes[1] == 0 and not pair.apart
        codes[0] = workers[0].run((*pair.commands[0], *pair.again), None, [])
        ends[0] = workers[0].place.said()
        if won:  # it began after the kill and has the folder; the other cannot go on in it
            if codes[0] != 2:
                yield f"given again over another run: exit {codes[0]} ({ends[0]})"
            tally.well += 1
            yield from different(digests(workers[0].where), wanted[1])
            return
        if codes[1] == 2 and THERE in ends[1]:
            codes[1], ends[1] = 2, IN_USE  # it came after the kill, before the first went on
    tally.well += codes.count(0)
    tally.refused += codes.count(2)
    if pair.apart:
        if codes != [0, 0]:
            yield f"exits {codes} ({'; '.join(ends)})"
    elif sorted(codes) != [0, 2] or not any(why in ends[codes.index(2)] for why in (IN_USE, THERE)):
        yield f"exits {codes} ({'; '.join(ends)})"
        return
    yield from different(digests(workers[0].where), wanted[codes.index(0)])


def pairs_table(tallies: Mapping[str, PairTally]) -> list[str]:
    """Lines of Markdown."""
    heads = ["pair", "trials", "kills", "ended well", "refused at once", "problems"]
    rows = {
        name: (t.trials, t.kills, t.well, t.refused, len(t.problems)) for name, t in tallies.items()
    }
    return table(heads, rows)
