"""The scores of all candidate weights: by the diffusion loss or the method's own, of any number of
concepts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from erasure.architectures.building import schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import BatchSource
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.gradient_sums import GradientSums, SumsIn, in_groups
from erasure.diffusion.latents import ConceptData
from erasure.diffusion.precision import InPrecision, passes_in
from erasure.diffusion.saliency import (
    Pass,
    SaliencyConfig,
    accumulate_gradients,
    merged_scores,
)
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, TrainingError, Way
from erasure.masks.masks import SaliencyMask, all_mask
from erasure.methods.protocol import Method
from erasure.moving.component import Moving, data_for, moving_of, require_recomputed
from erasure.seeds import derived_seed
from erasure.storage.mapped import let_go
from erasure.team import ALONE, Team, share_of
from erasure.training.frozen import FrozenDenoiser
from erasure.training.step import Step
from erasure.training.trainer import Objective, TrainConfig
from erasure.work import Counted, Tally

B = TypeVar("B")

_PLAIN: Final = Way("--saliency-loss plain", "loss='plain'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measuring:
    """How scores are measured."""

    config: SaliencyConfig
    method: Method | None = None
    """Whose forget loss it is, where the config says `own`."""
    device: torch.device | None = None
    team: Team = ALONE
    on_pass: Callable[[Pass], None] = lambda _: None
    """Told of progress."""
    component: str | None = None
    """Whose weights they are; the main component if none."""
    tally: Tally = field(default_factory=Tally)
    """Counts what this process computes."""
    scratch: Path | None = None
    """Folder for sums in a file; the system's folder for temporary files if none."""

    @property
    def loss(self) -> str:
        """What a mask says of it.

        Raises:
            ConfigError: it is the own loss of no method.
        """
        return f"own loss of {self.own.name}" if self.config.loss == "own" else self.config.loss

    @property
    def own(self) -> Method:
        """The method; ConfigError where there is none."""
        if self.method is None:
            raise ConfigError("the saliency loss is 'own' and there is no method; give one")
        return self.method


def measure_scores(
    checkpoint: Checkpoint, data: ConceptData, names: Sequence[str], how: Measuring
) -> dict[str, Tensor]:
    """The scores of the named weights, float32: of each concept by itself, and merged.

    Raises:
        ConfigError: the data lack what the loss is of, or the method has no loss.
        TrainingError: a loss is not finite, or another process is gone.
    """
    measure = _by_own_loss if how.config.loss == "own" else _by_noise
    component = how.component or checkpoint.architecture.main
    data = data_for(checkpoint, component, data)

    def each() -> Iterator[dict[str, Tensor]]:
        before, last = 0, 0

        def on_pass(progress: Pass) -> None:
            nonlocal last
            last = progress.total
            how.on_pass(replace(progress, done=before + progress.done))

        for part in data.by_concept():
            yield measure(checkpoint, part, names, replace(how, on_pass=on_pass))
            before += last

    return merged_scores(each(), how.config.merge)


def _by_noise(
    checkpoint: Checkpoint, data: ConceptData, names: Sequence[str], how: Measuring
) -> dict[str, Tensor]:
    return measure_saliency(
        checkpoint,
        data,
        names,
        how.config,
        device=how.device,
        team=how.team,
        on_pass=how.on_pass,
        component=how.component,
        tally=how.tally,
        scratch=how.scratch,
    )


def measure_saliency(
    checkpoint: Checkpoint,
    data: ConceptData,
    names: Sequence[str],
    config: SaliencyConfig,
    *,
    device: torch.device | None = None,
    team: Team = ALONE,
    on_pass: Callable[[Pass], None] = lambda _: None,
    component: str | None = None,
    tally: Tally | None = None,
    scratch: Path | None = None,
) -> dict[str, Tensor]:
    """|sum of forget gradients| of the named weights of a component, the main one if none, by name,
    float32 on `device`, or in main memory or a file where `config` puts them there.

    Args:
        scratch: folder for the file, if there is one.
    """
    require_loss(checkpoint, config)
    data.require_pictures()
    where = device or torch.device("cpu")
    moving = _moving(checkpoint, component, where, config, tally)
    schedule = schedule_of(checkpoint)
    denoise = Counted(
        InPrecision(moving.denoiser(moving.network), config.precision), tally or Tally()
    )

    def passes() -> Iterator[Pass]:
        return accumulate_gradients(denoise, data, schedule, config, device=where, team=team)

    return _summed(moving.network, names, config, passes, team, on_pass, scratch)


