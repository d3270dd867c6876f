"""The eye of `--until-unseen`: fixed pictures of the concept and of its neighbours, and a judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.shuffling import shuffled
from erasure.errors import ConfigError
from erasure.seeds import derived_seed
from erasure.storage.files import atomic
from erasure.training.unseen import Curve, InTraining, Look, UntilUnseen
from eval.judges.judge import Judgement, knows_nothing
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.drawing.generation import Painter
from pipelines.drawing.plots import plot_looks
from pipelines.drawing.requests import Request, work_of
from pipelines.process.processes import Processes
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.run_folder import LOOK
from prompts.concepts.plan import ConceptPlan


@dataclass(frozen=True, slots=True)
class _Seen:
    """The neighbours as they were before the training."""

    pictures: Sequence[Image.Image]
    answers: Sequence[dict[str, str]]


@dataclass(slots=True, kw_only=True)
class JudgingEye:
    """Draws and judges in the first process; the others hear what it saw.

    Text encoders and VAE are built for each look and gone after it, so that the steps in between
    have their memory. The pictures depend on the weights alone, so a look says the same whenever
    it is taken.
    """

    checkpoint: Checkpoint
    judge: CellJudge | None
    """None in all processes but the first."""
    concept: Sequence[Request]
    neighbours: Sequence[Request]
    drawing: DrawingConfig
    size: int | None
    device: torch.device
    team: Processes
    say: Callable[[Look], None] = lambda _: None
    """Told of each look at the training, in the first process."""
    folder: Path | None = None
    """Where the pictures of each look at the training are written; None writes none."""
    _base: _Seen | None = field(default=None, init=False)
    _recognised: Sequence[bool] = field(default=(), init=False)

    def before(self) -> Look:
        """Look at the checkpoint itself, and remember what its neighbours were.

        Raises:
            TrainingError: the model draws values that are not finite.
        """
        return self.team.agreed(lambda: self._look(None, 0))

    def recognised_before(self) -> Sequence[bool]:
        """Whether the concept was recognised in each of its pictures, the same in all processes."""
        return self.team.agreed(lambda: self._recognised)

    def __call__(self, drawing: InTraining, step: int, /) -> Look:
        """Look at the network in training; `before` must have been called.

        Raises:
            TrainingError: as `before`.
        """
        return self.team.agreed(lambda: self._look(drawing, step))

    def _look(self, training: InTraining | None, step: int) -> Look:
        assert self.judge is not None
        painter = Painter(self.checkpoint, self.drawing, self.device, self.size, training=training)
        images = list(painter.draw([*self.concept, *self.neighbours]))
        del painter  # its memory is the next step's
        shown = len(self.concept)
        judged = self.judge.judge(images)
        seen = _Seen(images[shown:], [_answers(judgement) for judgement in judged[shown:]])
        recognised = list(map(self.judge.recognises, judged[:shown]))
        if self._base is None:
            self._base, self._recognised = seen, recognised
        rejects = self.judge.rejects
        look = Look(
            step,
            sum(recognised),
            shown,
            len(self.neighbours),
            _changed(self._base, seen),
            _distance(self._base, seen),
            None if rejects is None else sum(map(rejects, judged[:shown])),
        )
        if training is not None:
            self.say(look)
            if self.folder is not None:
                save_look(images, shown, self.folder / f"{LOOK}{step:05}.png")
        return look


def until_unseen(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    plan: ConceptPlan,
    judge: CellJudge | None,
    *,
    team: Processes,
    device: torch.device,
    report: Reporter,
    folder: Path,
) -> UntilUnseen | None:
    """The rule of the recipe, once the model as it is has been looked at; None where it has none.

    Args:
        judge: that of the recipe, in the first process.
        folder: of the run; the pictures of each look go there.

    Raises:
        ConfigError: there is no judge, nothing is kept, or the judge does not recognise one of the
            concepts in what the model draws before.
    """
    if not recipe.until_unseen:
        return None
    config = recipe.unseen
    _require_sight(judge, plan, first=team.first)
    concept = [
        request
        for number, part in enumerate(plan.each)
        for request in _requests(part.forget, config.pictures, recipe.seed, "concept", number)
    ]
    neighbours = _requests(plan.retain, config.neighbours, recipe.seed, "neighbours", 0)
    eye = JudgingEye(
        checkpoint=checkpoint,
        judge=judge,
        concept=concept,
        neighbours=neighbours,
        drawing=recipe.grid.drawing,
        size=recipe.data.size,
        device=device,
        team=team,
        say=lambda look: report.tell([said(look, plan.concept)]),
        folder=folder,
    )
    with report.stage("look before", len(concept) + len(neighbours)) as tick:
        before = eye.before()
        tick(len(concept) + len(neighbours))
    _require_recognised(eye.recognised_before(), judge, plan)
    report.tell([said(before, plan.concept)])
    return UntilUnseen(
        eye=eye,
        before=before,
        every=config.every,
        times=config.times,
        cost=work_of([*concept, *neighbours], recipe.grid.drawing, checkpoint.architecture),
        about=team.agreed(lambda: _about(eye, judge)),
    )


def said(look: Look, concept: str) -> str:
    """One look in words."""
    when = f"step {look.step}" if look.step else "before the training"
    words = f"{when}: {concept} recognised in {look.recognised} of {look.shown} pictures"
    if look.rejected:
        words += f"; {look.rejected} {knows_nothing(look.rejected)}"
    if not look.step:
        return words
    if look.changed is not None:
        words += f"; {look.changed} of {look.neighbours} neighbours taken for something else"
    return f"{words}; their pixels differ by {look.distance:.3f}"


def curve_said(curve: Curve, concept: str) -> str:
    """One sentence of what came of the looks."""
    last = curve.looks[-1]
    if curve.stopped is None:
        return (
            f"{concept} is recognised in {last.recognised} of {last.shown} pictures at the last "
            f"look (step {last.step}), and the training went to its end"
        )
    (chosen,) = (look for look in curve.looks if look.step == curve.result)
    said = (
        f"{concept} was no longer recognised at the looks up to step {curve.stopped}, where the "
        f"training ended; the state of step {curve.result} harmed least and is the result"
    )
    if not chosen.rejected:
        return said
    return (
        f"{said}; {chosen.rejected} of its {chosen.shown} pictures "
        f"{knows_nothing(chosen.rejected)}: destroyed is not forgotten"
    )


def write_curve(curve: Curve, csv: Path, png: Path) -> None:
    """The looks as CSV, a row each, and as a chart; what a judge cannot say is left empty."""
    lines = ["step,recognised,shown,rejected,changed,neighbours,distance,result"]
    for look in curve.looks:
        cells = (look.step, look.recognised, look.shown, look.rejected, look.changed)
        row = [*cells, look.neighbours, repr(look.distance), int(look.step == curve.result)]
        lines.append(",".join("" if cell is None else str(cell) for cell in row))
    with atomic(csv) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot_looks(curve, png)


def save_look(images: Sequence[Image.Image], shown: int, path: Path) -> None:
    """The pictures of one look as one file: the concept's in a row, and below the neighbours'."""
    width, height = images[0].size
    columns = max(shown, len(images) - shown)
    sheet = Image.new("RGB", (columns * width, 2 * height), "white")
    for place, image in enumerate(images):
        row, column = divmod(place, shown) if place < shown else (1, place - shown)
        sheet.paste(image, (column * width, row * height))
    with atomic(path) as part:
        sheet.save(part, format="PNG")


def _require_sight(judge: CellJudge | None, plan: ConceptPlan, *, first: bool) -> None:
    if first and judge is None:
        raise ConfigError(
            f"until_unseen needs a judge that recognises {plan.concept}, and none is at hand for "
            "this model; give --judge, such as the folder of a CLIP with --labels"
        )
    if not plan.retain:
        raise ConfigError(
            "until_unseen measures the damage on what is kept, and there is no prompt to keep; "
            "give --retain-prompts, or leave until_unseen out"
        )


def _require_recognised(before: Sequence[bool], judge: CellJudge | None, plan: ConceptPlan) -> None:
    """Raise ConfigError where one of the concepts, of which there are as many pictures each, is
    hardly recognised before."""
    each = len(before) // len(plan.each)
    for number, part in enumerate(plan.each):
        count = sum(before[number * each : (number + 1) * each])
        if 2 * count < each:
            name = "" if judge is None else f" {judge.name}"
            raise ConfigError(
                f"the judge{name} recognises {part.concept} in {count} of {each} pictures that the "
                "model draws before the training, fewer than half, so it could not tell when it no "
                "longer is; give another --judge, or leave until_unseen out"
            )


def _requests(
    prompts: Sequence[str], count: int, seed: int, role: str, number: int
) -> list[Request]:
    """Prompts in an order of the seed, each with a seed of its own for its noise."""
    rows = shuffled(len(prompts), 0, count, seed, "unseen", role, number)
    return [
        Request(prompts[row], derived_seed(seed, "unseen", role, number, n) % 2**32)
        for n, row in enumerate(rows)
    ]


def _about(eye: JudgingEye, judge: CellJudge | None) -> dict[str, Any]:
    """All that decides what is seen, but for the batch, which decides it by rounding alone."""
    assert judge is not None
    return {
        "judge": judge.name,
        "protocol": dict(judge.judge.protocol),
        "concept": [[request.prompt, request.seed] for request in eye.concept],
        "neighbours": [[request.prompt, request.seed] for request in eye.neighbours],
        "steps": eye.drawing.steps,
        "guidance": eye.drawing.guidance,
        "size": eye.size,
    }


def _answers(judgement: Judgement) -> dict[str, str]:
    """The first guess of each head."""
    return {head: guesses[0].label for head, guesses in judgement.guesses.items() if guesses}


def _changed(before: _Seen, now: _Seen) -> int | None:
    """Neighbours of which some head says something else; None where no head says anything."""
    if not any(before.answers):
        return None
    return sum(a != b for a, b in zip(before.answers, now.answers, strict=True))


def _distance(before: _Seen, now: _Seen) -> float:
    """Mean absolute difference of all pixels, in [0, 1]."""
    pairs = zip(before.pictures, now.pictures, strict=True)
    each = [np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).mean() for a, b in pairs]
    return float(np.mean(each)) / 255
