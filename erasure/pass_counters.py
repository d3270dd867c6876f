"""What counts the bytes and products of a pass over tensors without contents."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@torch.no_grad()
def forward_cost(run: Callable[[], object], weights: Iterable[Tensor]) -> tuple[int, int]:
    """Most bytes alive at one time, and products, of a pass without a gradient."""
    live = _Live(weights)
    with FusedAttention() as attention, live:
        run()
    return live.most, live.flops + attention.flops


class _Attention(torch.autograd.Function):
    """Keeps what fused attention keeps: queries, keys, values and the result, and no scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ANN401
        *outer, heads, places, _ = query.shape
        # As the kernels lay it: heads side by side, so that joining them again copies nothing.
        made = query.new_empty(*outer, places, heads, value.shape[-1]).transpose(-2, -3)
        ctx.save_for_backward(query, key, value, made)
        return made


class FusedAttention(TorchFunctionMode):
    """On `meta`, torch takes attention apart and would keep the scores of all pairs of places."""

    flops = 0

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = {**dict(zip(("query", "key", "value"), args, strict=False)), **(kwargs or {})}
        query, key, value = (named[part] for part in ("query", "key", "value"))
        self.flops += 4 * key.shape[-2] * query.numel()  # scores, and their sums of values
        return _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]


class _Live(TorchDispatchMode):
    """Counts products, and the bytes of what the operations made and nobody has let go yet.

    torch's own counter of products takes every operation apart and follows every module besides.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = self.flops = 0
        self._known = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        named = kwargs or {}
        made = func(*args, **named)
        products = flop_registry.get(func._overloadpacket)
        if products is not None:
            self.flops += products(*args, **named, out_val=made)
        for tensor in (made,) if isinstance(made, Tensor) else tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._drop, place, size)

    def _drop(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._now -= size


class Saved:
    """Sorts what a pass saves for its backward pass by the blocks that checkpointing cuts."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        # Storages are held, so that no address comes twice.
        self._outside: dict[int, torch.UntypedStorage] = {}
        self._inside: list[dict[int, torch.UntypedStorage]] = []
        self._now = self._outside
        self.weights: list[int] = []
        """How many weights each block has."""

    def note(self, tensor: Tensor) -> None:
        """Note a tensor that the backward pass needs; a hook for `saved_tensors_hooks`."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._now[storage._cdata] = storage

    def block(self, module: nn.Module | Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401
        """In the place of diffusers' checkpointing: its inputs are kept, the rest is inside."""
        for tensor in tree_leaves(inputs):
            if isinstance(tensor, Tensor):
                self.note(tensor)
        owner = module if isinstance(module, nn.Module) else getattr(module, "__self__", None)
        parameters = owner.parameters() if isinstance(owner, nn.Module) else ()
        self.weights.append(sum(weight.numel() for weight in parameters))
        self._inside.append({})
        self._now = self._inside[-1]
        try:
            return module(*inputs)
        finally:
            self._now = self._outside

    def all(self) -> int:
        """Bytes without checkpointing; what is kept as a block's input alone is kept then too, as
        it is the result of another operation that saves it."""
        every = dict(self._outside)
        for inside in self._inside:
            every |= inside
        return _bytes(every)

    def checkpointed(self) -> int:
        """Bytes with it."""
        return _bytes(self._outside)

    def largest(self) -> int:
        """Bytes of the largest block, without what is kept anyway."""
        return max(
            (_bytes({k: v for k, v in b.items() if k not in self._outside}) for b in self._inside),
            default=0,
        )


def _bytes(storages: Mapping[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages.values())