def _moving(
    checkpoint: Checkpoint,
    component: str | None,
    device: torch.device,
    config: SaliencyConfig,
    tally: Tally | None,
) -> Moving:
    """The component, ready for passes with a gradient."""
    component = component or checkpoint.architecture.main
    if config.checkpointing:
        require_recomputed(checkpoint, "saliency.checkpointing")
    moving = moving_of(
        checkpoint, component, device, tally, precision=config.precision, stream=config.stream
    )
    let_go(checkpoint.network.values())  # the network holds a copy
    if config.checkpointing:
        moving.recompute()
    return moving


def _summed(
    network: nn.Module,
    names: Sequence[str],
    config: SaliencyConfig,
    passes: Callable[[], Iterator[Pass]],
    team: Team,
    on_pass: Callable[[Pass], None],
    scratch: Path | None,
) -> dict[str, Tensor]:
    """The scores of the named weights, group by group.

    Args:
        passes: sums the gradients of those weights that want one over all samples, which are the
            same each time.
    """
    chosen = set(names)
    parameters = dict(network.named_parameters())
    weights = {name: weight for name, weight in parameters.items() if name in chosen}
    sizes = {name: weight.numel() for name, weight in weights.items()}
    groups = in_groups(sizes, config.groups)
    finished = SumsIn(config.finished_place, sizes, scratch) if len(groups) > 1 else None
    place = SumsIn("device" if finished else config.place, sizes, scratch)
    scores: dict[str, Tensor] = {}
    for number, group in enumerate(groups):
        part = {name: weights[name] for name in group}
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in part)
        sums = GradientSums(part, place)
        for progress in passes():
            done = (number * progress.total + progress.done) // len(groups)
            on_pass(replace(progress, done=done))
        for name, score in sums.scores(team).items():
            scores[name] = finished(name, score) if finished else score
    return scores


def require_loss(checkpoint: Checkpoint, config: SaliencyConfig) -> None:
    """Raise ConfigError where the loss is of guided predictions and the model is not guided so."""
    if config.loss == "guided":
        checkpoint.architecture.require_guidance(
            "the guided saliency loss cannot be measured, so give ", _PLAIN
        )


def _by_own_loss(
    checkpoint: Checkpoint, data: ConceptData, names: Sequence[str], how: Measuring
) -> dict[str, Tensor]:
    """The same of the method's forget loss at the base, on as many samples of its own stream."""
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
        device=how.device or torch.device("cpu"),
        team=how.team,
        samples=how.config.draws * shown,
        config=how.config,
        on_pass=how.on_pass,
        scratch=how.scratch,
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
    config: SaliencyConfig
    """Samples a pass, where the sums lie, and of which type the weights are."""
    on_pass: Callable[[Pass], None]
    """Told of progress."""
    scratch: Path | None = None
    """Folder for sums in a file."""
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
        moving = _moving(self.checkpoint, self.component, self.device, self.config, self.tally)
        plain = InPrecision(moving.denoiser(moving.network), self.config.precision)
        denoise = Counted(plain, self.tally)
        frozen = FrozenDenoiser(denoise, _Still(), needed=needs_frozen)

        def passes() -> Iterator[Pass]:
            return self._passes(batches, objective, denoise, frozen)

        names = list(self.mask.entries)
        summed = _summed(
            moving.network, names, self.config, passes, self.team, self.on_pass, self.scratch
        )
        self.scores.update(summed)
        yield from ()

    def _passes(
        self,
        batches: BatchSource[B],
        objective: Objective[B],
        denoise: Denoiser,
        frozen: FrozenDenoiser,
    ) -> Iterator[Pass]:
        """Add up the gradients of this process's share of the samples."""
        mine = share_of(self.team, self.samples)
        attention = partial(passes_in, self.config.precision, batches.shape, self.device)
        for start in mine[:: self.config.batch_size]:
            count = min(self.config.batch_size, mine.stop - start)
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
            _PLAIN,
        )
