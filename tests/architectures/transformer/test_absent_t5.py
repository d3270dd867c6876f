"""The zeros in the place of an absent T5 are computed once, and nothing is other for it."""

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0
from support.models.tiny_flow import JOINT, SD3_CONFIG, SD3_KINDS, WIDTHS, listening, tiny_sd3
from torch import Tensor, nn

from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.transformer.absent_t5 import count_zeros
from erasure.architectures.transformer.sd3 import T5_LENGTH, sd3_of
from erasure.checkpoints.description import shipped_description

WORDS = 7


def pair(kind: str) -> tuple[Any, Any]:
    """Diffusers' own transformer, and ours of the same weights."""
    plain = listening(tiny_sd3(**SD3_KINDS[kind]), 5)
    ours = sd3_of({**SD3_CONFIG, **SD3_KINDS[kind]})
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def told(zeros: int, **instead: Tensor) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    words = torch.randn(2, WORDS, JOINT, generator=draw)
    return {
        "hidden_states": torch.randn(2, 4, 8, 8, generator=draw),
        "encoder_hidden_states": torch.cat([words, words.new_zeros(2, zeros, JOINT)], dim=1),
        "pooled_projections": torch.randn(2, sum(WIDTHS), generator=draw),
        "timestep": torch.tensor([40.0, 900.0]),
        "return_dict": False,
        **instead,
    }


def lengths(network: nn.Module) -> list[int]:
    """How many tokens each pass of the network embeds, from here on."""
    seen: list[int] = []
    network.get_submodule("context_embedder").register_forward_hook(
        lambda _, inputs, made: seen.append(inputs[0].shape[1])
    )
    return seen


def gradients(network: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    words = {n: v.double() if torch.is_tensor(v) else v for n, v in told(T5_LENGTH).items()}
    (made,) = network.double()(**words)
    made.square().mean().backward()
    slopes = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return made.detach(), slopes


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", SD3_KINDS)
def test_one_counted_token_predicts_and_learns_as_all_of_them(
    kind: str, checkpointing: bool
) -> None:
    plain, ours = pair(kind)
    if checkpointing:
        ours.train().enable_gradient_checkpointing()
    seen = lengths(ours)
    (expected, slopes), (made, own) = gradients(plain), gradients(ours)
    assert set(seen) == {WORDS + 1}
    assert expected.std() > 0.1
    torch.testing.assert_close(made, expected, atol=1e-9, rtol=1e-9)
    assert own.keys() == slopes.keys()
    for name, slope in slopes.items():
        near = 1e-6 * float(slope.abs().max())  # the embeddings of times are float32 in between
        torch.testing.assert_close(own[name], slope, atol=near, rtol=1e-6)


def test_a_token_that_counts_as_another_number_predicts_something_else() -> None:
    plain, ours = pair("sd3")
    with torch.no_grad():
        one, other = ours(**told(T5_LENGTH))[0], plain(**told(T5_LENGTH // 2))[0]
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("zeros", [0, 1])
def test_words_and_a_single_token_of_zeros_give_the_bits_of_diffusers(zeros: int) -> None:
    plain, ours = pair("sd35_large")
    with torch.no_grad():
        assert torch.equal(ours(**told(zeros))[0], plain(**told(zeros))[0])


def test_zeros_that_another_sample_speaks_at_are_all_computed() -> None:
    plain, ours = pair("sd3")
    spoken = told(3)["encoder_hidden_states"]
    spoken[1, -1] = 1.0
    seen = lengths(ours)
    with torch.no_grad():
        one, other = (each(**told(3, encoder_hidden_states=spoken))[0] for each in (ours, plain))
    assert seen == [WORDS + 3]
    assert torch.equal(one, other)


def test_half_precision_computes_all_tokens() -> None:
    _, ours = pair("sd3")
    seen = lengths(ours)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ours(**told(9))
    half = {n: v.bfloat16() if torch.is_tensor(v) else v for n, v in told(9).items()}
    with torch.no_grad():
        ours.bfloat16()(**half)
    assert seen == [WORDS + 9] * 2


def test_every_token_that_is_learned_has_its_own_gradient() -> None:
    (plain, ours), slopes = pair("sd3"), []
    for network in (plain, ours):
        tokens = told(4)["encoder_hidden_states"].requires_grad_(True)
        network(**told(4, encoder_hidden_states=tokens))[0].square().mean().backward()
        slopes.append(tokens.grad)
    assert torch.equal(*slopes)
    assert slopes[0][:, -4:].abs().min() > 0


def test_another_attention_processor_computes_all_tokens() -> None:
    plain, ours = pair("sd3")
    ours.transformer_blocks[0].attn.processor = JointAttnProcessor2_0()
    seen = lengths(ours)
    with torch.no_grad():
        assert torch.equal(ours(**told(5))[0], plain(**told(5))[0])
    assert seen == [WORDS + 5]


def test_tokens_without_values_are_all_counted() -> None:
    with torch.device("meta"):
        ours = sd3_of(SD3_CONFIG)
    seen = lengths(ours)
    words = {n: v.to("meta") if torch.is_tensor(v) else v for n, v in told(5).items()}
    assert ours(**words)[0].shape == (2, 4, 8, 8)
    assert seen == [WORDS + 5]


def test_counting_twice_counts_no_zeros_twice() -> None:
    _, ours = pair("sd3")
    with torch.no_grad():
        (once,) = ours(**told(5))
        count_zeros(ours)
        assert torch.equal(ours(**told(5))[0], once)


def test_the_bill_counts_one_token_for_an_absent_t5_in_full_precision_alone() -> None:
    whole = shipped_description("sd3")
    family = ARCHITECTURES["sd3"]
    without = whole.lacking("text_encoder_3")
    assert family.prompt_length(whole, 77, True) == 77 + T5_LENGTH
    assert family.prompt_length(without, 77, True) == 78
    assert family.prompt_length(without, 77, False) == 77 + T5_LENGTH
