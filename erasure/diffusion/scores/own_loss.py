"""Scores by a method's own forget loss: the task of a run, in which nothing moves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import BatchSource
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.precision import InPrecision, passes_in
from erasure.diffusion.scores.saliency import Pass
from erasure.diffusion.scores.summing import Measuring, measured_component, summed_scores
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, TrainingError, Way
from erasure.masks.masks import SaliencyMask, all_mask
from erasure.seeds import derived_seed
from erasure.team import Team, share_of
from erasure.training.objective import Objective
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.work import Counted

B = TypeVar("B")

PLAIN: Final = Way("--saliency-loss plain", "loss='plain'")
"""What to give where another loss cannot be measured."""


def scores_by_own_loss(
    checkpoint: Checkpoint, data: ConceptData, names: Sequence[str], how: Measuring
) -> dict[str, Tensor]:
    """|sum of the gradients of the method's forget loss at the base| of the named weights, float32,
    on as many samples of its own stream as the diffusion loss would have.

    Raises:
        ConfigError: there is no method, it has no loss, or the data lack what it needs.
        TrainingError: a loss is not finite, or another process is gone.
    """
    method: Any = how.own
    needs = method.needs
    if "pictures" in needs:
        shown = len(data.forget)
    elif "anchors" in needs and data.anchors is not None:
        shown = len(data.anchors.pictures)
    else:
        shown = len(data.require_texts().forget)
    component = how.component or checkpoint.architecture.main
    task = MeasuringTask(
        checkpoint=checkpoint,
        data=data,
        mask=_every(checkpoint, component, names),
        device=how.where,
        team=how.team,
        samples=how.config.draws * shown,
        how=how,
        tally=how.tally,
    )
    if any(entry.name == "seed" for entry in fields(method)):
        method = replace(method, seed=derived_seed(how.config.seed, "own saliency"))
    for _ in method.run(task):
        pass
    return task.scores


def _every(checkpoint: Checkpoint, component: str, names: Sequence[str]) -> SaliencyMask:
    """All of these weights of a component."""
    made = all_mask({name: checkpoint.components[component][name] for name in names})
    return made.with_info(replace(made.info, component=component))


class _Still:
    """Trainables of a network that does not move: its own values are those of the base."""

    apart = False

    def __init__(self) -> None:
        self.vectors: dict[str, nn.Parameter] = {}

    def write_back(self) -> None:
        """Nothing has moved."""

    def write(self, values: Mapping[str, Tensor]) -> None:
        """There are no values."""

    def sum_gradients(self, team: Team) -> None:
        """There are no vectors that have any."""

    def release(self) -> None:
        """There are no hooks."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasuringTask(Task):
    """A task of which every method that trains can be given a run, and that moves nothing."""

    samples: int
    """How many samples of the method's own stream the gradient is summed over."""
    how: Measuring
    """Samples a pass, where the sums lie, of which type the weights are, and who is told."""
    scores: dict[str, Tensor] = field(default_factory=dict)
    """|sum of the gradients of the forget loss| by name, filled by `train`; float32."""

    def train(
        self,
        settings: TrainConfig,
        batches: BatchSource[B],
        objective: Objective[B],
        *,
        needs_frozen: bool = False,
        **others: Any,  # noqa: ANN401
    ) -> Iterator[Step]:
        """Sum the gradients of the forget loss at the base; yields no step.

        Raises:
            TrainingError: a loss is not finite, or another process is gone.
        """
        how = replace(self.how, component=self.component)
        moving = measured_component(self.checkpoint, how)
        plain = InPrecision(moving.denoiser(moving.network), how.config.precision)
        denoise = Counted(plain, self.tally)
        frozen = FrozenDenoiser(denoise, _Still(), needed=needs_frozen)

        def passes() -> Iterator[Pass]:
            return self._passes(batches, objective, denoise, frozen)

        names = list(self.mask.entries)
        self.scores.update(summed_scores(moving.network, names, passes, how))
        yield from ()

    def _passes(
        self,
        batches: BatchSource[B],
        objective: Objective[B],
        denoise: Denoiser,
        frozen: FrozenDenoiser,
    ) -> Iterator[Pass]:
        """Add up the gradients of this process's share of the samples."""
        config, mine = self.how.config, share_of(self.team, self.samples)
        attention = partial(passes_in, config.precision, batches.shape, self.device)
        for start in mine[:: config.batch_size]:
            count = min(config.batch_size, mine.stop - start)
            batch = batches.at(start, count, denoise, frozen)
            loss = objective(denoise, frozen, batch).forget
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the method's own loss is {float(loss)} on sample {start}; check the "
                    "checkpoint and the prompts"
                )
            if loss.requires_grad:
                with attention():  # of what is recomputed
                    torch.autograd.backward(loss * count / self.samples)
            done = (start + count - mine.start) * self.samples // len(mine)
            yield Pass(done, self.samples, float(loss.detach()))

    def change(self, values: Mapping[str, Tensor], *args: Any, **others: Any) -> None:  # noqa: ANN401
        """Refuse: a closed form has no loss.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "the method solves in closed form and has no loss of its own to take a gradient of; "
            "give ",
            Way("--saliency-loss guided", "loss='guided'"),
            " or ",
            PLAIN,
        )
