"""The scores of all candidate weights: by the diffusion loss or the method's own, of any number of
concepts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from erasure.architectures.building import schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.precision import InPrecision
from erasure.diffusion.scores.own_loss import PLAIN, scores_by_own_loss
from erasure.diffusion.scores.saliency import (
    Pass,
    SaliencyConfig,
    accumulate_gradients,
    merged_scores,
)
from erasure.diffusion.scores.summing import Measuring, measured_component, summed_scores
from erasure.errors import ConfigError
from erasure.moving.component import data_for
from erasure.work import Counted


def measure_scores(
    checkpoint: Checkpoint, data: ConceptData, names: Sequence[str], how: Measuring
) -> dict[str, Tensor]:
    """The scores of the named weights, float32: of each concept by itself, and merged.

    Raises:
        ConfigError: the data lack what the loss is of, or the method has no loss.
        TrainingError: a loss is not finite, or another process is gone.
    """
    measure = scores_by_own_loss if how.config.loss == "own" else _by_noise
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
    require_loss(checkpoint, how.config)
    data.require_pictures()
    moving, schedule = measured_component(checkpoint, how), schedule_of(checkpoint)
    plain = InPrecision(moving.denoiser(moving.network), how.config.precision)
    denoise = Counted(plain, how.tally)

    def passes() -> Iterator[Pass]:
        return accumulate_gradients(
            denoise, data, schedule, how.config, device=how.where, team=how.team
        )

    return summed_scores(moving.network, names, passes, how)


def require_loss(checkpoint: Checkpoint, config: SaliencyConfig) -> None:
    """Raise ConfigError where the loss is of guided predictions and the model is not guided so."""
    if config.loss == "guided":
        classes = checkpoint.classes
        if classes is not None and classes.nothing is None:
            raise ConfigError(
                "this model has no label that stands for no class, so the guided saliency loss "
                "cannot be measured; give ",
                PLAIN,
            )
        checkpoint.architecture.require_guidance(
            "the guided saliency loss cannot be measured, so give ", PLAIN
        )
