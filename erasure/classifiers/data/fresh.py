"""A model as it was before any training: the same architecture, new first weights."""

import copy
from collections.abc import Callable

from torch import nn

from erasure.errors import ConfigError
from erasure.seeds import seeded_torch


def fresh_model(
    model: nn.Module, seed: int, build: Callable[[], nn.Module] | None = None
) -> nn.Module:
    """Draw the first weights of a model anew; the given one keeps its own.

    Parameters that are not trainable keep their values: they were there before the training.

    Args:
        model: of the wanted architecture, device and type.
        seed: decides the weights.
        build: makes a new model of this kind, which repeats whatever its constructor does; without
            it every layer is reset by its own `reset_parameters`.

    Raises:
        ConfigError: a layer holds parameters and cannot be reset, or `build` makes another model.
    """
    device = next(model.parameters()).device
    fresh = copy.deepcopy(model)
    with seeded_torch(device, seed, "first weights"):
        if build is None:
            _reset(fresh)
        else:
            built = build().state_dict()
            shapes = {name: value.shape for name, value in built.items()}
            if shapes != {name: value.shape for name, value in model.state_dict().items()}:
                raise ConfigError(
                    "`build` makes a model with other tensors than the one given; give the "
                    "function that made it"
                )
            fresh.load_state_dict(built)
    for old, new in zip(model.parameters(), fresh.parameters(), strict=True):
        if not old.requires_grad:
            new.data.copy_(old.data)
    return fresh


def _reset(model: nn.Module) -> None:
    for name, module in model.named_modules():
        reset = getattr(module, "reset_parameters", None)
        reset = reset or getattr(module, "_reset_parameters", None)  # nn.MultiheadAttention
        if reset is not None:
            reset()
        elif any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            raise ConfigError(
                f"{type(module).__name__} {name!r} holds parameters and has no "
                "reset_parameters; give `build`, a function that makes a new model"
            )
