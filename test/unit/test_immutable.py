"""Read-only dictionaries and lists: no way to change them, and everything else as with ordinary ones."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex import Configuration
from cybersource_flex._immutable import ReadOnlyDict, ReadOnlyList, read_only_copy
from cybersource_flex.cards import CARD_TYPES, TEST_CARDS, TEST_SECURITY_CODES

CONTENT: dict[str, Any] = {"a": [1, {"b": [2.5, None, True]}, []], "c": {"d": "e", "f": {}}, "g": "h"}

DICT_CHANGES: list[Callable[[Any], Any]] = [
    lambda value: operator.setitem(value, "new", 1),
    lambda value: operator.setitem(value, "g", 1),
    lambda value: operator.delitem(value, "g"),
    lambda value: operator.ior(value, {"new": 1}),
    lambda value: value.clear(),
    lambda value: value.pop("g"),
    lambda value: value.pop("missing", None),
    lambda value: value.popitem(),
    lambda value: value.setdefault("new", 1),
    lambda value: value.update(new=1),
]

LIST_CHANGES: list[Callable[[Any], Any]] = [
    lambda value: operator.setitem(value, 0, "new"),
    lambda value: operator.setitem(value, slice(0, 1), ["new"]),
    lambda value: operator.delitem(value, 0),
    lambda value: operator.iadd(value, ["new"]),
    lambda value: operator.imul(value, 2),
    lambda value: value.append("new"),
    lambda value: value.clear(),
    lambda value: value.extend(["new"]),
    lambda value: value.insert(0, "new"),
    lambda value: value.pop(),
    lambda value: value.remove(1),
    lambda value: value.reverse(),
    lambda value: value.sort(),
]


@pytest.mark.parametrize("change", DICT_CHANGES)
def test_a_dictionary_cannot_be_changed(change: Callable[[Any], Any]) -> None:
    value = read_only_copy(CONTENT)
    for target in (value, value["c"]):
        with pytest.raises(TypeError, match="read-only"):
            change(target)
    assert value == CONTENT


@pytest.mark.parametrize("change", LIST_CHANGES)
def test_a_list_cannot_be_changed(change: Callable[[Any], Any]) -> None:
    value = read_only_copy(CONTENT)
    for target in (value["a"], value["a"][1]["b"]):
        with pytest.raises(TypeError, match="read-only"):
            change(target)
    assert value == CONTENT


@pytest.mark.parametrize("kind", [dict, list])
def test_every_method_that_changes_an_object_is_refused(kind: Any) -> None:
    """A new Python version may add one."""
    mine = ReadOnlyDict if kind is dict else ReadOnlyList
    reading = {"copy", "count", "fromkeys", "get", "index", "items", "keys", "values"}
    for name in dir(kind):
        if not name.startswith("__") and name not in reading:
            assert getattr(mine, name) is not getattr(kind, name), name


def test_calling_the_constructor_again_changes_nothing() -> None:
    value = read_only_copy(CONTENT)
    value.__init__({"new": 1})
    value["a"].__init__(["new"])
    with pytest.raises(AttributeError):
        value.new = 1
    with pytest.raises(TypeError):
        value.__class__ = dict
    assert value == CONTENT


def test_the_source_is_copied_at_any_depth() -> None:
    source = copy.deepcopy(CONTENT)
    value = read_only_copy(source)
    source["a"][1]["b"].append("new")
    source["c"]["new"] = 1
    assert value == CONTENT
    assert isinstance(value["a"][1]["b"], ReadOnlyList)
    assert isinstance(value["c"]["f"], ReadOnlyDict)


def test_it_equals_and_serialises_as_its_source() -> None:
    value = read_only_copy(CONTENT)
    assert value == CONTENT == value.copy()
    assert value["a"] == CONTENT["a"]
    assert repr(value) == repr(CONTENT)
    assert json.dumps(value, indent=2, sort_keys=True) == json.dumps(CONTENT, indent=2, sort_keys=True)
    assert "".join(json.JSONEncoder().iterencode(value)) == json.dumps(CONTENT)


def test_copies_are_the_same_object_or_can_be_changed() -> None:
    value = read_only_copy(CONTENT)
    assert copy.copy(value) is copy.deepcopy(value) is value
    assert copy.deepcopy({"x": value})["x"] is value
    for changeable in (value.copy(), value | {}, {} | value, {**value}, dict(value)):
        changeable["new"] = 1
    for changeable in (value["a"].copy(), value["a"][:], value["a"] + [], list(value["a"])):
        changeable.append("new")
    assert value == CONTENT


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_read_only_too(protocol: int) -> None:
    value = pickle.loads(pickle.dumps(read_only_copy(CONTENT), protocol))  # noqa: S301
    assert value == CONTENT
    with pytest.raises(TypeError, match="read-only"):
        value["a"][1]["b"].append("new")


@pytest.mark.parametrize("table", [TEST_CARDS, TEST_SECURITY_CODES, CARD_TYPES, Configuration.ENVIRONMENTS])
def test_public_tables_can_be_serialised_and_not_changed(table: Any) -> None:
    assert set(json.loads(json.dumps(table))) == set(table)
    assert pickle.loads(pickle.dumps(table)) == table  # noqa: S301
    with pytest.raises(TypeError, match="read-only"):
        table["new"] = "x"
