"""Products of bfloat16 in float32, on CPUs that multiply no bfloat16."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.tiny import CPU, seeded
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.checkpoint import checkpoint

from erasure import wide_products
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.precision import InPrecision, passes_in
from erasure.wide_products import WideProducts, multiplies_wide

HALF = torch.bfloat16


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed)).to(HALF).requires_grad_()


CALLS: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
    "linear": (F.linear, [drawn(2, 5, 7), drawn(3, 7, seed=1), drawn(3, seed=2)]),
    "linear without a bias": (F.linear, [drawn(4, 7), drawn(3, 7, seed=1)]),
    "convolution": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1),
        [drawn(2, 3, 6, 6), drawn(4, 3, 3, 3, seed=1), drawn(4, seed=2)],
    ),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, key=k, value=v, scale=0.3),
        [drawn(1, 2, 5, 4), drawn(1, 2, 6, 4, seed=1), drawn(1, 2, 6, 4, seed=2)],
    ),
}


def rounded_once(call: Callable[..., Tensor], taken: list[Tensor]) -> list[Tensor]:
    """The product and the gradients of its sum, computed in float32 and rounded at the end."""
    wide = [value.detach().float().requires_grad_() for value in taken]
    made = call(*wide)
    made.sum().backward()
    return [one.to(HALF) for one in (made.detach(), *(w.grad for w in wide if w.grad is not None))]


@pytest.mark.parametrize("name", CALLS)
def test_a_product_and_its_gradients_are_those_of_float32_rounded_once(name: str) -> None:
    call, values = CALLS[name]
    taken = [value.detach().clone().requires_grad_() for value in values]
    saved: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        saved.append(value)
        return value

    with WideProducts(), torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        made = call(*taken)
    with WideProducts():
        made.sum().backward()
    # Nothing in float32 stays for the backward pass, but the log-sums of attention, one a row.
    assert all(one.dtype == HALF or one.dim() < made.dim() for one in saved)
    assert made.dtype == HALF
    expected = rounded_once(call, values)
    for place, (one, other) in enumerate(
        zip([made.detach(), *(v.grad for v in taken)], expected, strict=True)
    ):
        assert one is not None
        # Attention's backward pass reads the result, which was rounded: a place of bfloat16 more.
        rounded = name == "attention" and place > 0
        slack = {"rtol": 2**-6, "atol": 2**-8} if rounded else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(one, other, **slack)


def test_a_weight_that_wants_no_gradient_gets_none() -> None:
    x, weight = drawn(2, 7), drawn(3, 7).detach()
    with WideProducts():
        F.linear(x, weight).sum().backward()
    assert weight.grad is None
    assert x.grad is not None


def test_what_is_computed_anew_in_a_backward_pass_is_computed_so_too() -> None:
    x, weight = drawn(2, 7), drawn(3, 7, seed=1)
    seen = []

    def layer(x: Tensor) -> Tensor:
        made = F.linear(x, weight)
        seen.append(made.detach().clone())
        return made.sin()

    with WideProducts():
        checkpoint(layer, x, use_reentrant=False).sum().backward()
    first, again = seen
    assert torch.equal(first, again)
    assert torch.equal(first, (x.detach().float() @ weight.detach().float().T).to(HALF))


def test_under_autocast_what_is_multiplied_is_rounded_as_autocast_rounds_it() -> None:
    x = torch.randn(2, 7, generator=seeded())
    weight = torch.randn(3, 7, generator=seeded(1)).requires_grad_()
    with torch.autocast("cpu", HALF), WideProducts():
        made = F.linear(x, weight)
    made.sum().backward()
    (expected,) = rounded_once(F.linear, [x.to(HALF), weight.detach().to(HALF)])[:1]
    assert torch.equal(made.detach(), expected)
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_other_types_are_multiplied_as_they_are() -> None:
    x, weight = torch.randn(2, 7, generator=seeded()), torch.randn(3, 7, generator=seeded(1))
    with WideProducts():
        assert torch.equal(F.linear(x, weight), x @ weight.T)


@pytest.mark.parametrize(("capability", "wide"), [("AVX2", True), ("AVX512", False)])
def test_a_cpu_is_asked_whether_it_multiplies_bfloat16(
    capability: str, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(wide_products.platform, "machine", lambda: "x86_64")
    assert multiplies_wide(CPU) is wide
    assert not multiplies_wide(torch.device("cuda"))
    monkeypatch.setattr(wide_products.platform, "machine", lambda: "arm64")
    assert not multiplies_wide(CPU)


@pytest.mark.parametrize(
    ("precision", "wide"), [("fp32", False), ("bf16", True), ("bf16-weights", True)]
)
def test_passes_in_bf16_multiply_so_and_those_in_fp32_do_not(
    precision: Any,  # noqa: ANN401
    wide: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wide_products, "multiplies_wide", lambda device: True)
    seen: list[bool] = []

    def denoise(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        seen.append(isinstance(_get_current_dispatch_mode(), WideProducts))
        return x_t

    words = Condition({"tokens": torch.zeros(1, 2, 3)})
    InPrecision(denoise, precision)(torch.zeros(1, 4, 8, 8), torch.zeros(1), words)
    with torch.no_grad():
        InPrecision(denoise, precision)(torch.zeros(1, 4, 8, 8), torch.zeros(1), words)
    with passes_in(precision, (4, 8, 8), CPU):  # where a backward pass computes anew
        denoise(torch.zeros(1, 4, 8, 8), torch.zeros(1), words)
    assert seen == [wide] * 3
