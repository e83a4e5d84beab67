"""Uses what names.yaml generates. The tests run it in a copy of the project."""

import asyncio
import inspect
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, get_type_hints

from cybersource_flex import aio, api, models
from cybersource_flex.aio import AsyncApiClient
from cybersource_flex.api import NamesApi, SendingApi, VoidApi
from cybersource_flex.api_client import ApiClient
from cybersource_flex.transport import AsyncTransport, Configuration, Request, Response, Transport

HOST = "https://names.example"


class Stub(Transport):
    """Returns the given response and records requests."""

    def __init__(self, body: bytes = b'"ok"', status: int = 200) -> None:
        self.response = Response(status, "", {"Content-Type": "application/json"}, body)
        self.requests: list[Request] = []

    def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        self.requests.append(request)
        return self.response


def client(stub: Stub) -> ApiClient:
    return ApiClient(Configuration(host=HOST), transport=stub)


def operations() -> None:
    names = [name for name, value in vars(NamesApi).items() if inspect.isfunction(value) and name[0] != "_"]
    assert sorted(name for name in names if not name.rstrip("_").endswith("_with_http_info")) == [
        *("any", "api_client_", "api_client__", "call_2nd_name", "close", "dict_", "final", "get_name", "get_name_"),
        *("get_names", "import_", "int_", "list_", "post_read_only", "property_", "put_models", "self_", "str_"),
        *("type_checking_", "url_"),
    ]
    assert "get_names_with_http_info_" in names
    assert isinstance(NamesApi(client(Stub())).api_client, ApiClient)
    for name in names:
        if not name.rstrip("_").endswith("_with_http_info") and name not in ("list_", "put_models", "post_read_only"):
            stub = Stub()
            assert getattr(NamesApi(client(stub)), name)() == "ok", name
            assert len(stub.requests) == 1
    stub = Stub(b'[{"text":"t"}]')
    response = NamesApi(client(stub)).list_(list_=["a", "b"], str_=date(2026, 1, 2), api_client="c")
    assert response == [models.StringModel(text="t")]
    assert stub.requests[0].url == f"{HOST}/list?list=a&list=b&str=2026-01-02&ApiClient=c"
    for cls in (NamesApi, aio.AsyncNamesApi):
        types: dict[str, Any] = {"date": date, "RetryPolicy": object, "ApiResponse": list, **vars(models)}
        types |= {name: getattr(models, name) for name in models.__all__}
        assert get_type_hints(cls.list_, localns=types)["list_"] == list[str] | None


def tags() -> None:
    assert sorted(api.__all__) == ["NamesApi", "SendingApi", "VoidApi"]
    for call, request in ((VoidApi.get_void, "GET"), (VoidApi.post_void, "POST")):
        stub = Stub()
        assert call(VoidApi(client(stub))) == "ok"
        assert (stub.requests[0].method, stub.requests[0].url) == (request, f"{HOST}/void")


def schemas() -> None:
    one = models.Models(
        string=models.StringModel(text="string"),
        boolean=models.BooleanModel(text="boolean"),
        unset=models.UnsetModel(text="unset"),
        api=models.NamesApiModel(text="api"),
        client=models.FlexClientModel(text="client"),
        lists=[models.ListModel(text="list")],
        dicts={"a": models.DictModel(text="dict")},
        any=models.AnyModel2(text="any"),
        any_model=models.AnyModel(text="any model"),
        lower=models.LowerModel(text="lower"),
        upper=models.Lower(text="upper"),
        dotted=models.CardV2(text="dotted"),
        dashed=models.CardV2Model(text="dashed"),
        link=models.ErrorLink(text="link"),
        links=[models.ERRORLinkModel(text="links")],
        two_factor=models.Model2fa(text="2fa"),
        none_=models.NoneModel(text="none"),
        kind="a",
        kind_or_null=None,
    )
    stub = Stub(one.to_json().encode())
    # The body is optional, and positional, as a required one is.
    assert NamesApi(client(stub)).put_models(one) == one
    sent = json.loads(stub.requests[0].body or b"")
    assert (sent["string"], sent["dicts"], sent["kindOrNull"]) == ({"text": "string"}, {"a": {"text": "dict"}}, None)
    assert (sent["any"], sent["anyModel"]) == ({"text": "any"}, {"text": "any model"})
    assert (sent["lower"], sent["upper"]) == ({"text": "lower"}, {"text": "upper"})
    assert (sent["dotted"], sent["dashed"]) == ({"text": "dotted"}, {"text": "dashed"})

    assert list(inspect.signature(models.ReadOnly).parameters) == []
    fetched = models.ReadOnly.from_dict({"id": "i", "at": 1})
    stub = Stub()
    assert NamesApi(client(stub)).post_read_only(fetched) == "ok"
    assert (fetched.id, stub.requests[0].body) == ("i", b"{}")


