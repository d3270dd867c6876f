"""Records that a program wrote; what a person wrote is tested with the recipes."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.errors import CheckpointError, ConfigError
from erasure.storage.tables import build, read_record, to_table


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Has a form of its own on disk."""

    total: int

    def to_dict(self) -> dict[str, Any]:
        return {"total": [self.total]}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Counted":
        return cls(*table["total"])


@dataclass(frozen=True, slots=True)
class Record:
    points: tuple[Point, ...] = ()
    by_name: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    width: int | str = "per prompt"
    guidance: float | str = 1.0
    side: Literal["before", "after"] = "before"
    box: tuple[int, int] | None = None
    facts: Mapping[str, Any] | None = None
    counted: Counted = Counted(0)


RECORDS = st.builds(
    Record,
    points=st.lists(st.builds(Point, st.floats(allow_nan=False), st.none() | st.text())).map(tuple),
    by_name=st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers())),
    width=st.integers() | st.text(),
    guidance=st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    side=st.sampled_from(["before", "after"]),
    box=st.none() | st.tuples(st.integers(), st.integers()),
    facts=st.none() | st.dictionaries(st.text(), st.none() | st.booleans() | st.text()),
    counted=st.builds(Counted, st.integers()),
).filter(lambda record: all(math.isfinite(point.x) for point in record.points))


def through_json(value: object) -> Any:  # noqa: ANN401
    return json.loads(json.dumps(to_table(value), allow_nan=False))


@given(record=RECORDS)
def test_a_record_survives_json(record: Record) -> None:
    assert read_record(Record, through_json(record), "record", CheckpointError) == record


def test_a_number_that_is_not_finite_comes_back_as_nan() -> None:
    for number in (math.nan, math.inf):
        assert to_table(Point(number)) == {"x": None, "name": None}
    read = read_record(Point, {"x": None}, "record", CheckpointError)
    assert math.isnan(read.x)


def test_a_key_of_a_later_version_is_left_out_of_a_record_and_refused_in_a_recipe() -> None:
    assert read_record(Point, {"x": 1, "colour": "red"}, "point", CheckpointError) == Point(1.0)
    with pytest.raises(ConfigError, match=r"^colour is unknown; known keys: x, name$"):
        build(Point, {"x": 1, "colour": "red"})
    with pytest.raises(ConfigError, match=r"^a\.nam is unknown; the nearest known key is a\.name$"):
        build(Point, {"x": 1, "nam": "red"}, "a")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "record is [], not an object"),
        ({"points": [{}]}, "record.points[0].x is missing"),
        ({"points": [{"x": True}]}, "record.points[0].x is True, not a number"),
        ({"points": [{"x": 10**400}]}, "record.points[0].x is too large"),
        ({"points": {}}, "record.points is an object, not a list"),
        ({"by_name": {"a": {"b": 1.5}}}, "record.by_name.a.b is 1.5, not a whole number"),
        ({"by_name": 3}, "record.by_name is 3, not an object"),
        ({"width": []}, "record.width is [], not a whole number or text"),
        ({"side": "after "}, "record.side is 'after ', not one of 'before', 'after'"),
        ({"box": [1]}, "record.box is [1], not a list of 2"),
        ({"counted": {}}, "record.counted is no Counted (KeyError('total'))"),
        ({"counted": {"total": 3}}, "record.counted is no Counted (TypeError("),
    ],
)
def test_a_damaged_record_is_refused_by_the_field_in_the_callers_error(
    table: object, message: str
) -> None:
    with pytest.raises(CheckpointError) as refused:
        read_record(Record, table, "record", CheckpointError)
    assert str(refused.value).startswith(message)


def test_a_table_without_nulls_leaves_out_what_is_none_and_writes_paths_as_text() -> None:
    assert to_table(Point(1.0), nulls=False) == {"x": 1.0}
    assert to_table({"at": Path("a/b"), "two": (1, 2)}) == {"at": "a/b", "two": [1, 2]}
