"""How scores are measured, and the sums of gradients that they are made of, group by group."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.scores.gradient_sums import GradientSums, SumsIn, in_groups
from erasure.diffusion.scores.saliency import Pass, SaliencyConfig
from erasure.errors import ConfigError
from erasure.methods.protocol import Method
from erasure.moving.component import Moving, moving_of, require_recomputed
from erasure.storage.tensors.mapped import let_go
from erasure.team import ALONE, Team
from erasure.work import Tally


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
    def where(self) -> torch.device:
        """The device, the CPU if none is given."""
        return self.device or torch.device("cpu")

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


def measured_component(checkpoint: Checkpoint, how: Measuring) -> Moving:
    """The component whose weights are scored, ready for passes with a gradient."""
    config, component = how.config, how.component or checkpoint.architecture.main
    if config.checkpointing:
        require_recomputed(checkpoint, "saliency.checkpointing")
    moving = moving_of(
        checkpoint,
        component,
        how.where,
        how.tally,
        precision=config.precision,
        stream=config.stream,
    )
    let_go(checkpoint.network.values())  # the network holds a copy
    if config.checkpointing:
        moving.recompute()
    return moving


def summed_scores(
    network: nn.Module,
    names: Sequence[str],
    passes: Callable[[], Iterator[Pass]],
    how: Measuring,
) -> dict[str, Tensor]:
    """The scores of the named weights, group by group.

    Args:
        passes: sums the gradients of those weights that want one over all samples, which are the
            same each time.
    """
    config, chosen = how.config, set(names)
    parameters = dict(network.named_parameters())
    weights = {name: weight for name, weight in parameters.items() if name in chosen}
    sizes = {name: weight.numel() for name, weight in weights.items()}
    groups = in_groups(sizes, config.groups)
    finished = SumsIn(config.finished_place, sizes, how.scratch) if len(groups) > 1 else None
    place = SumsIn("device" if finished else config.place, sizes, how.scratch)
    scores: dict[str, Tensor] = {}
    for number, group in enumerate(groups):
        part = {name: weights[name] for name in group}
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in part)
        sums = GradientSums(part, place)
        for progress in passes():
            done = (number * progress.total + progress.done) // len(groups)
            how.on_pass(replace(progress, done=done))
        for name, score in sums.scores(how.team).items():
            scores[name] = finished(name, score) if finished else score
    return scores
