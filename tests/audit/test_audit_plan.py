"""What an audit tells of its cost."""

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from erasure.attacks import Cost
from erasure.attacks.forward.prefixes import Prefixes
from erasure.attacks.forward.seeds import Seeds
from pipelines.audit import planning
from pipelines.audit.planning import Plan, Row, Speed, speed_here, tell_plan
from pipelines.audit.settings import AuditRecipe


def test_the_sum_says_how_long_it_takes_on_a_busy_machine() -> None:
    rows = (
        Row("words", "audited", Cost(forwards=600, draws=12)),
        Row("words", "base", Cost(forwards=200, backwards=200, draws=4)),
    )
    words, total, uncounted = tell_plan(Plan(rows, Speed(0.2, 0.1)))
    assert words == (
        "words: on 2 models at most 16 pictures, 800 passes, 200 backwards, about 4 min"
    )
    assert total == (
        "in all at most 16 pictures and 800 passes, about 4 min, or 40 min while this machine is "
        "as busy as now; a pass takes 200 ms"
    )
    assert uncounted.startswith("not counted: what is drawn once for all attacks")


@pytest.mark.parametrize(("passed", "share"), [(0.05, 1.0), (0.5, 0.1)])
def test_other_work_on_the_machine_makes_no_pass_slower(
    passed: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(step: float) -> Callable[[], float]:
        return (step * tick for tick in count()).__next__

    used = 0.05 * torch.get_num_threads()
    clocks = SimpleNamespace(perf_counter=clock(passed), process_time=clock(used))
    monkeypatch.setattr(planning, "time", clocks)
    target = SimpleNamespace(
        latent_shape=(4, 2, 2),
        concept=SimpleNamespace(prompts=["a church"]),
        told=len,
        denoise=lambda latents, times, condition: latents,
    )
    shop = SimpleNamespace(
        target=lambda line, gathered: target,
        recipe=SimpleNamespace(batch_size=5),
        device=torch.device("cpu"),
    )
    speed = speed_here(shop)  # type: ignore[arg-type]
    assert speed.seconds == pytest.approx(0.05 / 10)
    assert speed.share == pytest.approx(share)


def test_of_several_presets_the_largest_decides_how_much_is_drawn() -> None:
    both = AuditRecipe(model="m", concept="c", attacks=("quick", "full"))
    assert (both.preset, both.draws) == ("full", 240)
    assert AuditRecipe(model="m", concept="c", attacks=("words",)).preset == "quick"


@pytest.mark.parametrize(
    ("attacks", "draws"),
    [(("quick",), 80), (("standard",), 144), (("full",), 240), (("prefix", "seeds"), 96)],
)
def test_the_controls_of_a_search_draw_as_often_as_it_may(
    attacks: tuple[str, ...], draws: int
) -> None:
    def drawn(*settings: str) -> list[int]:
        recipe = AuditRecipe(model="m", concept="c", attacks=attacks, settings=settings)
        return [one.draws for one in recipe.chosen() if isinstance(one, Seeds | Prefixes)]

    assert set(drawn()) == {draws}
    assert 9 in drawn("seeds.draws=9")
