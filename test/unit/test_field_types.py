"""Fields of every type that a specification can use: what they accept, in Python and in JSON, and their errors."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Union, get_args

import pytest

from cybersource_flex._converters import Converter, Discriminator, converter, load_types
from cybersource_flex._model import Field, Model
from cybersource_flex.errors import InvalidArgumentError, InvalidArgumentTypeError

PACKAGE = "flex_field_type_models"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of models, as the generator writes it: ``Cat``, ``Dog``, their union ``Pet``, and the enum ``Size``."""
    package: Any = types.ModuleType(PACKAGE)
    monkeypatch.setitem(sys.modules, PACKAGE, package)

    def define(name: str, /, **fields: Field) -> Any:
        value = type(
            name,
            (Model,),
            {
                "__slots__": tuple(fields),
                "_fields": fields,
                "__init__": lambda self, **values: self._init(**values),
                "__module__": f"{PACKAGE}.{name.lower()}",
            },
        )
        setattr(package, name, value)
        return value

    secret = Field("secretNote", "str", read_only=True)
    cat = define("Cat", kind=Field("petKind", "str", required=True), note=secret)
    dog = define("Dog", kind=Field("petKind", "str", required=True), owner=Field("owner", "Owner"))
    define(
        "Owner",
        name=Field("name", "str", required=True),
        nick=Field("nick", "str", nullable=True, deprecated=True),
        # Refers back to a model that refers to this one.
        dogs=Field("dogs", "List[Dog]"),
    )
    package.Pet = Union[cat, dog]  # noqa: UP007 - the types are only known here
    package.Size = str
    package._MODULES = {"Pet": "pet"}
    pet: Any = types.ModuleType(f"{PACKAGE}.pet")
    pet.DISCRIMINATOR = Discriminator("petKind", {"cat": cat, "dog": dog})
    monkeypatch.setitem(sys.modules, pet.__name__, pet)
    yield package
    converter.cache_clear()


@pytest.fixture
def convert(models: Any) -> Callable[[str], Converter]:
    return lambda type_name: converter(type_name, PACKAGE)


WRONG_VALUES: list[tuple[str, Any, str, str]] = [
    ("str", 1, "x", "x must be str, not int"),
    ("str", None, "x", "x must be str, not null"),
    ("bool", 1, "x", "x must be bool, not int"),
    ("int", True, "x", "x must be int, not bool"),
    ("int", 1.0, "x", "x must be int, not float"),
    ("float", True, "x", "x must be float, not bool"),
    ("float", "1", "x", "x must be float, not str"),
    ("float", None, "x", "x must be float, not null"),
    ("date", NOW, "x", "x must be date, not datetime"),
    ("date", "2026-01-01", "x", "x must be date, not str"),
    ("datetime", date(2026, 1, 1), "x", "x must be datetime, not date"),
    ("List[str]", "ab", "x", "x must be list, not str"),
    ("List[str]", {1}, "x", "x must be list, not set"),
    ("List[str]", ["a", 1], "x[1]", "x[1] must be str, not int"),
    ("List[List[int]]", [[1], [2, "3"]], "x[1][1]", "x[1][1] must be int, not str"),
    ("Dict[str, int]", [1], "x", "x must be dict, not list"),
    ("Dict[str, int]", {"a": "b"}, "x['a']", "x['a'] must be int, not str"),
    ("Dict[str, int]", {1: 1}, "a key of x", "a key of x must be str, not int"),
    ("Optional[int]", "1", "x", "x must be int, not str"),
    ("List[Optional[int]]", [None, "1"], "x[1]", "x[1] must be int, not str"),
    ("Cat", {"petKind": "cat"}, "x", "x must be Cat, not dict"),
    ("Pet", "cat", "x", "x must be Cat or Dog, not str"),
    ("Size", 3, "x", "x must be str, not int"),
]


@pytest.mark.parametrize(("type_name", "value", "argument", "message"), WRONG_VALUES)
def test_a_value_of_another_type_is_rejected_with_its_place(
    convert: Callable[[str], Converter], type_name: str, value: Any, argument: str, message: str
) -> None:
    with pytest.raises(InvalidArgumentTypeError) as caught:
        convert(type_name).check(value, "x")
    assert (str(caught.value), caught.value.argument) == (message, argument)


