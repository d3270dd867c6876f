"""Methods by name, with their settings checked."""

import math
from typing import Any

import pytest

from erasure.classifiers import make_method
from erasure.classifiers.methods.gradient.random_label import RandomLabel
from erasure.errors import ConfigError


def test_a_method_is_made_with_its_settings() -> None:
    assert make_method("rl", lr=0.5, labels="any") == RandomLabel(lr=0.5, labels="any")


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("salum", {}, "method 'salum' is unknown; did you mean 'salun'"),
        ("ft", {"epoch": 3}, "ft has no setting 'epoch'; did you mean 'epochs'"),
        ("retrain", {"lr": 0.1}, "retrain has no setting 'lr'; known are none"),
        ("ga", {"lr": -1.0}, r"lr is -1\.0; give more than 0"),
        ("rl", {"labels": "true"}, "labels is 'true'; give 'other' or 'any'"),
        ("rl", {"order": "random"}, "order is 'random'; give 'in-turn' or 'mixed'"),
        ("rl", {"alpha": -0.1}, r"alpha is -0\.1; give 0 or more"),
        ("salun", {"density": 0.0}, r"density is 0\.0; give a share of the weights above 0"),
        ("salun-soft", {"share": 1.5}, r"share is 1\.5; give 0 to 1"),
        ("l1-sparse", {"alpha": math.nan}, "alpha is nan; give 0 or more"),
        ("l1-sparse", {"plain_epochs": 10}, "plain_epochs is 10; give 0 to below 10, the epochs"),
        ("bs", {"bound": 0.0}, r"bound is 0\.0; give more than 0"),
        ("iu", {"alpha": math.inf}, "alpha is inf; give a number"),
        ("iu", {"inverse": "exact"}, "inverse is 'exact'; give 'woodfisher' or 'newton'"),
        ("iu", {"samples": 0}, "samples is 0; give 1 or more"),
        ("iu", {"damping": -1.0}, r"damping is -1\.0; give 0 or more"),
        ("fisher", {"alpha": -1.0}, r"alpha is -1\.0; give 0 or more"),
        ("fisher", {"labels": "true"}, "labels is 'true'; give 'model' or 'data'"),
        ("fisher", {"samples": 0}, "samples is 0; give 1 or more, or none for all"),
        ("ssd", {"dampening": -1.0}, r"dampening is -1\.0; give 0 or more"),
        ("scrub", {"ascents": 6}, "ascents is 6; give 0 to 5, the epochs"),
        ("scrub", {"gamma": -1.0}, r"gamma is -1\.0; give 0 or more"),
        ("scrub", {"temperature": 0.0}, r"temperature is 0\.0; give more than 0"),
        ("bad-teacher", {"retain_share": 0.0}, r"retain_share is 0\.0; give above 0 and at most 1"),
        ("bad-teacher", {"temperature": 0.0}, r"temperature is 0\.0; give more than 0"),
    ],
)
def test_what_cannot_be_is_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_method(name, **settings)
