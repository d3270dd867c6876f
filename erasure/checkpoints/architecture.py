"""The names and shapes a config asks for; the one module here that needs diffusers."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from erasure.checkpoints.checks.config_limits import building_limit
from erasure.checkpoints.layout.clip import with_prefix
from erasure.errors import CheckpointError


def expected_weights(component: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Meta tensors of every weight of a component, under diffusers names.

    Costs no memory for weights; text encoder names have `text_model.`.

    Args:
        component: `unet`, `vae`, `text_encoder` or `text_encoder_2`.
        config: the content of its `config.json`.

    Raises:
        CheckpointError: diffusers or transformers cannot build a model from `config`.
    """
    return dict(_expected(component, json.dumps(dict(config), sort_keys=True)))


@lru_cache
def default_settings(component: str) -> Mapping[str, Any]:
    """Setting of a `unet` or `vae` -> its default in the installed diffusers."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    kind = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[component]
    return {n: p.default for n, p in signature(kind.__init__).parameters.items() if n != "self"}


@lru_cache(maxsize=16)  # building the modules takes most of the time of reading a small checkpoint
def _expected(component: str, config: str) -> dict[str, Tensor]:
    try:
        with torch.device("meta"), building_limit():
            weights = _BUILDERS[component](json.loads(config)).state_dict()
    except Exception as err:  # what diffusers raises on a hostile config has no common class
        reason = str(err).strip().partition("\n")[0][:300] or type(err).__name__
        raise CheckpointError(f"{component}/config.json describes no such model: {reason}") from err
    return with_prefix(weights) if component.startswith("text_encoder") else dict(weights)


def _unet(config: Mapping[str, Any]) -> nn.Module:
    from diffusers import UNet2DConditionModel

    model: nn.Module = UNet2DConditionModel.from_config(dict(config))
    return model


def _vae(config: Mapping[str, Any]) -> nn.Module:
    from diffusers import AutoencoderKL

    model: nn.Module = AutoencoderKL.from_config(dict(config))
    return model


def _text_encoder(config: Mapping[str, Any]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig.from_dict(dict(config)))


def _text_encoder_2(config: Mapping[str, Any]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig.from_dict(dict(config)))


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "unet": _unet,
    "vae": _vae,
    "text_encoder": _text_encoder,
    "text_encoder_2": _text_encoder_2,
}
