"""The names and shapes that a config asks for."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from erasure.architectures.architecture import Part
from erasure.architectures.loading import Unset
from erasure.checkpoints.checks.config_limits import building_limit
from erasure.errors import CheckpointError


def expected_weights(part: Part, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Meta tensors of every weight of a component, under the diffusers names used here.

    Costs no memory for weights.

    Args:
        config: the content of its `config.json`.

    Raises:
        CheckpointError: diffusers or transformers cannot build a model from `config`.
    """
    return dict(_expected(part, json.dumps(dict(config), sort_keys=True)))


@lru_cache(maxsize=64)  # building the modules takes most of the time of reading a small checkpoint
def _expected(part: Part, config: str) -> dict[str, Tensor]:
    try:
        with torch.device("meta"), Unset(), building_limit():
            weights = part.build(json.loads(config)).state_dict()
    except Exception as err:  # what diffusers raises on a hostile config has no common class
        reason = str(err).strip().partition("\n")[0][:300] or type(err).__name__
        raise CheckpointError(
            f"{part.component}/config.json describes no such model: {reason}; correct it or "
            "fetch it again"
        ) from err
    return part.tidy_diffusers(weights)
