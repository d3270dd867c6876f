"""The network of SalUn's release: its sizes, what it hears, and its pickles taken over by value."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from support.models.tiny_models import randomise
from support.tiny import CPU, assert_same_bits, global_seed, random_pictures, seeded
from torch import Tensor, nn

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import build_network, schedule_of
from erasure.architectures.labels.classes import Classes
from erasure.architectures.labels.label_encoder import LABELS
from erasure.architectures.labels.released_network import ReleasedConfig, ReleasedUNet
from erasure.architectures.labels.unet2d import LabelDenoiser
from erasure.architectures.registry import ARCHITECTURES
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import NoiseSchedule
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import CheckpointError
from erasure.lora.module_mask import module_mask
from erasure.methods import SalUn
from erasure.moving.component import moving_of
from erasure.training.weights.low_rank import LowRank
from pipelines.class_checkpoint.released import convert

TINY = ReleasedConfig(
    sample_size=16, num_class_embeds=4, width=32, multipliers=(1, 2), blocks=1, attention=(8,)
)


def tiny() -> ReleasedUNet:
    with global_seed(0):
        return ReleasedUNet(TINY).eval()


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the release writes: a list, its names with `module.`, the average behind the step."""
    state = {f"module.{name}": value for name, value in tiny().state_dict().items()}
    average = {name.removeprefix("module."): value + 1 for name, value in state.items()}
    path = tmp_path_factory.mktemp("released") / "ckpt.pth"
    torch.save([state, {"step": 7}, 7, average], path)
    return path


@pytest.mark.parametrize(
    ("config", "tensors", "weights"),
    [
        (ReleasedConfig(), 334, 38_632_323),  # the released CIFAR-10 checkpoints
        (ReleasedConfig(sample_size=64, multipliers=(1, 2, 2, 2, 4)), 396, 83_159_683),  # STL-10
    ],
)
def test_it_has_as_many_weights_as_the_released_checkpoints(
    config: ReleasedConfig, tensors: int, weights: int
) -> None:
    with torch.device("meta"):
        state = ReleasedUNet(config).state_dict()
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == weights


NAMES = {
    "temb.dense.0.weight": (512, 128),
    "temb.dense.1.bias": (512,),
    "cemb.dense.0.weight": (512, 128),
    "cemb.dense.1.weight": (512, 512),
    "classes_emb.weight": (10, 128),
    "null_classes_emb": (128,),
    "conv_in.weight": (128, 3, 3, 3),
    "down.0.block.1.temb_cemb_proj.weight": (128, 1024),
    "down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
    "down.1.attn.1.proj_out.weight": (256, 256, 1, 1),
    "down.2.downsample.conv.weight": (256, 256, 3, 3),
    "mid.block_2.norm2.weight": (256,),
    "mid.attn_1.q.bias": (256,),
    "up.0.block.0.conv1.weight": (128, 384, 3, 3),  # of the level below, and of its own
    "up.0.block.2.conv1.weight": (128, 256, 3, 3),
    "up.1.attn.2.norm.bias": (256,),
    "up.3.upsample.conv.bias": (256,),
    "norm_out.weight": (128,),
    "conv_out.weight": (3, 128, 3, 3),
}
"""Weights of the released CIFAR-10 checkpoints, by their names."""
ABSENT = ("down.3.downsample.", "up.0.upsample.", "down.0.attn.", "up.2.attn.")


def test_its_weights_have_the_names_of_the_release() -> None:
    with torch.device("meta"):
        state = ReleasedUNet(ReleasedConfig()).state_dict()
    assert {name: tuple(state[name].shape) for name in NAMES} == NAMES
    assert not [name for name in state if name.startswith(ABSENT)]


def test_its_time_is_told_as_sines_before_cosines() -> None:
    t = torch.tensor([0, 7, 999])
    sines = get_timestep_embedding(t, 32, flip_sin_to_cos=False, downscale_freq_shift=1)
    # An angle of 999 in float32 is right to 6e-5.
    torch.testing.assert_close(tiny()._time(t), sines, rtol=0, atol=1e-4)


