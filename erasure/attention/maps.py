"""The cross-attention probabilities of a pass, from hooks on the network."""

# B samples, H heads, p places of a layer, L tokens.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from erasure.errors import ConfigError

CROSS = ".attn2"
"""What the names of cross-attention layers end with in diffusers."""


@contextmanager
def captured(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect, in a block, the probabilities of each cross-attention layer in the last pass.

    They are computed beside the layer's own answer, from the same queries and keys, and gradients
    flow through them.

    Yields:
        Name of a layer -> (B, H, p, L); empty before the first pass.

    Raises:
        ConfigError: the network has no such layer.
    """
    layers = {name: one for name, one in network.named_modules() if name.endswith(CROSS)}
    if not layers:
        raise ConfigError(
            "this network has no cross-attention whose maps could be read; choose a method that "
            "needs none, such as uce"
        )
    maps: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(_noting(maps, name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _noting(maps: dict[str, Tensor], name: str) -> Any:  # noqa: ANN401
    """A hook that puts a layer's probabilities into `maps`."""

    def note(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ANN401
        hidden = args[0] if args else kwargs["hidden_states"]  # (B, p, C)
        words = args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]  # (B, L, D)
        query, key = (layer.head_to_batch_dim(x) for x in (layer.to_q(hidden), layer.to_k(words)))
        scores = layer.get_attention_scores(query, key)  # (B * H, p, L)
        maps[name] = scores.unflatten(0, (len(hidden), layer.heads))

    return note