WRONG_JSON: list[tuple[str, Any, type, str, str]] = [
    ("str", 1, InvalidArgumentTypeError, "x", "x must be str, not int"),
    ("float", "1", InvalidArgumentTypeError, "x", "x must be float, not str"),
    ("float", True, InvalidArgumentTypeError, "x", "x must be float, not bool"),
    (
        "float",
        float("inf"),
        InvalidArgumentError,
        "x",
        "x must be a finite number, because JSON cannot express NaN and infinity",
    ),
    ("date", 3, InvalidArgumentTypeError, "x", "x must be a date string, not int"),
    ("date", "22.11.2026", InvalidArgumentError, "x", "x is not a valid full-date (RFC 3339 section 5.6)"),
    ("datetime", 3, InvalidArgumentTypeError, "x", "x must be a date-time string, not int"),
    ("datetime", "soon", InvalidArgumentError, "x", "x is not a valid date-time (RFC 3339 section 5.6)"),
    (
        "datetime",
        "2026-11-22T12:00:00",
        InvalidArgumentError,
        "x",
        "x has no time zone, which a date-time needs (RFC 3339 section 5.6); expected for example datetime.now(UTC)",
    ),
    ("List[str]", {"a": 1}, InvalidArgumentTypeError, "x", "x must be an array, not dict"),
    ("List[str]", ["a", None], InvalidArgumentTypeError, "x[1]", "x[1] must be str, not null"),
    ("Dict[str, int]", "a", InvalidArgumentTypeError, "x", "x must be an object, not str"),
    ("Dict[str, int]", {"a": None}, InvalidArgumentTypeError, "x['a']", "x['a'] must be int, not null"),
    ("Optional[str]", 1, InvalidArgumentTypeError, "x", "x must be str, not int"),
    ("Cat", [], InvalidArgumentTypeError, "x", "x must be an object, not list"),
    ("Cat", {}, InvalidArgumentError, "x.petKind", "x.petKind is required"),
    ("Cat", {"petKind": None}, InvalidArgumentError, "x.petKind", "x.petKind is required"),
    ("Cat", {"petKind": 1}, InvalidArgumentTypeError, "x.petKind", "x.petKind must be str, not int"),
    ("Pet", 1, InvalidArgumentTypeError, "x", "x must be an object, not int"),
    ("Pet", {}, InvalidArgumentError, "x.petKind", "x.petKind must be 'cat' or 'dog'"),
    ("Pet", {"petKind": "fox"}, InvalidArgumentError, "x.petKind", "x.petKind must be 'cat' or 'dog'"),
    ("Pet", {"petKind": ["cat"]}, InvalidArgumentError, "x.petKind", "x.petKind must be 'cat' or 'dog'"),
    (
        "Pet",
        {"petKind": "dog", "owner": {"name": 1}},
        InvalidArgumentTypeError,
        "x.owner.name",
        "x.owner.name must be str, not int",
    ),
]


