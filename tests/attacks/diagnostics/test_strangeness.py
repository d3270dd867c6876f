"""How strange a concept is to a model, beside its pictures upside down."""

import pytest
import torch
from support.tiny import seeded
from torch import Tensor

from erasure.attacks.diagnostics.strangeness import Strangeness, strangeness, tells_apart
from erasure.errors import ConfigError

BASE = torch.rand(12, generator=seeded()).double() + 0.5
TURNED = 4 * BASE
OTHER = torch.rand(9, generator=seeded(1)).double() + 0.5


def placed(times: float, *, damage: float = 1.0) -> Strangeness:
    """That of a model whose loss is so many times the base's, on other things `damage` times."""
    wobble = 1 + 0.02 * torch.randn(12, generator=seeded(2)).double()
    return strangeness(times * BASE * wobble, BASE, TURNED, damage * OTHER, OTHER, seed=0)


@pytest.mark.parametrize(
    ("times", "share", "state"),
    [
        (1.0, 0, "remembers"),
        (1.8, 0.424, "remembers"),
        (2.0, 0.5, "undecided"),
        (2.3, 0.601, "as never seen"),
        (4.2, 1.035, "as never seen"),
        (8.0, 1.5, "averse"),
    ],
)
def test_a_share_of_the_way_has_a_word(times: float, share: float, state: str) -> None:
    made = placed(times)
    assert made.share == pytest.approx(share, abs=0.01)
    assert made.low <= made.share <= made.high
    assert made.state == state


def test_damage_to_all_is_no_aversion_and_no_memory() -> None:
    broken = placed(20.0, damage=20.0)  # as random weights are
    assert broken.share > 2
    assert broken.over.ratio == pytest.approx(0.25, rel=0.05)
    assert broken.state == "as never seen"


def test_where_both_ways_up_are_alike_nothing_is_said() -> None:
    noise = 1 + 0.1 * torch.randn(12, generator=seeded(3)).double()
    assert not tells_apart(BASE, BASE * noise, seed=0)
    with pytest.raises(ConfigError, match="as well upside down"):
        strangeness(BASE, BASE, BASE * noise, OTHER, OTHER, seed=0)


def test_a_share_over_few_pictures_is_covered_as_often_as_it_says() -> None:
    def drawn(turn: int) -> tuple[Tensor, Tensor, Tensor]:
        draw = seeded(turn)
        base = (0.3 * torch.randn(8, generator=draw).double()).exp()
        turned = base * (1.2 + 0.2 * torch.randn(8, generator=draw).double()).exp()
        model = base * (0.6 + 0.2 * torch.randn(8, generator=draw).double()).exp()
        return model, base, turned

    covered = 0
    for turn in range(300):
        model, base, turned = drawn(turn)
        made = strangeness(model, base, turned, OTHER, OTHER, seed=turn)
        covered += made.low <= 0.5 <= made.high
    assert 0.91 <= covered / 300 <= 0.98
