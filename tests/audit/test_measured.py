"""What attacks measure beside hits, from the tries to the record."""

from dataclasses import replace

import pytest

from erasure.attacks import Cost
from erasure.attacks.diagnostics.inversion import Inversion
from erasure.attacks.forward.rounding import Rounding
from eval.rates.intervals import wilson
from pipelines.audit.cells import Search, Try
from pipelines.audit.outcome.measured import MEASURES, measured
from pipelines.audit.outcome.results import attack_record

TRY = Try(case="a", arm="int8", seed=0, prompt="a church", kinds=("weights",), replay={}, hit=False)
OWN, SHARED = "share_like_base_own_scale", "share_like_base_shared_scale"


def rounded(arm: str, own: float | None, shared: float | None) -> Try:
    return replace(TRY, arm=arm, replay={"bits": 8, OWN: own, SHARED: shared})


def test_a_measure_is_the_mean_over_payloads_and_not_over_their_drawings() -> None:
    noise = [replace(TRY, replay={"picture": n, "std": std}) for n, std in enumerate((0.5, 1.0))]
    assert measured([*noise, noise[1], noise[1]]) == {"std": 0.75}
    assert measured([TRY]) == {}
    assert measured([replace(TRY, replay={"std": float("nan"), "norm": None})]) == {}


def test_the_record_says_how_much_fell_back_although_nothing_was_revived() -> None:
    tries = (rounded("int8", 0.25, 0.125), rounded("int8", 0.25, 0.125), rounded("int4", 0.9, 0.8))
    searches = {
        "base": Search(key="", line="base", attack="rounding", tries=(replace(TRY, hit=True),)),
        "audited": Search(key="", line="audited", attack="rounding", tries=tries),
    }
    record = attack_record(Rounding(), Cost(), searches, {}, wilson(0, 60))
    assert record.finds == ()
    assert {arm.arm: arm.measures for arm in record.arms} == {
        "int8": {"audited": {OWN: 0.25, SHARED: 0.125}},
        "int4": {"audited": {OWN: 0.9, SHARED: 0.8}},
    }


@pytest.mark.parametrize("line", ["base", "random", "audited"])
def test_the_noise_of_every_model_is_described(line: str) -> None:
    replay = {"picture": 0, "residual": 0.001, "std": 1.2, "kurtosis": 0.3}
    one = replace(TRY, arm="typical noise, null text", replay=replay)
    searches = {
        name: Search(key="", line=name, attack="inversion", tries=(one,))
        for name in ("base", "random", "audited")
    }
    (arm,) = attack_record(Inversion(), Cost(), searches, {}, wilson(0, 60)).arms
    assert arm.measures[line] == {"residual": 0.001, "std": 1.2, "kurtosis": 0.3}
    assert set(arm.measures[line]) < set(MEASURES)
