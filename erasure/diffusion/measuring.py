"""The scores of all candidate weights: by the diffusion loss or the method's own, of any number of
concepts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from erasure.architectures.building import schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import BatchSource
from erasure.diffusion.latents import ConceptData
from erasure.diffusion.offload import OffloadedGradients
from erasure.diffusion.precision import InPrecision
from erasure.diffusion.saliency import (
    Pass,
    SaliencyConfig,
    accumulate_gradients,
    merged_scores,
    saliency_scores,
)
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, TrainingError, Way
from erasure.masks.masks import SaliencyMask, all_mask
from erasure.methods.protocol import Method
from erasure.moving.component import data_for, moving_of
from erasure.seeds import derived_seed
from erasure.storage.mapped import let_go
from erasure.team import ALONE, Team, share_of
from erasure.training.frozen import FrozenDenoiser
from erasure.training.selected import SelectedWeights
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
) -> dict[str, Tensor]:
    """|sum of forget gradients| of the named weights of a component, the main one if none, by name,
    float32 on `device`, or in main memory where `config` offloads them."""
    require_loss(checkpoint, config)
    data.require_pictures()
    where = device or torch.device("cpu")
    moving = moving_of(checkpoint, component or checkpoint.architecture.main, where, tally)
    network = moving.network
    let_go(checkpoint.network.values())  # the network holds a copy
    weights = {k: w for k, w in network.named_parameters() if k in set(names)}
    for weight in weights.values():
        weight.requires_grad_(True)
    offloaded = OffloadedGradients(weights) if config.offload else None
    schedule = schedule_of(checkpoint)
    denoise = Counted(moving.denoiser(network), tally or Tally())
    for progress in accumulate_gradients(denoise, data, schedule, config, device=where, team=team):
        on_pass(progress)
    return offloaded.scores(team) if offloaded else saliency_scores(network, weights, team)


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
        batch_size=how.config.batch_size,
        on_pass=how.on_pass,
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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasuringTask(Task):
    """A task of which every method that trains can be given a run, and that moves nothing."""

    samples: int
    """How many samples of the method's own stream the gradient is summed over."""
    batch_size: int
    """Samples a pass."""
    on_pass: Callable[[Pass], None]
    """Told of progress."""
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
        moving = moving_of(self.checkpoint, self.component, self.device, self.tally)
        let_go(self.checkpoint.network.values())  # the network holds a copy
        plain = InPrecision(moving.denoiser(moving.network), "fp32")
        denoise = Counted(plain, self.tally)
        selected = SelectedWeights(moving.network, self.mask.entries)
        frozen = FrozenDenoiser(denoise, selected, needed=needs_frozen)
        mine = share_of(self.team, self.samples)
        for start in mine[:: self.batch_size]:
            count = min(self.batch_size, mine.stop - start)
            batch = batches.at(start, count, denoise, frozen)
            loss = objective(denoise, frozen, batch).forget
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the method's own loss is {float(loss)} on sample {start}; check the "
                    "checkpoint and the prompts"
                )
            if loss.requires_grad:
                torch.autograd.backward(loss * count / self.samples)
            done = (start + count - mine.start) * self.samples // len(mine)
            self.on_pass(Pass(done, self.samples, float(loss.detach())))
        selected.sum_gradients(self.team)
        self._take(selected)
        yield from ()

    def _take(self, selected: SelectedWeights) -> None:
        for name, vector in selected.vectors.items():
            shape = self.mask.entries[name].shape
            gradient = vector.grad
            if gradient is None:
                self.scores[name] = torch.zeros(shape)
            else:
                self.scores[name] = gradient.float().abs_().view(shape)
        selected.release()

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
