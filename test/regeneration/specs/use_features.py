"""Uses what features.yaml generates. Run, and type-checked, by the tests against a copy of the project."""

import json
import sys
import warnings
from collections.abc import Mapping
from datetime import date, datetime, timezone

from cybersource_flex import errors
from cybersource_flex.api import MyThingsApi
from cybersource_flex.api_client import ApiClient
from cybersource_flex.configuration import Configuration
from cybersource_flex.models import AnyModel, MappingModel, Mode, ModelField, Thing
from cybersource_flex.transport import Request, Response, Transport


class Signer:
    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        return {}


class Stub(Transport):
    """Answers with what it is given and keeps what was asked."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = Response(status, "", {"Content-Type": "application/json"}, body)
        self.asked: list[Request] = []

    def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        self.asked.append(request)
        return self.answer


def api(stub: Stub) -> MyThingsApi:
    return MyThingsApi(ApiClient(Configuration(auth=Signer()), transport=stub))


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
        size=3,
        when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        days=[date(2026, 1, 2)],
        any=[1, None],
        anything=[None, {}],
        obj={"k": 1},
        names={"n": "m"},
        field=ModelField(text="t"),
        mapping=MappingModel(none_=ModelField()),
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
    text = thing.to_json()
    wire = json.loads(text)
    assert wire["nothing"] is None
    assert wire["self"] == {"id": "b", "nothing": "c"}
    assert wire["dict"] == {"x": {"y": {"id": "d", "nothing": None}}}
    assert wire["modes"] == ["ON", "a mode of tomorrow"]
    assert (wire["color"], wire["any"], wire["an_any"]) == (None, [1, None], {"value": None})
    assert (wire["when"], wire["days"], wire["date"]) == ("2026-01-02T03:04:05Z", ["2026-01-02"], "2026-01-03")
    assert (wire["to_dict"], wire["fromJson"], wire["additionalProperties"]) == ("method?", "method?", "property?")
    assert (wire["_links"], wire["v-c-id"], wire["None"], wire["mapping"]) == ("l", "i", "n", {"none": {}})
    assert "parent" not in wire
    assert "text" not in wire, "a default is the service's business"
    again = Thing.from_json(text)
    assert again == thing
    assert again.when == thing.when
    assert again.additional_properties == {}
    assert Thing.from_dict({"id": "a", "nothing": None, "new": 1}).additional_properties == {"new": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Thing(id="a", nothing=None, parent=None)
    assert [(found.category, found.filename) for found in caught] == [(DeprecationWarning, __file__)]


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
            "a/b", 3, 5, since=date(2026, 1, 2), tags=["A", "C"], mode="OFF", timeout_=True, timeout=1.5
        )
        thing: Thing = api(stub).get_part("a", 3, 5)
    assert [found.category for found in caught] == [DeprecationWarning] * 2
    assert full.data == thing
    assert thing.mode == "NEW"
    asked = stub.asked[0]
    assert asked.target == "/things/a%2Fb/parts/3?since=2026-01-02&tags=A&tags=C&mode=OFF&timeout=true"
    assert asked.headers["X-Limit"] == "5"
    assert stub.asked[1].target == "/things/a/parts/3"

    things: list[Thing] = api(Stub(200, b'[{"id":"a","nothing":null}]')).list_things()
    assert things[0].id == "a"
    stub = Stub(204, b"")
    api(stub).add_things(thing=things)
    assert stub.asked[0].body == b'[{"id":"a","nothing":null}]'
    assert refused(api(Stub(422, b'{"text":"no"}'))).data == ModelField(text="no")
    assert dict(Configuration.ENVIRONMENTS) == {"only": "https://things.example"}


if __name__ == "__main__":
    models()
    calls()
    sys.stdout.write("ok\n")
