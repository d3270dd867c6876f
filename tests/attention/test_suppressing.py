"""Attention maps, spans, objects and the loss of MACE, against values worked out by hand."""

import pytest
import torch
from support.tiny import seeded
from torch import Tensor, nn

from erasure.architectures.building import build_network
from erasure.attention.maps import captured
from erasure.attention.objects import layer_size, seen, stretched
from erasure.attention.spans import span_of
from erasure.attention.suppressing import Pair, added, attended, importance, new_pairs
from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.errors import ConfigError

END = 9


def test_maps_are_what_the_layers_attend_with(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    network = build_network(tiny_checkpoint)
    denoise = tiny_checkpoint.architecture.denoiser(network)
    x_t = torch.randn(2, *tiny_data.latent_shape, generator=seeded())
    condition = tiny_data.prompts[torch.tensor([1, 2])]
    layer = next(one for name, one in network.named_modules() if name.endswith("attn2"))
    seen_by_layer: list[tuple[Tensor, Tensor]] = []
    hook = layer.register_forward_hook(
        lambda module, args, kwargs, output: seen_by_layer.append((args[0], output)),
        with_kwargs=True,
    )
    with torch.no_grad(), captured(network) as maps:
        plain = denoise(x_t, torch.tensor([5, 500]), condition)
        probabilities = next(iter(maps.values()))
        _, answer = seen_by_layer[-1]
        values = layer.head_to_batch_dim(layer.to_v(condition.tokens)).unflatten(
            0, (2, layer.heads)
        )
        mixed = (probabilities @ values).flatten(0, 1)
        torch.testing.assert_close(layer.to_out[0](layer.batch_to_head_dim(mixed)), answer)
    hook.remove()
    for one in maps.values():
        torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:-1]))
    with torch.no_grad():
        assert torch.equal(plain, denoise(x_t, torch.tensor([5, 500]), condition))
    assert all(not one._forward_pre_hooks for one in network.modules())


def test_a_network_without_cross_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="no cross-attention"), captured(nn.Linear(2, 2)):
        pass


def test_factors_of_zero_change_no_bit_and_others_add_their_product(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    network = build_network(tiny_checkpoint).requires_grad_(False)
    denoise = tiny_checkpoint.architecture.denoiser(network)
    x_t = torch.randn(1, *tiny_data.latent_shape, generator=seeded())
    t, condition = torch.tensor([300]), tiny_data.prompts[torch.tensor([1])]
    weights = dict(network.named_parameters())
    names = [name for name in weights if name.endswith("attn2.to_v.weight")]
    shapes = {name: (weights[name].shape[0], weights[name].shape[1]) for name in names}
    pairs = new_pairs(shapes, 2, 0)
    plain = denoise(x_t, t, condition)
    with added(network, pairs):
        assert torch.equal(denoise(x_t, t, condition), plain)
    with torch.no_grad():
        for pair in pairs.values():
            pair.up.add_(torch.randn(pair.up.shape, generator=seeded(1)))
    with added(network, pairs):
        moved = denoise(x_t, t, condition)
    assert not torch.equal(moved, plain)
    with torch.no_grad():
        for name in names:
            weights[name] += pairs[name].change().float()
    torch.testing.assert_close(denoise(x_t, t, condition), moved, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_norm_of_what_the_object_s_places_attend_to() -> None:
    maps = torch.zeros(1, 2, 4, 3)  # 2 heads, 2 x 2 places, 3 tokens
    maps[0, :, 0, 1] = 3.0  # the upper left place attends to the concept's token
    maps[0, :, 3, 1] = 9.0  # one outside of the object too
    where = torch.zeros(4, 4, dtype=torch.bool)
    where[1, 1] = True  # in the upper left place of the layer
    loss = attended({"a": maps, "b": maps}, where, range(1, 2))
    torch.testing.assert_close(loss, torch.tensor(2 * (9.0 + 9.0) ** 0.5))
    assert float(attended({"a": maps}, where, range(2, 3))) == 0
    assert float(attended({"a": maps}, torch.zeros_like(where), range(1, 2))) == 0


def test_the_loss_is_the_same_whichever_head_attends() -> None:
    maps = torch.rand(1, 4, 16, 5, generator=seeded())
    where = torch.rand(8, 8, generator=seeded(1)) < 0.3
    loss = attended({"a": maps}, where, range(1, 3))
    turned = attended({"a": maps[:, [2, 0, 3, 1]]}, where, range(1, 3))
    torch.testing.assert_close(turned, loss)


def test_importance_sums_to_one_and_is_greatest_near_300() -> None:
    weights = importance(1000)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
    assert 295 <= int(weights.argmax()) <= 305
    assert float(weights[100]) < 0.01 * float(weights[300])


@pytest.mark.parametrize(
    ("prompt", "instead", "own", "others"),
    [
        # start church end fill fill, start dog end fill fill
        ([8, 1, 9, 9, 9], [8, 2, 9, 9, 9], [1], [(0, 0), (2, 2), (3, 3), (4, 4)]),
        # a b x c end: x by y z
        ([8, 1, 3, 2, 9, 9], [8, 1, 4, 5, 2, 9], [2], [(0, 0), (1, 1), (3, 4), (4, 5)]),
        # a style that the stand-in leaves out: x y z end, x end
        ([8, 1, 2, 3, 9], [8, 1, 9, 9, 9], [2, 3], [(0, 0), (1, 1), (4, 2)]),
        # a stand-in with more words has all tokens
        ([8, 1, 9, 9], [8, 1, 2, 9], [], [(0, 0), (1, 1), (2, 3)]),
        # a word that repeats is not counted twice
        ([8, 1, 1, 9], [8, 1, 9, 9], [2], [(0, 0), (1, 1), (3, 2)]),
    ],
)
def test_a_span_is_what_the_stand_in_does_not_share(
    prompt: list[int], instead: list[int], own: list[int], others: list[tuple[int, int]]
) -> None:
    span = span_of(prompt, instead, END)
    assert list(span.own) == own
    assert list(span.others) == others


def test_maps_of_all_layers_are_brought_to_the_latents_size() -> None:
    fine = torch.zeros(2, 1, 16, 3)
    fine[1, 0, 0, 1] = 1.0
    coarse = torch.full((2, 1, 4, 3), 0.5)
    picture = seen({"a": fine, "b": coarse}, [range(1, 2)], (4, 4))  # the unguided row is left out
    assert picture.shape == (1, 4, 4)
    torch.testing.assert_close(picture[0, 0, 0], torch.tensor(0.75))
    torch.testing.assert_close(picture[0, 3, 3], torch.tensor(0.25))
    assert float(stretched(picture).max()) == 1.0
    assert float(stretched(torch.ones(1, 2, 2)).max()) == 0.0
    assert layer_size(8, (4, 2)) == (4, 2)
    assert layer_size(2, (4, 2)) == (2, 1)


def test_a_layer_s_size_is_that_of_halvings_by_which_odd_sides_are_rounded_up() -> None:
    layers = nn.Sequential(*(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(3)))
    for size in ((100, 64), (65, 64), (68, 64), (40, 72), (9, 8)):
        seen_by = torch.zeros(1, 1, *size)
        for layer in layers:
            seen_by = layer(seen_by)
            assert layer_size(seen_by.numel(), size) == tuple(seen_by.shape[2:])


def test_pairs_begin_at_a_product_of_zero() -> None:
    pairs = new_pairs({"w": (4, 3)}, 2, 0)
    assert isinstance(pairs["w"], Pair)
    assert float(pairs["w"].change().abs().sum()) == 0
    assert float(pairs["w"].down.detach().abs().sum()) > 0
