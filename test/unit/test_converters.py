"""Values that a field's Python type accepts, but that JSON or RFC 3339 cannot express."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from cybersource_flex import errors
from cybersource_flex._model import Field, Model
from cybersource_flex.transport.encoding import encode_json, expand_path, header_value, query_string

NAIVE = datetime(2026, 1, 1)
PARIS = timezone(timedelta(hours=1))


class Event(Model):
    """As the generator writes models."""

    __slots__ = ("day", "optional", "ratio", "times", "when")
    _fields: ClassVar[Mapping[str, Field]] = {
        "day": Field("day", "date"),
        "optional": Field("optional", "Optional[datetime]", nullable=True),
        "ratio": Field("ratio", "float"),
        "times": Field("times", "Dict[str, List[datetime]]"),
        "when": Field("when", "datetime"),
    }

    def __init__(self, **values: Any) -> None:
        self._init(**values)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"when": NAIVE}, r"Event\.when has no time zone"),
    ({"optional": NAIVE}, r"Event\.optional has no time zone"),
    ({"times": {"a": [datetime.now(UTC), NAIVE]}}, r"Event\.times\['a'\]\[1\] has no time zone"),
    ({"when": datetime(1890, 1, 1, tzinfo=timezone(timedelta(minutes=9, seconds=21)))}, "whole minutes"),
    ({"ratio": math.nan}, r"Event\.ratio must be a finite number"),
    ({"ratio": -math.inf}, r"Event\.ratio must be a finite number"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_they_are_refused_with_the_name_of_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message) as caught:
        Event(**values)
    assert caught.value.argument.startswith("Event.")
    event = Event()
    ((name, value),) = values.items()
    with pytest.raises(errors.InvalidArgumentError, match=message):
        setattr(event, name, value)
    assert event.to_dict() == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"when": "2026-01-01T00:00:00"}', r"Event\.when has no time zone"),
        ('{"times": {"a": ["2026-01-01T00:00:00"]}}', r"Event\.times\['a'\]\[0\] has no time zone"),
        ('{"ratio": NaN}', r"Event\.ratio must be a finite number"),
        ('{"ratio": 1e999}', r"Event\.ratio must be a finite number"),
    ],
)
def test_they_are_refused_in_json(data: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        Event.from_json(data)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (datetime(2026, 1, 1, tzinfo=PARIS), "2026-01-01T00:00:00+01:00"),
        (datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=timezone(-timedelta(hours=9, minutes=30))), None),
    ],
)
def test_times_with_a_zone_are_written_and_read(value: datetime, written: str | None) -> None:
    event = Event(when=value, optional=None, times={"a": [value]}, day=date(2026, 1, 1), ratio=2)
    data = event.to_dict()
    assert data["when"] == data["times"]["a"][0] == (written or "2026-01-01T01:02:03.000004-09:30")
    assert Event.from_dict(data) == event == copy.deepcopy(event) == pickle.loads(pickle.dumps(event))  # noqa: S301
    assert Event.from_dict(data).when == value


def test_parameters_and_plain_bodies_too() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="parameter 'when' has no time zone"):
        expand_path("/events/{when}", {"when": NAIVE})
    with pytest.raises(errors.InvalidArgumentError, match="parameter 'since' has no time zone"):
        query_string([("since", NAIVE)], {})
    with pytest.raises(errors.InvalidArgumentError, match="a date-time in the request body has no time zone"):
        encode_json({"nested": [{"when": NAIVE}]})
    assert encode_json([datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 2)]) == b'["2026-01-01T00:00:00Z","2026-01-02"]'


def test_header_parameters_have_latin_1_characters() -> None:
    assert header_value("X-Name", "\xff") == "\xff"
    assert header_value("X-Name", ["a", 1, True]) == "a,1,true"
    for wrong in ("\u0100", "a\r", "a\n", "a\0", "4111111111111111"):
        with pytest.raises(errors.InvalidArgumentError, match=r"^header 'X-Name' ") as caught:
            header_value("X-Name", wrong)
        assert caught.value.argument == "X-Name"
