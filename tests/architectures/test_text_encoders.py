"""Text encoders in three steps: tokens, embeddings that may be replaced, and the encoding."""

from pathlib import Path

import pytest
import torch
from support.models.tiny_models import SMALL, tiny_text_encoder, tiny_tokenizer
from support.models.tiny_sdxl import WIDTHS, tiny_tokenizers, tiny_towers
from support.tiny import CPU, global_seed, seeded
from torch import Tensor, nn

from erasure.architectures.text.text_encoders import TextEncoder, TextEncoderPair
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError
from erasure.storage.tensors.hashing import weights_hash

PROMPTS = ["a church", "", "a photo of two dogs"]
Encoder = TextEncoder | TextEncoderPair


def frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["one", "masked", "pair"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """CLIPTextModel, the same with an attention mask, and it beside one with a projection."""
    folder: Path = tmp_path_factory.mktemp("words")
    with global_seed(0):
        if request.param == "pair":
            tokenizers = tiny_tokenizers(folder)
            first, second = tiny_towers(len(tokenizers[0]))
            return TextEncoderPair(tokenizers, (frozen(first), frozen(second)))
        tokenizer = tiny_tokenizer(folder)
        network = tiny_text_encoder(SMALL, len(tokenizer))
        network.config.use_attention_mask = request.param == "masked"
        return TextEncoder(tokenizer, frozen(network))


def networks_of(encoder: Encoder) -> tuple[nn.Module, ...]:
    return encoder.networks if isinstance(encoder, TextEncoderPair) else (encoder.network,)


def hashes_of(encoder: Encoder) -> list[str]:
    return [weights_hash(network.state_dict()) for network in networks_of(encoder)]


def assert_equal(one: Condition, other: Condition) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for name, value in one.tensors.items():
        assert torch.equal(value, other.tensors[name]), name


def height_of(condition: Condition) -> Tensor:
    """A number that hangs on everything in it; squares would not do, as the last layer
    normalises them."""
    total = torch.zeros((), dtype=torch.float64)
    for seed, value in enumerate(condition.tensors.values()):
        total = total + (value * torch.randn(value.shape, generator=seeded(seed))).sum().double()
    return total


def leaves(embeddings: tuple[Tensor, ...]) -> list[Tensor]:
    return [part.clone().requires_grad_() for part in embeddings]


def test_the_three_steps_together_are_the_call(encoder: Encoder) -> None:
    tokens = encoder.tokenize(PROMPTS)
    assert all(words.ids.shape == (3, 77) for words in tokens)
    assert_equal(encoder.encode(tokens), encoder(PROMPTS))


def test_the_true_embeddings_give_the_plain_encoding_to_the_bit(encoder: Encoder) -> None:
    tokens = encoder.tokenize(PROMPTS)
    embeddings = encoder.embed(tokens)
    widths = WIDTHS if isinstance(encoder, TextEncoderPair) else (8,)
    assert [part.shape for part in embeddings] == [(3, 77, width) for width in widths]
    plain = encoder.encode(tokens)
    assert_equal(encoder.encode(tokens, embeddings), plain)
    assert_equal(encoder.encode(tokens, leaves(embeddings)), plain)


def test_other_embeddings_count_for_one_call_and_leave_no_trace(encoder: Encoder) -> None:
    tokens, before = encoder.tokenize(PROMPTS), hashes_of(encoder)
    plain = encoder.encode(tokens)
    others = [torch.randn(part.shape, generator=seeded()) for part in encoder.embed(tokens)]
    changed = encoder.encode(tokens, others)
    for name, value in plain.tensors.items():
        assert not torch.allclose(changed.tensors[name], value), name
    assert_equal(encoder.encode(tokens), plain)
    assert hashes_of(encoder) == before
    for network in networks_of(encoder):
        assert not network.get_input_embeddings()._forward_hooks  # type: ignore[operator]


def test_the_last_word_stands_before_the_end_that_the_first_encoder_attends_to(
    encoder: Encoder,
) -> None:
    words, last = encoder.tokenize(PROMPTS)[0], encoder.last_words(PROMPTS)
    assert torch.equal(last, words.attended.sum(1) - 2)
    assert int(last[1]) == 0  # the beginning, where there is no word
    for row, place in zip(words.ids, last.tolist(), strict=True):
        end = encoder.towers[0][0].eos_token_id
        assert row.tolist().index(end) == place + 1


def test_gradients_reach_the_embeddings_and_no_weight(encoder: Encoder) -> None:
    tokens = encoder.tokenize(PROMPTS)
    embeddings = leaves(encoder.embed(tokens))
    height_of(encoder.encode(tokens, embeddings)).backward()
    for part in embeddings:
        assert part.grad is not None
        assert (part.grad[:, 0] != 0).any(dim=1).all()  # the first token of every prompt
    for network in networks_of(encoder):
        assert all(weight.grad is None for weight in network.parameters())


def test_a_gradient_is_the_slope_of_what_is_encoded(encoder: Encoder) -> None:
    # Along one direction, against the difference of two encodings in float64.
    tokens = encoder.tokenize(["a church"])
    try:
        for network in networks_of(encoder):
            network.double()
        start = leaves(encoder.embed(tokens))
        way = [torch.randn(p.shape, generator=seeded(1), dtype=p.dtype) for p in start]

        def height(step: float) -> Tensor:
            at = [p + step * w for p, w in zip(start, way, strict=True)]
            return height_of(encoder.encode(tokens, at))

        slopes = torch.autograd.grad(height(0.0), start)
        slope = sum(float((g * w).sum()) for g, w in zip(slopes, way, strict=True))
        measured = float(height(1e-3).detach() - height(-1e-3).detach()) / 2e-3
        # What is encoded comes in float32, whose rounding the difference divides by the step.
        assert measured == pytest.approx(slope, rel=0.02, abs=0.05)
    finally:
        for network in networks_of(encoder):
            network.float()


def test_embeddings_of_another_shape_are_refused_and_leave_no_trace(encoder: Encoder) -> None:
    tokens = encoder.tokenize(PROMPTS)
    plain = encoder.encode(tokens)
    short = [part[:, :5] for part in encoder.embed(tokens)]
    with pytest.raises(ConfigError, match=r"shape \(3, 5, \d+\); give \(3, 77, \d+\)"):
        encoder.encode(tokens, short)
    assert_equal(encoder.encode(tokens), plain)


def test_the_call_comes_in_float32_on_the_cpu_in_parts_of_any_size(encoder: Encoder) -> None:
    conditions = encoder(PROMPTS, batch_size=2)
    assert len(conditions) == 3
    for name, value in encoder(PROMPTS).tensors.items():
        assert conditions.tensors[name].device == CPU
        assert conditions.tensors[name].dtype == torch.float32
        # Sums of one prompt alone and of three together are added up in another order.
        torch.testing.assert_close(conditions.tensors[name], value, rtol=1e-4, atol=1e-6)
