"""Find the mask of an erasure: the weights of a checkpoint that may move."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from erasure.architectures.building import schedule_of
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.schedule import NoiseSchedule
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import Pass, SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import ConfigError
from erasure.masks.masks import (
    MASK_KINDS,
    REST,
    MaskKind,
    SaliencyMask,
    all_mask,
    inverse_mask,
    random_mask,
    salient_mask,
)
from erasure.masks.selection import check_density
from erasure.methods.protocol import Method
from erasure.seeds import generator_for
from erasure.team import ALONE, Team
from erasure.work import Work


def find_mask(
    checkpoint: Checkpoint,
    data: ConceptData,
    kind: MaskKind = "salient",
    *,
    density: float = 0.5,
    scope: str = "full",
    component: str = "",
    concept: str = "",
    config: SaliencyConfig | None = None,
    method: Method | None = None,
    device: torch.device | None = None,
    team: Team = ALONE,
    on_pass: Callable[[Pass], None] = lambda _: None,
    scratch: Path | None = None,
) -> SaliencyMask:
    """Choose the weights that may move.

    Args:
        checkpoint: the model that is to forget.
        data: pictures and prompts, from `encode_concept`.
        kind: `salient` or a control; `random` and `all` need no gradient and draw none.
        density: share of the weights in scope, ranked together, in (0, 1].
        scope: one of the scopes of the component; only these weights are candidates.
        component: whose weights these are; the main one if none.
        concept: noted in the mask.
        config: how the scores are measured; the defaults of `SaliencyConfig` if none.
        method: whose loss it is where `config` says `own`.
        device: where to measure; CPU if none.
        team: shares the samples; all are given the same and get the same mask.
        on_pass: told of progress.
        scratch: folder for sums that `config` puts into a file; the system's folder for temporary
            files if none.

    Raises:
        DiskError: that folder has no room.
        ConfigError: an unknown kind, component or scope, a density out of range.

    Examples:
        >>> mask = find_mask(checkpoint, data, density=0.1, scope="xattn")
        >>> mask.selected == int(0.1 * mask.total)
        True
    """
    settings = config or SaliencyConfig()
    component = checkpoint.architecture.require_editable(component)
    how = Measuring(
        config=settings,
        method=method,
        device=device,
        team=team,
        on_pass=on_pass,
        component=component,
        scratch=scratch,
    )
    if kind not in MASK_KINDS:
        raise ConfigError(f"mask is {kind!r}; give {', '.join(MASK_KINDS)} or a mask file")
    check_density(density)
    weights = checkpoint.components[component]
    names = checkpoint.architecture.candidates(weights, scope, component)
    if kind == "random":
        candidates = {name: weights[name] for name in names}
        mask = random_mask(candidates, density, generator_for(settings.seed, "random mask"))
    elif kind == "all":
        mask = all_mask({name: weights[name] for name in names})
    else:
        scores = measure_scores(checkpoint, data, names, how)
        mask = salient_mask(scores, density) if kind == "salient" else inverse_mask(scores, density)
    scored = kind in ("salient", "inverse")
    info = replace(
        mask.info,
        scope=scope,
        loss=how.loss if scored else "",
        seed=settings.seed,
        concept=concept,
        base=checkpoint.hash_of(component),
        component=component,
        work=_of_team(how.tally.work, team),
        measured=_measured(checkpoint, how, component) if scored else None,
    )
    return mask.with_info(info)


def _measured(checkpoint: Checkpoint, how: Measuring, component: str) -> dict[str, str]:
    """What decides the scores beside loss, seed and pictures."""
    config, schedule = how.config, schedule_of(checkpoint)
    made = {name: str(getattr(config, name)) for name in ("draws", "merge", "precision")}
    if config.loss == "guided":
        made["guidance_scale"] = str(config.guidance_scale)
    if not isinstance(schedule, NoiseSchedule):  # a flow's times are chosen
        made["times"] = repr(schedule)
    return made | {REST: checkpoint.digest_without(component)}


def _of_team(work: Work, team: Team) -> Work:
    """What all processes computed together."""
    row = work.row()
    team.sum_([row])
    return Work.of_row(row)
