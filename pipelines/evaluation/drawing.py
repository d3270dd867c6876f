"""Draw a set of prompts: in batches, on any number of processes, kept when the run is cut.

Which pictures share a batch depends on the cases and the settings alone, never on what is there
already or on who draws it: the last bits of a picture depend on its batch.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from erasure.architectures.building import own_size
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from eval.errors import EvalError
from pipelines.configs.settings import DrawingConfig, check_size
from pipelines.drawing.generation import Painter, Picture, Precision
from pipelines.drawing.guards import Guard
from pipelines.drawing.requests import Request, in_batches, shape_of
from pipelines.drawing.schedulers import (
    DEFAULT,
    begin_sampling,
    build_scheduler,
    check_scheduler,
)
from pipelines.evaluation.manifest import Drawn, Manifest, State, Value, cases_hash, unusable
from pipelines.evaluation.usable import require_numbers
from pipelines.process.processes import processes
from pipelines.process.progress import Reporter
from prompts.suites.case import PromptCase

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How the pictures of an evaluation are drawn."""

    scheduler: str = DEFAULT
    """A key of `pipelines.drawing.schedulers.SCHEDULERS`."""
    steps: int = 25
    guidance: float = 7.5
    """Guidance of cases that have none of their own; 1 draws without guidance."""
    precision: Precision = "fp32"
    """Type of the model; the solver runs in fp32."""
    width: int | None = None
    """Pixels, of cases that have none of their own; the model's own if none."""
    height: int | None = None
    batch_size: int = 16
    """Pictures at a time; changes speed and memory, and a picture's last bits."""
    stream: bool = False
    """Whether the network's blocks lie in main memory while they do not compute."""
    guard: Guard | None = None
    """What keeps a concept out of the drawings."""

    def __post_init__(self) -> None:
        check_scheduler(self.scheduler)
        self.drawing()
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ConfigError(f"guidance is {self.guidance}; give 0 or more, such as 7.5")
        for size in (self.width, self.height):
            check_size(size)

    def drawing(self) -> DrawingConfig:
        """What the painter is told; ConfigError where a value is out of range."""
        return DrawingConfig(
            steps=self.steps,
            guidance=self.guidance,
            batch_size=self.batch_size,
            stream=self.stream,
        )


def draw_cases(
    checkpoint: Checkpoint,
    cases: Iterable[PromptCase],
    folder: Path,
    settings: RunConfig,
    *,
    device: torch.device,
    reporter: Reporter,
    name: str,
    force: bool = False,
) -> list[Drawn]:
    """Draw all cases into `folder/images/name`, or what of them is not there yet.

    Started by a launcher, each process draws its share of the batches and all return the same.

    Args:
        cases: each id once; read several times if they can be, so that a long file streams.
        folder: of the evaluation.
        name: `after` or `before`.
        force: draw anew what is there with other settings.

    Returns:
        A picture a case, in order.

    Raises:
        ConfigError: there is no case, an id comes twice, the model cannot draw by the settings, or
            the folder holds pictures with other settings and `force` is not set.
        DiskError: the disk refuses; what is drawn stays.
        EvalError: the processes do not share the folder.
        TrainingError: no picture of the first batch is finite.
    """
    if isinstance(cases, Iterator):
        cases = tuple(cases)
    team = processes(device)
    size = own_size(checkpoint)
    total = _counted(cases)
    manifest = Manifest(folder, name)
    header = _header(checkpoint, cases, total, settings)
    manifest.check(header, force=force)
    require_drawable(checkpoint, cases, settings)
    team.wait()  # all have looked before one writes
    if team.first:
        manifest.begin(header)
    team.wait()
    speaking = reporter if team.first else Reporter(quiet=True)
    with speaking.stage(f"draw {name}", total) as tick:
        bad = 0
        run = _Run(checkpoint, settings, device, manifest)
        for number, batch in enumerate(_batches(cases, settings, size)):
            if team.has(number):
                made = run.batch(number, [case for _, case in batch])
                if number == 0:
                    require_numbers(made, name)
                bad += sum(unusable(made).values())
            # What others draw meanwhile counts too: the bar shows the whole.
            tick(len(batch), f"{bad} unusable" if bad else "")
    team.wait()
    drawn = _collected(manifest, _batches(cases, settings, size), total)
    if team.first:
        manifest.finish(drawn)
        _warn(drawn, name)
    team.wait()
    return drawn


