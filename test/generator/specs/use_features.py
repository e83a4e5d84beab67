"""Uses everything that features.yaml generates. The tests run and type-check it in a copy of the project."""

import asyncio
import json
import re
import sys
import warnings
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, date, datetime
from typing import Any

from cybersource_flex import aio, errors
from cybersource_flex.api import MyThingsApi
from cybersource_flex.api_client import ApiClient
from cybersource_flex.models import AnyModel, Cat, Composed, Dog, FieldModel, MappingModel, Mode, Pet, Texts, Thing
from cybersource_flex.transport import Configuration, Request, Response, Transport


class Signer:
    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        return {}


class Stub(Transport):
    """Returns the given response and records requests."""

    def __init__(self, status: int, body: bytes, media_type: str = "application/json") -> None:
        self.response = Response(status, "", {"Content-Type": media_type}, body)
        self.requests: list[Request] = []

    def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        self.requests.append(request)
        return self.response


def api(stub: Stub, host: str = "https://things.example") -> MyThingsApi:
    return MyThingsApi(ApiClient(Configuration(host=host, auth=Signer()), transport=stub))


def models() -> None:
    mode: Mode = "ON"
    thing = Thing(
        id="a",
        nothing=None,
        self_=Thing(id="b", nothing="c"),
        from_="here",
        list_=[[1, 2], []],
        dict_={"x": {"y": Thing(id="d", nothing=None)}},
        mode=mode,
        modes=[mode, "a mode of tomorrow"],
        color=None,
        colors=["red", None, "another"],
        size_or_null=None,
        size=3,
        when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        days=[date(2026, 1, 2)],
        any=[1, None],
        anything=[None, {}],
        obj={"k": 1},
        names={"n": "m"},
        field=FieldModel(text="t"),
        mapping=MappingModel(none_=FieldModel()),
        an_any=AnyModel(value=None),
        to_dict_="method?",
        from_json_="method?",
        additional_properties_="property?",
        links="l",
        v_c_id="i",
        str_="s",
        int_=1,
        date_=date(2026, 1, 3),
        yes=False,
        none_="n",
    )
    document = thing.to_json()
    wire = json.loads(document)
    assert wire["nothing"] is None
    assert wire["self"] == {"id": "b", "nothing": "c"}
    assert wire["dict"] == {"x": {"y": {"id": "d", "nothing": None}}}
    assert wire["modes"] == ["ON", "a mode of tomorrow"]
    assert (wire["color"], wire["any"], wire["an_any"]) == (None, [1, None], {"value": None})
    assert (wire["colors"], wire["sizeOrNull"]) == (["red", None, "another"], None)
    assert (wire["when"], wire["days"], wire["date"]) == ("2026-01-02T03:04:05Z", ["2026-01-02"], "2026-01-03")
    assert (wire["to_dict"], wire["fromJson"], wire["additionalProperties"]) == ("method?", "method?", "property?")
    assert (wire["_links"], wire["v-c-id"], wire["None"], wire["mapping"]) == ("l", "i", "n", {"none": {}})
    for naive in (
        lambda: Thing(id="a", nothing=None, when=datetime(2026, 1, 2)),
        lambda: setattr(thing, "when", datetime.now()),
    ):
        try:
            naive()
        except ValueError as error:
            assert str(error).startswith("Thing.when has no time zone"), error
        else:
            raise AssertionError("a datetime without a time zone was accepted")
    assert "parent" not in wire
    assert "text" not in wire, "a default is the service's business"
    again = Thing.from_json(document)
    assert again == thing
    assert again.when == thing.when
    assert again.additional_properties == {}
    assert Thing.from_dict({"id": "a", "nothing": None, "new": 1}).additional_properties == {"new": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thing = Thing(id="a", nothing=None, parent=None)
        thing.parent = thing
    assert [(warning.category, warning.filename) for warning in caught] == [(DeprecationWarning, __file__)] * 2


DESCRIPTIONS = [
    '"""Begins and ends with three quotation marks, and has a back\\slash"""',
    r"backslash: C:\new\u0041\N{DASH} ends with " + "\\\n",
    'quotes: \'\'\'single\'\'\', """"double"""", "one"\n',
    "description: A property of this name, with {{mustache}}, {{{three}}}, {%jinja%} and {braces}\n",
    "summary: # not a heading, not a comment: `code`, *stars*, <b>, &amp;, | pipe |\n",
    "white: tab here, line ends, form feed, separator, next line, bell\n",
    "unicode: beyond the BMP \U0001f4b3, combining e\u0301, no-break\xa0space\n",
    r"percent: %s %(name)s {0} \1 \g<0> $1 GeneratedText000000X" + "\n",
    'long: a very\\long text with """ quotation marks that must be broken into several lines because it is longer than '
    "one line allows; here is more of it\n",
]


def descriptions() -> None:
    # Joins the lines of each entry.
    docstring = re.sub(r"\n {12,}", " ", Texts.__doc__ or "")
    for description in DESCRIPTIONS:
        assert description in docstring, description
    assert Texts(description="d", summary="s").to_json() == '{"description":"d","summary":"s"}'


def composed() -> None:
    one = Composed(
        secret="s",
        extra=date(2026, 1, 2),
        gaps=["a", None],
        holes={"x": 1, "y": None},
        size=3,
        sizes=[1, 9],
        ratio=0.75,
        part=0.25,
        pets=[Cat(pet_type="cat"), None, Dog(pet_type="dog", loud=True, enemy=Cat(pet_type="kitten"))],
        whole=Composed(secret="t", extra=date(2026, 1, 3), gaps=[]),
    )
    wire = json.loads(one.to_json())
    assert (wire["gaps"], wire["holes"], wire["extra"]) == (["a", None], {"x": 1, "y": None}, "2026-01-02")
    assert wire["pets"][2] == {"loud": True, "petType": "dog", "enemy": {"petType": "kitten"}}
    assert "'s'" not in repr(one)
    assert Composed.from_json(one.to_json()) == one
    right: dict[str, Any] = {"secret": "s", "extra": date(2026, 1, 2), "gaps": []}
    wrongs: list[dict[str, Any]] = [
        {"size": "1"},
        {"gaps": [1]},
        {"holes": {"x": "1"}},
        {"pets": [Thing(id="a", nothing=None)]},
    ]
    for wrong in wrongs:
        try:
            Composed(**{**right, **wrong})
        except TypeError as error:
            assert next(iter(wrong)) in str(error)
        else:
            raise AssertionError(wrong)

    composed = Composed.from_dict({"id": "i", "made": None, "extra": "2026-01-02", "gaps": []})
    assert (composed.id, composed.secret, "made" in composed, composed.made) == ("i", None, True, None)
    assert deepcopy(composed) == composed
    try:
        composed.id = "j"
    except AttributeError as error:
        assert "read-only" in str(error)
    else:
        raise AssertionError("read-only")

    fish = Thing.from_dict({"id": "a", "nothing": None, "pet": {"petType": "Dog", "loud": False}}).pet
    assert isinstance(fish, Dog)
    for kind in ("dog", None, 1):
        try:
            Thing.from_dict({"id": "a", "nothing": None, "pet": {"petType": kind}})
        except ValueError as error:
            assert str(error) == "Thing.pet.petType must be 'Cat' or 'Dog'"
        else:
            raise AssertionError(kind)


def bodies() -> None:
    cat = Cat(pet_type="cat", lives=9)
    stub = Stub(200, b'{"petType":"dog","loud":true}')
    sendings: list[tuple[Pet | str | list[Pet], str, bytes]] = [
        (cat, "application/json", b'{"petType":"cat","lives":9}'),
        ("Tom", "text/plain", b"Tom"),
        ([cat, Dog(pet_type="dog")], "application/list+json", b'[{"petType":"cat","lives":9},{"petType":"dog"}]'),
    ]
    for body, media_type, sent in sendings:
        pet: Pet | str | list[list[Composed]] | None = api(stub).add_pet(body)
        assert pet == Dog(pet_type="dog", loud=True)
        requests = stub.requests.pop()
        assert (requests.headers["Content-Type"], requests.body) == (media_type, sent)
        assert requests.headers["Accept"] == "application/json, text/plain"
    try:
        api(stub).add_pet(1)  # type: ignore[arg-type]
    except TypeError as error:
        assert "text/plain" in str(error)
        assert "not int" in str(error)
    assert stub.requests == []

    assert api(Stub(200, b"Tom", "Text/Plain; charset=utf-8")).add_pet(cat) == "Tom"
    assert api(Stub(200, b'{"petType":"kitten"}', "application/more+json")).add_pet(cat) == Cat(pet_type="kitten")
    many = api(Stub(202, b'[[{"id":"i","extra":"2026-01-02","gaps":[null]}]]')).add_pet(cat)
    assert isinstance(many, list)
    assert many[0][0].gaps == [None]
    assert api(Stub(204, b"", "")).add_pet(cat) is None
    for media_type, raw, data in (
        ("application/json", b'{"text":"no"}', FieldModel(text="no")),
        ("text/plain", b"no", None),
    ):
        try:
            api(Stub(404, raw, media_type)).add_pet(cat)
        except errors.NotFoundError as error:
            assert error.data == data
        else:
            raise AssertionError("404 is not a success")

    # What only the service may say does not go back to it, at any depth.
    inner = {"id": "j", "made": {}, "extra": "2026-01-02", "gaps": []}
    whole = Composed.from_dict({**inner, "id": "i", "whole": inner, "new": 1})
    stub = Stub(200, json.dumps(whole.to_dict()).encode())
    again = api(stub).put_composed(whole)
    assert (again.id, again.whole and again.whole.id) == ("i", "j")
    sent_back = json.loads(stub.requests[0].body or b"")
    unchanged = {"extra": "2026-01-02", "gaps": []}
    assert sent_back == {**unchanged, "whole": unchanged, "new": 1}


def servers() -> None:
    cat, whole = Cat(pet_type="cat"), Composed(secret="s", extra=date(2026, 1, 2), gaps=[])
    body = b'{"extra":"2026-01-02","gaps":[]}'
    for host, pets, puts in (
        ("https://things.example", "pets.example", "put.example"),
        ("https://other.example", None, "put.other.example"),
        ("https://mine.example:444", "mine.example:444", "mine.example:444"),
    ):
        stub = Stub(200, body)
        api(stub, host).put_composed(whole)
        assert (stub.requests[0].url, stub.requests[0].host) == (f"https://{puts}/pets", puts)
        stub = Stub(204, b"")
        try:
            api(stub, host).add_pet(cat)
            assert stub.requests[0].host == pets
        except errors.ConfigurationError as error:
            assert pets is None
            assert "'other'" in str(error)
            assert stub.requests == []


def parameters() -> None:
    stub = Stub(200, b'["a",null]')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names: list[str | None] = api(stub).find_sets(
            [1, 2],
            "ON",
            sizes=[1, 3],
            words=["a b", "c|d"],
            kinds=["e,f", "g"],
            plain=[True, False],
            x_days=[date(2026, 1, 2), date(2026, 1, 3)],
        )
        assert caught == []
        api(stub).find_sets_with_http_info([1], "OFF", sizes=[], old=1.5, x_old="x")
    assert names == ["a", None]
    request = stub.requests[0]
    assert request.target == "/sets/1,2/ON?sizes=1,3&words=a%20b%20c%7Cd&kinds=e%2Cf%7Cg&plain=true&plain=false"
    assert request.headers["X-Days"] == "2026-01-02,2026-01-03"
    assert stub.requests[1].target == "/sets/1/OFF?old=1.5"
    assert [(warning.category, warning.filename) for warning in caught] == [(DeprecationWarning, __file__)] * 2
    assert [str(warning.message).split()[-3] for warning in caught] == ["'old'", "'X-Old'"]


class AsyncStub:
    """The same, awaitable."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub

    async def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        return self.stub.send(request, timeout=timeout, retry=retry)


async def awaited() -> None:
    stub = Stub(200, b'["a",null]')
    transport: Any = AsyncStub(stub)
    things = aio.AsyncMyThingsApi(aio.AsyncApiClient(Configuration(auth=Signer()), transport=transport))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names: list[str | None] = await things.find_sets([1], "ON", kinds=["e", "f"], x_old="x")
    assert names == ["a", None]
    assert stub.requests[0].target == "/sets/1/ON?kinds=e%7Cf"
    assert [(warning.category, warning.filename) for warning in caught] == [(DeprecationWarning, __file__)]
    stub.response = Response(200, "", {"Content-Type": "text/plain"}, b"Tom")
    pet: Pet | str | list[list[Composed]] | None = await things.add_pet(Cat(pet_type="cat"))
    assert pet == "Tom"
    assert stub.requests[1].host == "pets.example"


def refused(things: MyThingsApi) -> errors.ApiException:
    try:
        things.list_things()
    except errors.ApiException as error:
        return error
    raise AssertionError("422 is not a success")


def calls() -> None:
    stub = Stub(200, b'{"id":"a","nothing":null,"mode":"NEW"}')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        full = api(stub).get_part_with_http_info(
            "a-b", 3, 5, since=date(2026, 1, 2), tags=["A", "C"], mode="OFF", timeout_=True, timeout=1.5
        )
        thing: Thing = api(stub).get_part("a", 3, 5)
    assert [(warning.category, warning.filename) for warning in caught] == [(DeprecationWarning, __file__)] * 2
    assert full.data == thing
    assert thing.mode == "NEW"
    request = stub.requests[0]
    assert request.target == "/things/a-b/parts/3?since=2026-01-02&tags=A&tags=C&mode=OFF&timeout=true"
    assert request.headers["X-Limit"] == "5"
    assert stub.requests[1].target == "/things/a/parts/3"

    things: list[Thing] = api(Stub(200, b'[{"id":"a","nothing":null}]')).list_things()
    assert things[0].id == "a"
    stub = Stub(204, b"")
    api(stub).add_things(thing=things)
    assert stub.requests[0].body == b'[{"id":"a","nothing":null}]'
    assert refused(api(Stub(422, b'{"text":"no"}'))).data == FieldModel(text="no")
    assert dict(Configuration.ENVIRONMENTS) == {"only": "https://things.example", "other": "https://other.example"}


if __name__ == "__main__":
    models()
    descriptions()
    composed()
    calls()
    bodies()
    servers()
    parameters()
    asyncio.run(awaited())
    sys.stdout.write("ok\n")
