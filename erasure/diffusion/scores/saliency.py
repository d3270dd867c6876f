"""Which weights carry a concept: the size of the summed gradient of the forget loss."""

# B samples, C x H x W latents.

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.latents import Draw, Noised, noised
from erasure.diffusion.denoiser import Condition, Denoiser, join
from erasure.diffusion.precision import passes_in
from erasure.diffusion.schedule import Schedule
from erasure.diffusion.scores.gradient_sums import Place
from erasure.errors import ConfigError, TrainingError
from erasure.setting_checks import require_choice, require_counts
from erasure.team import ALONE, Team, share_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SaliencyConfig:
    """How the forget loss is measured.

    Raises:
        ConfigError: a setting is outside its range.

    Examples:
        >>> plain = SaliencyConfig(loss="plain", draws=2)
        >>> mask = find_mask(checkpoint, data, density=0.1, config=plain)
    """

    loss: Literal["guided", "plain", "own"] = "guided"
    """What the mask takes the gradient of: the error of the guided prediction, as in the paper's
    release, of the plain one, or the forget loss of the method itself."""
    merge: Literal["union", "sum"] = "union"
    """How the scores of several concepts become one, each divided by its mean: the largest, so
    that what one concept alone needs stays in the mask, or their sum."""
    guidance_scale: float = 8.5
    """g of the guided prediction e(empty) + g (e(c) - e(empty)), as everywhere; 1 is none."""
    draws: int = 1
    """Draws of the mask for each forget picture: pairs of a time step and noise."""
    batch_size: int = 8
    """Samples a pass of the mask; changes memory and speed, the result only by rounding."""
    offload: bool = False
    """Add up the mask's gradients in main memory: 4 bytes a weight less on the device, and
    slower."""
    mapped: bool = False
    """Add them up in a file that is mapped into memory, for models whose sums main memory does not
    hold; the scores have the same bits."""
    groups: int = 1
    """Passes over the same samples, each of which adds up the gradients of a part of the weights;
    the sums of the other parts lie in main memory, or with `mapped` in the file. The scores have
    the same bits, and the time is as many times as long."""
    precision: Literal["fp32", "bf16-weights"] = "fp32"
    """Type of the weights while the mask is measured; sums are float32 in any case."""
    checkpointing: bool = False
    """Gradient checkpointing while the mask is measured: less memory, slower."""
    stream: bool = False
    """Keep the network's blocks in main memory while they do not compute; they are recomputed."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if self.loss not in ("guided", "plain", "own"):
            raise ConfigError(
                f"the saliency loss is {self.loss!r}; give 'guided', 'plain' or 'own'"
            )
        require_choice(self, "merge", "union", "sum")
        if self.draws < 1 or self.batch_size < 1:
            raise ConfigError(
                f"draws is {self.draws} and batch_size {self.batch_size}; give 1 or more of both"
            )
        require_counts(self, "groups")
        if self.precision not in ("fp32", "bf16-weights"):
            raise ConfigError(
                f"the saliency precision is {self.precision!r}; give 'fp32' or 'bf16-weights'"
            )
        if self.offload and (self.groups > 1 or self.mapped):
            raise ConfigError(
                "offload adds up in main memory, so neither groups, which share out sums on the "
                "device, nor mapped, which puts them into a file, goes with it; give one of them"
            )

    @property
    def place(self) -> Place:
        """Where the sums lie to which gradients are added."""
        if self.groups > 1:
            return "device"
        return "file" if self.mapped else "main" if self.offload else "device"

    @property
    def finished_place(self) -> Place:
        """Where the finished sums of a part lie while another is measured."""
        return "file" if self.mapped else "main"


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """e(empty) + g (e(c) - e(empty)), written as g e(c) - (g - 1) e(empty); shapes as given.

    Source: arXiv:2207.12598, eq. 6, whose w is g - 1. The release calls w its guidance, and its
        7.5 is 8.5 here.
    """
    return scale * conditional - (scale - 1) * unconditional


def forget_loss(
    denoise: Denoiser, batch: Noised, empty: Condition, config: SaliencyConfig
) -> Tensor:
    """Squared error of the prediction, mean over elements, one value a sample.

    Args:
        batch: forget samples.
        empty: the empty prompt, one row; only read by the guided loss.

    Returns:
        (B,), float32. The release puts a minus in front, which the absolute value of the score
        undoes.

    Source: arXiv:2310.12508, saliency map, with the guided prediction of its released code.
    """
    if config.loss == "plain":
        predicted = denoise(batch.x_t, batch.t, batch.condition)
    else:
        nothing = empty[torch.zeros(len(batch), dtype=torch.int64, device=batch.t.device)]
        both = denoise(
            torch.cat([batch.x_t, batch.x_t]),
            torch.cat([batch.t, batch.t]),
            join([batch.condition, nothing]),
        )
        conditional, unconditional = both.float().chunk(2)
        predicted = guided(conditional, unconditional, config.guidance_scale)
    error = F.mse_loss(predicted.float(), batch.target.float(), reduction="none")
    return error.flatten(1).mean(dim=1)


@dataclass(frozen=True, slots=True)
class Pass:
    """Progress of the gradient pass."""

    done: int
    """Samples so far; on a team, as many as if all were as far as this process."""
    total: int
    loss: float
    """Mean over the last batch."""


def accumulate_gradients(
    denoise: Denoiser,
    data: ConceptData,
    schedule: Schedule,
    config: SaliencyConfig,
    *,
    device: torch.device,
    team: Team = ALONE,
) -> Iterator[Pass]:
    """Sum the signed gradient over all forget samples into `.grad` of the weights behind `denoise`.

    Every (picture, draw) has its own seeded time step and noise. Clear the gradients first; no
    weight moves. On a team the sum is that over this process's share of the samples, and
    `saliency_scores` adds up the shares.
    """
    rows = [(n, k) for k in range(config.draws) for n in range(len(data.forget))]
    empty = data.prompts[torch.zeros(1, dtype=torch.int64)].to(device, torch.float32)
    mine = share_of(team, len(rows))
    for start in mine[:: config.batch_size]:
        part = rows[start : min(start + config.batch_size, mine.stop)]
        draws = [Draw(n, (config.seed, "saliency", n, k)) for n, k in part]
        batch = noised(data.forget, data.prompts, schedule, draws).to(device, torch.float32)
        losses = forget_loss(denoise, batch, empty, config)
        with passes_in(config.precision, batch.x_t.shape[1:], device):  # of what is recomputed
            torch.autograd.backward(losses.sum() / len(rows))
        loss = float(losses.detach().mean())
        if not torch.isfinite(losses).all():
            raise TrainingError(
                f"the forget loss is {loss} on sample {start}; check the checkpoint and the "
                "pictures, or use fp32"
            )
        done = (start + len(part) - mine.start) * len(rows) // len(mine)
        yield Pass(done, len(rows), loss)


def merged_scores(
    each: Iterable[Mapping[str, Tensor]], how: Literal["union", "sum"]
) -> dict[str, Tensor]:
    """One score a weight from those of several concepts, which are divided by their means first.

    The larger a concept's loss, the larger all its scores: undivided, one concept would fill the
    mask. A union keeps what matters to one concept alone, which a sum ranks behind what matters a
    little to all. One concept's scores stay as they are.

    Args:
        each: scores of one concept after the other, by the same names; they are changed in place.
        how: `union` takes the largest, so that a threshold selects what it would select of any
            one of them; `sum` adds them up.
    """
    merged: dict[str, Tensor] = {}
    scale = 1.0
    for number, scores in enumerate(each):
        total = sum(float(score.double().sum()) for score in scores.values())
        mean = total / sum(score.numel() for score in scores.values()) or 1.0
        if number == 0:
            merged, scale = dict(scores), mean
            continue
        for name, score in scores.items():
            if number == 1:
                merged[name].div_(scale)
            score.div_(mean)
            if how == "union":
                torch.maximum(merged[name], score, out=merged[name])
            else:
                merged[name].add_(score)
    return merged


def saliency_scores(
    network: nn.Module, names: Mapping[str, nn.Parameter], team: Team = ALONE
) -> dict[str, Tensor]:
    """Take the accumulated gradients as scores: |sum of gradients|, by name, float32.

    The gradients themselves become the scores, so nothing is copied where they are float32; the
    network is left without gradients. A weight without one never mattered and scores zero. On a
    team the gradients of all processes are added up first, parameter by parameter, in place.

    Source: arXiv:2310.12508; the absolute value comes after the sum over the forget data, so
        gradients that cancel do not count.
    """
    scores = {}
    for name, weight in names.items():
        gradient, weight.grad = weight.grad, None
        if gradient is None:
            scores[name] = torch.zeros_like(weight, dtype=torch.float32)
        else:
            scores[name] = gradient.float()
    team.sum_(scores.values())
    for score in scores.values():
        score.abs_()
    network.zero_grad(set_to_none=True)
    return scores
