"""The recipe of the embedded checkpoint, without its downloads."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.demo_checkpoint.drawings import draw, prepare
from pipelines.demo_checkpoint.fit import FitConfig, fit
from pipelines.demo_checkpoint.tokenizer import byte_alphabet
from pipelines.demo_checkpoint.train_vae import picture_loss
from prompts.canvas import OBJECTS, STYLES

CONFIG = FitConfig(steps=7, learning_rate=1e-2, save_every=2, seed=5, warmup=2)


def _model() -> nn.Module:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.1)
    return model


def _loss(model: nn.Module, stop_at: int | None = None) -> object:
    calls = 0

    def loss(generator: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(4, 3, generator=generator)
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    return loss


def test_a_run_that_was_cut_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = _model()
    expected = fit(whole, _loss(whole), CONFIG, tmp_path / "whole.safetensors")  # type: ignore[arg-type]
    cut = _model()
    with pytest.raises(KeyboardInterrupt):
        fit(cut, _loss(cut, stop_at=6), CONFIG, tmp_path / "cut.safetensors")  # type: ignore[arg-type]
    resumed = _model()
    continued = fit(resumed, _loss(resumed), CONFIG, tmp_path / "cut.safetensors")  # type: ignore[arg-type]
    for name, value in expected.state_dict().items():
        assert torch.equal(value, continued.state_dict()[name])


def test_the_rate_warms_up_and_ends_at_its_horizon() -> None:
    config = FitConfig(steps=100, learning_rate=1.0, warmup=10, horizon=200)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(99) == pytest.approx(0.5, abs=0.01)  # half of the cosine is left
    assert FitConfig(steps=100, learning_rate=1.0).rate(100) == pytest.approx(0.0)


def _drawings() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (len(STYLES), len(OBJECTS), 4, 128, 128)
    drawings = torch.rand(shape, generator=generator)
    drawings[:, :, 3] = (drawings[:, :, 3] > 0.5).float()
    return drawings


def test_pictures_depend_on_the_seed_alone_and_stay_in_range() -> None:
    pictures = prepare(_drawings())
    pairs = torch.tensor([0, 30, 100, 143])
    one = draw(pictures, pairs, torch.Generator().manual_seed(2))
    same = draw(pictures, pairs, torch.Generator().manual_seed(2))
    other = draw(pictures, pairs, torch.Generator().manual_seed(3))
    assert one.pixels.shape == (4, 3, 64, 64)
    assert torch.equal(one.pixels, same.pixels)
    assert not torch.equal(one.pixels, other.pixels)
    assert one.pixels.abs().max() <= 1
    assert one.style.tolist() == [0, 1, 4, 5]
    assert one.obj.tolist() == [0, 6, 4, 23]


def test_equal_pictures_have_no_loss_and_a_shifted_colour_counts() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    assert picture_loss(picture, picture, 2.0) == 0
    # A constant shift of 0.1 has no edges: 0.1 for pixels and 2 x 0.1 for both sizes of means.
    torch.testing.assert_close(picture_loss(picture + 0.1, picture, 2.0), torch.tensor(0.5))


def test_every_byte_has_a_letter_of_its_own() -> None:
    letters = byte_alphabet()
    assert len(set(letters)) == 256
    assert all(letter.isprintable() and not letter.isspace() for letter in letters)