def fields() -> None:
    values = {
        "_id": ("id_", "a"),
        "id": ("id", 1),
        "Int": ("int_", 2),
        "STR": ("str_", "EUR"),
        "additional-properties": ("additional_properties_", True),
        "__dict__": ("dict__", {"k": 1}),
        "list": ("list__", ["x"]),
        "list_": ("list_", "y"),
        "float": ("float_", 0.5),
        "date": ("date_", "2026-01-02"),
        "None": ("none_", "n"),
        "toJson": ("to_json_", "j"),
        "self": ("self_", "s"),
        "_extra": ("extra", "e"),
        "_fields": ("fields", "f"),
        "__class__": ("class__", "c"),
        "+1": ("var_1", 1),
        "-1": ("_1", -1),
        "h ref": ("h_ref", "h"),
        'a"b\\c': ("abc", "q"),
        "größe": ("gre", "g"),
        "title": ("title", "t"),
        "x-note": ("x_note", "x"),
    }
    wire = {name: value for name, (_, value) in values.items()}
    python_names = {field.json_name: name for name, field in models.Names._fields.items()}
    expected = {name: python for name, (python, _) in values.items()} | {"-1": "var_1_", "日本": "value"}
    assert python_names == expected, {
        name: python_names[name] for name in python_names if python_names[name] != expected.get(name)
    }
    names = models.Names.from_dict(wire)
    assert names.additional_properties == {}
    assert json.loads(names.to_json()) == wire
    arguments: dict[str, Any] = {python_names[name]: value for name, value in wire.items()}
    assert models.Names(**{**arguments, "date_": date(2026, 1, 2)}) == names
    assert (names.id, names.id_) == (1, "a")
    composed = models.Composed.from_dict({**wire, "ID": "I", "h.ref": "H"})
    assert json.loads(composed.to_json()) == {**wire, "ID": "I", "h.ref": "H"}
    assert (composed.id, composed.id_, composed.id__, composed.h_ref, composed.h_ref_) == (1, "a", "I", "h", "H")


SENT: list[tuple[str, Any, str, str]] = [
    # argument, value, what the query contains, what the headers contain
    ("id_", "a b", "_id=a%20b", ""),
    ("plain_text", "ä&=", "plainText=%C3%A4%26%3D", ""),
    ("a_flag", False, "a.flag=false", ""),
    ("filter_day", date(2026, 1, 2), "filter%5Bday%5D=2026-01-02", ""),
    ("form_exploded", ["a", "b,c"], "formExploded=a&formExploded=b%2Cc", ""),
    ("form", ["a", "b"], "form=a,b", ""),
    ("spaces", ["a", "b"], "spaces=a%20b", ""),
    ("pipes", ["a", "b"], "pipes=a|b", ""),
    ("x_plain", "text", "", "X-Plain: text"),
    ("x_flag", True, "", "X_Flag: true"),
    ("v_c_list", [1, 2], "", "v-c-list: 1,2"),
]


def parameters() -> None:
    for argument, value, query, header in SENT:
        stub = Stub()
        options: Mapping[str, Any] = {argument: value}
        SendingApi(client(stub)).send("p-q", [1, 2], "i", x_needed=7, needed=0.5, **options)
        (request,) = stub.requests
        path, _, sent = request.url.partition("?")
        assert path == f"{HOST}/send/p-q/1,2/i"
        decoded = sent.replace("%2C", ",").replace("%7C", "|") if argument in ("form", "pipes") else sent
        assert sorted(decoded.replace("+", "%20").split("&")) == sorted(filter(None, [*query.split("&"), "needed=0.5"]))
        headers = {f"{name}: {content}" for name, content in request.headers.items()}
        assert "X-Needed: 7" in headers
        assert not header or header in headers, headers
    stub = Stub()
    sending = SendingApi(client(stub))
    sending.send_body("p", [1], "i", 7, "content", body="in the query")
    sending.send_body("p", [1], "i", 7)
    assert [request.body for request in stub.requests] == [b'"content"', None]
    assert stub.requests[0].url == f"{HOST}/send/p/1/i?body=in%20the%20query"


def inline() -> None:
    both = models.AddInlineRequestBoth(text="t", more="m")
    request = models.AddInlineRequest(
        kind="k",
        inner=models.AddInlineRequestInner(deep=models.AddInlineRequestInnerDeep(x=1)),
        many=[models.AddInlineRequestManyItem(y="y")],
        named={"a": models.AddInlineRequestNamedValue(z="z"), "b": None},
        both=both,
        either=models.Right.from_dict({"_kind": "Right", "kind": "r"}),
    )
    wire = {
        "kind": "k",
        "inner": {"deep": {"x": 1}},
        "many": [{"y": "y"}],
        "named": {"a": {"z": "z"}, "b": None},
        "both": {"text": "t", "more": "m"},
        "either": {"_kind": "Right", "kind": "r"},
    }
    assert request.to_dict() == wire
    assert models.AddInlineRequest.from_dict(wire) == request
    stub = Stub(b'[{"id":1}]')
    assert SendingApi(client(stub)).add_inline(request) == [models.AddInlineResponseItem(id=1)]
    assert json.loads(stub.requests[0].body or b"") == wire
    assert SendingApi(client(Stub(b'{"later":true}', 202))).add_inline(request) == models.AddInlineResponse202(
        later=True
    )
    assert models.AddInlineResponse(own="o").to_json() == '{"own":"o"}'
    assert models.FailureResponse(reason="r").to_json() == '{"reason":"r"}'


class AsyncStub(AsyncTransport):
    """Returns the response of another stub."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub

    async def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        return self.stub.send(request)


def asynchronous() -> None:
    stub = Stub()
    sender = AsyncApiClient(Configuration(host=HOST), transport=AsyncStub(stub))
    assert asyncio.run(aio.AsyncNamesApi(sender).api_client_()) == "ok"
    assert asyncio.run(aio.AsyncSendingApi(sender).send("p", [1], "i", x_needed=1, needed=2, x_plain="t")) == "ok"
    assert asyncio.run(aio.AsyncVoidApi(sender).post_void()) == "ok"
    assert [request.method for request in stub.requests] == ["GET", "GET", "POST"]


if __name__ == "__main__":
    operations()
    tags()
    schemas()
    fields()
    parameters()
    inline()
    asynchronous()
    print("names: ok")
