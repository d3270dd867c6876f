"""Which tensors of a condition a UNet is told, and under which names."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from erasure.architectures.unet.sd1 import SD1
from erasure.architectures.unet.sdxl import SDXL
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError

X_T, T = torch.zeros(1, 4, 2, 2), torch.zeros(1, dtype=torch.int64)
ALL = Condition(
    {name: torch.ones(1, 2, 3) for name in ("tokens", "text_embeds", "time_ids", "attention_mask")}
)


class Noting(nn.Module):
    """Answers with what it is given, and notes the rest."""

    def forward(self, x_t: Tensor, t: Tensor, **tensors: object) -> SimpleNamespace:
        self.tensors = tensors
        return SimpleNamespace(sample=x_t)


def test_each_family_is_told_what_it_names_and_nothing_else() -> None:
    network = Noting()
    assert SD1.denoiser(network)(X_T, T, ALL) is X_T
    assert network.tensors.keys() == {"encoder_hidden_states", "added_cond_kwargs"}
    assert network.tensors["added_cond_kwargs"] is None
    SDXL.denoiser(network)(X_T, T, ALL)
    added = network.tensors["added_cond_kwargs"]
    assert isinstance(added, dict)
    assert added.keys() == {"text_embeds", "time_ids"}


def test_a_condition_that_lacks_what_a_family_is_told_is_refused() -> None:
    tokens = Condition({"tokens": torch.ones(1, 2, 3)})
    with pytest.raises(ConfigError, match="the condition has tokens and no text_embeds"):
        SDXL.denoiser(Noting())(X_T, T, tokens)
