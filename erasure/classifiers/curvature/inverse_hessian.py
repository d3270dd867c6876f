"""H^-1 v for the curvature H of a loss, without ever holding H."""

# P weights in all; vectors are (P,).

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure.classifiers.data.batches import Batches, logits_of
from erasure.diffusion.precision import wide


def woodfisher(vector: Tensor, gradients: Iterable[Tensor], count: int) -> Tensor:
    """The recursion that the released code of SalUn calls WoodFisher, (P,).

    o starts as the first gradient and k as the vector; every later gradient g changes
    k by -(k.g / (N + o.g)) o and then o by -(o.g / (N + o.g)) o.

    The Woodbury identity would need a new o for each gradient; here o stays parallel to the first
    one, so what comes out is the vector less a multiple of that gradient. We keep it to compare
    with published results; `conjugate_gradients` solves what it approximates.

    Args:
        vector: v, (P,).
        gradients: of single samples, each (P,).
        count: N.

    Source: released code of arXiv:2304.04934 and arXiv:2310.12508 (Wfisher), after
        arXiv:2004.14340.
    """
    k, o = vector.clone(), None
    for g in gradients:
        if o is None:
            o = g.clone()
            continue
        step = torch.dot(o, g)
        k -= (torch.dot(k, g) / (count + step)) * o
        o -= (step / (count + step)) * o
    return k


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], vector: Tensor, iterations: int, tolerance: float
) -> Tensor:
    """x with H x = v for a symmetric H that is positive where it matters, (P,).

    Stops after `iterations` products, when |v - H x| <= tolerance |v|, or at a direction in which
    H is not positive: there the loss is no bowl, and x is the solution so far.

    Args:
        product: x -> H x.
        vector: v.
    """
    x = torch.zeros_like(vector)
    residual = vector.clone()
    direction = residual.clone()
    size = torch.dot(residual, residual)
    enough = tolerance**2 * size
    for _ in range(iterations):
        if size <= enough:
            break
        curved = product(direction)
        curvature = torch.dot(direction, curved)
        if curvature <= 0:
            break
        length = size / curvature
        x += length * direction
        residual -= length * curved
        before, size = size, torch.dot(residual, residual)
        direction = residual + (size / before) * direction
    return x


def hessian_product(
    model: nn.Module, weights: Mapping[str, Tensor], data: Batches, vector: Tensor
) -> Tensor:
    """H x for the Hessian H of the mean cross-entropy over the data, (P,).

    Two backward passes a batch. The weights must be the model's own parameters, and the model in
    evaluation mode.
    """
    parameters = list(weights.values())
    total = torch.zeros_like(vector)
    for batch in data.ordered():
        with sdpa_kernel(SDPBackend.MATH):  # The other kernels of attention have no second pass.
            logits = logits_of(model, batch.inputs)
        loss = F.cross_entropy(logits, batch.labels, reduction="sum")
        first = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
        slope = torch.dot(flat(first), vector)
        if slope.requires_grad:  # Else the loss is linear in the weights, and H is zero.
            second = torch.autograd.grad(slope, parameters, materialize_grads=True)
            total += flat(second)
    return total / len(data)


def flat(parts: Iterable[Tensor]) -> Tensor:
    """All values in one vector, float32 or wider."""
    return torch.cat([wide(part).reshape(-1) for part in parts])


def shaped(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `flat`."""
    parts = vector.split([value.numel() for value in like.values()])
    return {
        name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)
    }