def require_drawable(
    checkpoint: Checkpoint, cases: Iterable[PromptCase], settings: RunConfig
) -> None:
    """Find what the drawing of a case would stop at, before anything is written.

    Raises:
        ConfigError: the model cannot be drawn by the scheduler or in so many steps, or the guard
            works through guidance, which a case or the model has not.
        CheckpointError: the scheduler cannot be made of the model's scheduler config.
    """
    family, description = checkpoint.architecture, checkpoint.description
    scheduler = build_scheduler(settings.scheduler, description.scheduler, pixels=family.pixels)
    size = own_size(checkpoint)
    sides = (settings.height or size[1], settings.width or size[0])
    _, height, width = family.latent_shape(description, *sides)
    more = family.sampling(description.scheduler, settings.steps, (height, width))
    begin_sampling(scheduler, settings.steps, None, more)
    if settings.guard is not None:
        settings.guard.require_model(family.guidance_kind)
        for case in cases:
            own = settings.guidance if case.guidance is None else case.guidance
            settings.guard.require_guidance(own, repr(case.prompt))


@dataclass(slots=True)
class _Run:
    """One process's part; the model is built when there is something to draw."""

    checkpoint: Checkpoint
    settings: RunConfig
    device: torch.device
    manifest: Manifest
    painter: Painter | None = None

    def batch(self, number: int, cases: Sequence[PromptCase]) -> list[Drawn]:
        """The pictures of a batch, drawn unless they are there."""
        done = self.manifest.read_batch(number, cases, verify=True)
        # What a guard refused was once kept as black.
        if done and all((d.state == "refused") == self._refuses(d.case) for d in done):
            return done
        if self.painter is None:
            self.painter = Painter(
                self.checkpoint,
                self.settings.drawing(),
                self.device,
                scheduler=self.settings.scheduler,
                precision=self.settings.precision,
                guard=self.settings.guard,
            )
        pictures = self.painter.paint([_request(case) for case in cases])
        drawn = [
            self.manifest.keep(case, picture.image, self._state(case, picture))
            for case, picture in zip(cases, pictures, strict=True)
        ]
        self.manifest.write_batch(number, drawn)
        return drawn

    def _refuses(self, case: PromptCase) -> bool:
        guard = self.settings.guard
        return guard is not None and guard.refuses(case.prompt)

    def _state(self, case: PromptCase, picture: Picture) -> State:
        if self._refuses(case):
            return "refused"
        if not picture.finite:
            return "nan"
        return "ok" if picture.image.getbbox() else "black"  # the box of what is not black


def _request(case: PromptCase) -> Request:
    return Request(case.prompt, case.seed, case.guidance, case.width, case.height)


def _completed(case: PromptCase, settings: RunConfig, size: tuple[int, int]) -> PromptCase:
    """The case with its guidance and size filled in; `size` is the model's own."""
    return replace(
        case,
        guidance=settings.guidance if case.guidance is None else case.guidance,
        width=case.width or settings.width or size[0],
        height=case.height or settings.height or size[1],
    )


def _batches(
    cases: Iterable[PromptCase], settings: RunConfig, size: tuple[int, int]
) -> Iterator[Sequence[tuple[int, PromptCase]]]:
    """Batches of (place in the list, case)."""
    whole = ((place, _completed(case, settings, size)) for place, case in enumerate(cases))
    return in_batches(whole, lambda job: shape_of(_request(job[1])), settings.batch_size)


def _counted(cases: Iterable[PromptCase]) -> int:
    """How many there are; ConfigError where there is none, or one has the file of another."""
    seen = set()
    for case in cases:
        if case.case in seen:
            raise ConfigError(f"the case {case.case!r} comes twice; give each an id of its own")
        seen.add(case.case)
    if not seen:
        raise ConfigError("there is no prompt to draw; give at least one")
    return len(seen)


def _header(
    checkpoint: Checkpoint, cases: Iterable[PromptCase], total: int, settings: RunConfig
) -> dict[str, Value]:
    """All that decides what the pictures look like."""
    guarded = {} if settings.guard is None else {"guard": settings.guard.described()}
    return {
        "model": checkpoint.digest(),
        "scheduler": settings.scheduler,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "precision": settings.precision,
        "width": settings.width,
        "height": settings.height,
        "batch_size": settings.batch_size,
        "cases": total,
        "prompts": cases_hash(cases),
        **guarded,
    }


def _collected(
    manifest: Manifest, batches: Iterable[Sequence[tuple[int, PromptCase]]], total: int
) -> list[Drawn]:
    """What all processes drew, in the order of the cases."""
    drawn: dict[int, Drawn] = {}
    for number, batch in enumerate(batches):
        part = manifest.read_batch(number, [case for _, case in batch], verify=False)
        if part is None:
            raise EvalError(
                f"batch {number} of {manifest.folder} is not there although it was drawn; give all "
                "processes the same folder, and run the same command again"
            )
        drawn.update(zip((place for place, _ in batch), part, strict=True))
    return [drawn[place] for place in range(total)]


def _warn(drawn: Sequence[Drawn], name: str) -> None:
    counts = {state: n for state, n in unusable(drawn).items() if n}
    if counts:
        losses = " and ".join(f"{n} {state}" for state, n in counts.items())
        _log.warning("%s of %d pictures of %s are left out of all rates", losses, len(drawn), name)