@pytest.mark.parametrize(("type_name", "value", "error", "argument", "message"), WRONG_JSON)
def test_json_of_another_type_is_rejected_with_its_path(
    convert: Callable[[str], Converter], type_name: str, value: Any, error: type, argument: str, message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        convert(type_name).decode(value, "x")
    assert (str(caught.value), caught.value.argument) == (message, argument)
    assert isinstance(caught.value, InvalidArgumentTypeError) == (error is InvalidArgumentTypeError)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2026, 1, 1), "x has no time zone, which a date-time needs"),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=30))), "x has a UTC offset that is not in whole minut"),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), "x has a UTC offset that is not in whole"),
    ],
)
def test_a_time_that_rfc_3339_cannot_express_is_rejected(
    convert: Callable[[str], Converter], value: datetime, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        convert("datetime").check(value, "x")
    assert caught.value.argument == "x"


@pytest.mark.parametrize(
    ("type_name", "value", "json"),
    [
        ("str", "a", "a"),
        ("int", 3, 3),
        ("float", 3, 3),
        ("float", 3.5, 3.5),
        ("bool", False, False),
        ("object", {"any": [None]}, {"any": [None]}),
        ("object", None, None),
        ("date", date(2026, 1, 2), "2026-01-02"),
        ("datetime", NOW, "2026-11-22T12:00:00Z"),
        ("Size", "huge", "huge"),
        ("List[date]", [date(2026, 1, 2)], ["2026-01-02"]),
        ("Dict[str, List[date]]", {"a": [date(2026, 1, 2)]}, {"a": ["2026-01-02"]}),
        ("Optional[date]", None, None),
        ("Optional[date]", date(2026, 1, 2), "2026-01-02"),
        ("List[Optional[date]]", [None, date(2026, 1, 2)], [None, "2026-01-02"]),
    ],
)
def test_values_are_accepted_written_and_read(
    convert: Callable[[str], Converter], type_name: str, value: Any, json: Any
) -> None:
    it = convert(type_name)
    assert it.check(value, "x") is None
    assert it.encode(value, True) == json
    assert it.decode(json, "x") == value
    if it.is_json_native:
        assert value == json


def test_a_tuple_is_accepted_as_a_list(convert: Callable[[str], Converter]) -> None:
    convert("List[date]").check((date(2026, 1, 2),), "x")
    assert convert("List[date]").encode((date(2026, 1, 2),), False) == ["2026-01-02"]


def test_a_union_has_the_model_that_its_discriminator_names(models: Any, convert: Callable[[str], Converter]) -> None:
    dog = convert("Pet").decode({"petKind": "dog", "owner": {"name": "a"}}, "x")
    assert type(dog) is models.Dog
    assert dog == models.Dog(kind="dog", owner=models.Owner(name="a"))
    convert("Pet").check(dog, "x")
    assert convert("Pet").encode(dog, False) == {"petKind": "dog", "owner": {"name": "a"}}


@pytest.mark.parametrize("type_name", ["Cat", "Pet", "List[Pet]", "Dict[str, Cat]", "Optional[Pet]"])
def test_read_only_fields_are_left_out_of_requests_at_every_level(
    convert: Callable[[str], Converter], type_name: str
) -> None:
    cat = {"petKind": "cat", "secretNote": "n"}
    json: Any = {"List": [cat], "Dict": {"a": cat}}.get(type_name.partition("[")[0], cat)
    value = convert(type_name).decode(json, "x")

    assert convert(type_name).encode(value, False) == json
    assert "secretNote" not in str(convert(type_name).encode(value, True))
    assert "'petKind': 'cat'" in str(convert(type_name).encode(value, True))


@pytest.mark.parametrize("name", ["Fox", "List[str", "Dict[str, int", "Optional[int", "Dict[int, str]", "str]"])
def test_an_unknown_type_is_an_error_of_the_generated_code(convert: Callable[[str], Converter], name: str) -> None:
    with pytest.raises(LookupError) as caught:
        convert(name)
    assert str(caught.value) == f"the specification names a type {name!r} that {PACKAGE} does not have"


def test_a_package_without_unions_has_no_other_types(models: Any, convert: Callable[[str], Converter]) -> None:
    del models._MODULES
    with pytest.raises(LookupError, match="names a type 'Fox'"):
        convert("Fox")


def test_all_models_of_a_type_are_loaded(models: Any) -> None:
    imported: list[str] = []

    class Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            imported.append(name)
            try:
                return vars(models)[name]
            except KeyError:
                raise AttributeError(name) from None

    sys.modules[PACKAGE] = Lazy(PACKAGE)
    converter.cache_clear()
    load_types("List[Dog]", PACKAGE)
    assert {"Dog", "Owner"} <= set(imported)
    assert not {"List", "Dict", "Optional"} & set(imported)


def test_a_value_that_was_never_set_and_null_are_shown_differently(models: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert repr(models.Owner(name="a", nick=None)) == "Owner(name='a', nick=None)"
    assert repr(models.Owner(name="a")) == "Owner(name='a')"
    assert (
        repr(models.Owner.from_dict({"name": "a", "more": 1})) == "Owner(name='a', additional_properties={'more': 1})"
    )


@pytest.mark.parametrize("nick", ["b", None])
def test_setting_a_deprecated_field_warns_with_its_name(models: Any, nick: str | None) -> None:
    owner = models.Owner(name="a")
    with pytest.warns(DeprecationWarning, match=r"^Owner\.nick is deprecated$"):
        owner.nick = nick
    with pytest.warns(DeprecationWarning, match=r"^Owner\.nick is deprecated$"):
        models.Owner(name="a", nick=nick)


def test_a_required_field_cannot_be_none(models: Any) -> None:
    owner = models.Owner(name="a")
    for attempt in (lambda: models.Owner(name=None), lambda: setattr(owner, "name", None)):
        with pytest.raises(InvalidArgumentTypeError) as caught:
            attempt()
        assert (str(caught.value), caught.value.argument) == (
            "Owner.name is required and cannot be None",
            "Owner.name",
        )
    assert owner.name == "a"


def test_a_model_that_was_created_has_no_unknown_members(models: Any) -> None:
    assert models.Owner(name="a").additional_properties == {}
    assert get_args(models.Pet) == (models.Cat, models.Dog)