def part(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A part of the network with random weights, and these."""
    network = tiny().get_submodule(name).requires_grad_(False)
    randomise(network, 4)
    return network, dict(network.named_parameters())


def normed(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Group norm of 32 groups, by hand."""
    grouped = x.view(len(x), 32, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    plain = centred / centred.square().mean(-1, keepdim=True).add(1e-6).sqrt()
    weight, bias = (weights[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias"))
    return plain.view(x.shape) * weight + bias


def swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def test_a_block_adds_time_and_class_between_its_convolutions() -> None:
    block, weights = part("mid.block_1")
    x, said = torch.randn(2, 64, 4, 4, generator=seeded(2)), torch.randn(2, 256, generator=seeded())

    def convolved(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    inner = convolved(swish(normed(x, weights, "norm1")), "conv1")
    heard = swish(said) @ weights["temb_cemb_proj.weight"].T + weights["temb_cemb_proj.bias"]
    inner = inner + heard[:, :, None, None]
    wanted = x + convolved(swish(normed(inner, weights, "norm2")), "conv2")
    torch.testing.assert_close(block(x, said), wanted, atol=1e-5, rtol=1e-5)


def test_its_attention_has_one_head() -> None:
    attention, weights = part("mid.attn_1")
    x = torch.randn(2, 64, 4, 4, generator=seeded(2))

    def projected(x: Tensor, name: str) -> Tensor:  # (B, C, HW)
        made = weights[f"{name}.weight"][:, :, 0, 0] @ x.flatten(2)
        return made + weights[f"{name}.bias"][:, None]

    q, k, v = (projected(normed(x, weights, "norm"), name) for name in "qkv")
    shares = (q.transpose(1, 2) @ k / 64**0.5).softmax(-1)  # (B, HW of q, HW of k)
    wanted = x + projected(v @ shares.transpose(1, 2), "proj_out").view(x.shape)
    torch.testing.assert_close(attention(x), wanted, atol=1e-5, rtol=1e-5)


def test_its_schedule_and_its_drawing_are_those_of_the_release(
    pickled: Path, tmp_path: Path
) -> None:
    model = read_checkpoint(convert(pickled, tmp_path / "model", side=16))
    schedule = schedule_of(model)
    assert isinstance(schedule, NoiseSchedule)
    assert schedule.prediction == "epsilon"
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)  # linear, and not in the roots
    levels = torch.cumprod(1 - betas, 0).float()
    torch.testing.assert_close(schedule.alphas_cumprod, levels, rtol=1e-5, atol=0)
    assert model.architecture.own_eta == 1.0
    assert model.architecture.own_guidance == 3.0  # its cond_scale 2 in (1 + w) form


def told(labels: list[int]) -> Tensor:
    x = torch.randn(1, 3, 16, 16, generator=seeded(1)).expand(len(labels), -1, -1, -1)
    condition = Condition({LABELS: torch.tensor(labels)})
    with torch.no_grad():
        return LabelDenoiser(tiny())(x, torch.full((len(labels),), 300), condition)


def test_it_hears_its_class_and_the_vector_of_no_class() -> None:
    answers = told([0, 1, 3])
    assert float((answers[0] - answers[1]).abs().max()) > 1e-3
    network = tiny()
    with torch.no_grad():  # the vector of no class in the place of the row of class 1
        network.classes_emb.weight[1] = network.null_classes_emb
        x = torch.randn(1, 3, 16, 16, generator=seeded(1))
        (same,) = network(x, torch.tensor([300]), torch.tensor([1]))
    torch.testing.assert_close(same[0], answers[2], atol=1e-5, rtol=0)
    assert float((answers[1] - answers[2]).abs().max()) > 1e-3


def test_a_pickle_of_the_release_is_taken_over_by_value(pickled: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(convert(pickled, tmp_path / "model", side=16))
    assert checkpoint.architecture is ARCHITECTURES["salun-ddpm"]
    assert checkpoint.classes == Classes(("0", "1", "2"), 3)
    assert_same_bits(dict(checkpoint.network), tiny().state_dict())
    assert_same_bits(build_network(checkpoint).state_dict(), tiny().state_dict())
    average = read_checkpoint(convert(pickled, tmp_path / "average", side=16, averaged=True))
    name = "classes_emb.weight"
    assert torch.equal(average.network[name], checkpoint.network[name] + 1)


def test_its_table_of_classes_has_no_factors(pickled: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(convert(pickled, tmp_path / "model", side=16))
    forget, retain = random_pictures(["1"] * 2, side=16), random_pictures(["2"] * 2, 1, side=16)
    data = encode_concept(checkpoint, forget, {"1": ["2"]}, retain)
    how = LowRank(rank=2)
    made = module_mask(find_mask(checkpoint, data, "all", scope="labels"), checkpoint.network, how)
    assert "classes_emb.weight" in made.left_out
    method = SalUn(steps=1, batch_size=2, learning_rate=1e-2)
    edit = erase(checkpoint, data, made.mask, method, low_rank=how)
    assert edit.factors.keys() == set(made.layers)


def test_recomputing_leaves_its_dropout_off(pickled: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(convert(pickled, tmp_path / "model", side=16))
    moving = moving_of(checkpoint, "unet", CPU)
    x, t = torch.randn(2, 3, 16, 16, generator=seeded(1)), torch.tensor([300, 700])
    (plain,) = moving.network(x, t, torch.tensor([0, 3]))
    moving.recompute()
    (again,) = moving.network(x, t, torch.tensor([0, 3]))
    torch.testing.assert_close(again, plain)


def test_what_is_no_such_pickle_is_refused(pickled: Path, tmp_path: Path) -> None:
    torch.save([{"weight": torch.ones(2)}], tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no weights of the DDPM of SalUn's release"):
        convert(tmp_path / "other.pth", tmp_path / "out")
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        convert(tmp_path / "other.pth", tmp_path / "out", averaged=True)
    (tmp_path / "damaged.pth").write_bytes(pickled.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be read with weights_only=True"):
        convert(tmp_path / "damaged.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv_in.weight": torch.ones(0, 3, 3, 3)}, "no weights of the DDPM"),
        ({"down.0.block.0.conv1.weight": None}, "is no tensor"),
        ({"conv_in.weight": torch.ones(32, 3, 3, 3)}, "is there twice"),
        ({"module.conv_in.bias": torch.ones(5)}, "conv_in.bias"),
    ],
)
def test_nothing_stays_of_a_pickle_that_is_refused(
    change: dict[str, Tensor | None], words: str, pickled: Path, tmp_path: Path
) -> None:
    state, *rest = torch.load(pickled, weights_only=True)
    if words != "is there twice":  # there the name stands with and without `module.`
        change = {f"module.{name.removeprefix('module.')}": v for name, v in change.items()}
    torch.save([{**state, **change}, *rest], tmp_path / "changed.pth")
    with pytest.raises(CheckpointError, match=words):
        convert(tmp_path / "changed.pth", tmp_path / "out", side=16)
    assert [path.name for path in tmp_path.iterdir()] == ["changed.pth"]


def test_a_picture_has_a_side(pickled: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="side is 0 pixels; give 1 or more"):
        convert(pickled, tmp_path / "out", side=0)


def test_a_class_of_it_is_erased_and_proved(pickled: Path, tmp_path: Path) -> None:
    model = read_checkpoint(convert(pickled, tmp_path / "model", side=16))
    data = encode_concept(
        model, random_pictures(["1"] * 2), {"1": ["2"]}, random_pictures(["0", "2"], seed=1)
    )
    config = SaliencyConfig(guidance_scale=3.0, batch_size=2)
    mask = find_mask(model, data, density=0.3, concept="1", config=config)
    edit = erase(model, data, mask, SalUn(steps=1, batch_size=2, learning_rate=1e-3), concept="1")
    assert edit.unselected_identical
    write_folder(model, tmp_path / "out", network=edit.network, provenance=edit.provenance)
    assert verify(tmp_path / "out").passed
    assert {model.architecture.layers.block_of(n) for n in model.network} == {
        *("in", "time", "down.0", "down.1", "mid", "up.0", "up.1", "out")
    }
    assert "other" not in {model.architecture.layers.kind_of(n) for n in model.network}
