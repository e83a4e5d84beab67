"""The awaitable twins of the generated classes: the same methods, and one way to the transport."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import types
from typing import Any

import pytest

from cybersource_flex import ApiClient, ConfigurationError, api, errors
from cybersource_flex import aio as awaitable
from cybersource_flex.configuration import Configuration
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest
from cybersource_flex.transport import Clock, Request, Response, RetryPolicy


class Signer:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}


class Stub:
    """What a client needs of a transport."""

    def __init__(self, status: int = 201, body: bytes = b"a.b.c", media_type: str = "application/jwt") -> None:
        self.answer = Response(status, "", {"Content-Type": media_type}, body)
        self.asked: list[tuple[Request, float | None, RetryPolicy | None]] = []
        self.closed = 0
        self.clock = Clock()

    async def send(
        self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Response:
        await asyncio.sleep(0)
        self.asked.append((request, timeout, retry))
        return self.answer

    async def close(self) -> None:
        self.closed += 1


def client(stub: Any, *, signed: bool = True) -> awaitable.ApiClient:
    return awaitable.ApiClient(Configuration(auth=Signer() if signed else None), transport=stub)


@pytest.mark.parametrize("name", api.__all__)
def test_each_method_has_an_awaitable_twin_with_the_same_signature_and_words(name: str) -> None:
    ours, theirs = getattr(awaitable, name), getattr(api, name)
    methods = [each for each, value in vars(theirs).items() if inspect.isfunction(value) and not each.startswith("_")]
    assert methods
    assert [each for each, value in vars(ours).items() if inspect.isfunction(value) and not each.startswith("_")] == (
        methods
    )
    for each in methods:
        ours_is, theirs_is = getattr(ours, each), getattr(theirs, each)
        assert inspect.iscoroutinefunction(ours_is)
        assert inspect.signature(ours_is) == inspect.signature(theirs_is)
        assert ours_is.__doc__ == theirs_is.__doc__
    assert ours.__doc__ == theirs.__doc__


def test_the_clients_take_the_same_and_offer_the_same() -> None:
    ours, theirs = awaitable.ApiClient, ApiClient
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert inspect.signature(ours.call) == inspect.signature(theirs.call)
    assert ours.call.__doc__ == theirs.call.__doc__
    public = [name for name in vars(theirs) if not name.startswith("_")]
    assert [name for name in vars(ours) if not name.startswith("_")] == public


def test_operations_are_defined_once() -> None:
    for name in api.__all__:
        theirs = sys.modules[getattr(api, name).__module__]
        ours = sys.modules[getattr(awaitable, name).__module__]
        constants = [each for each in vars(theirs) if each.isupper() and each != "TYPE_CHECKING"]
        assert constants
        assert all(getattr(ours, each) is getattr(theirs, each) for each in constants)


def test_a_call_carries_the_model_and_brings_the_answer() -> None:
    stub = Stub(body=b' "a.b.c"\n')
    retry = RetryPolicy(attempts=1)
    request = GenerateFlexAPICaptureContextRequest.from_dict({"fields": {}})

    async def use() -> Any:
        async with client(stub) as made:
            flex = awaitable.FlexAPIApi(made)
            assert flex.api_client is made
            full = await flex.generate_flex_api_capture_context_with_http_info(request, timeout=2, retry=retry)
            assert await flex.generate_flex_api_capture_context(request) == "a.b.c"
            assert made.clock is stub.clock
            assert repr(made).startswith("ApiClient(Configuration(host=")
            return full

    full = asyncio.run(use())
    assert stub.closed == 1
    assert (full.status_code, full.data, full.raw_data) == (201, "a.b.c", b' "a.b.c"\n')
    (first, timeout, policy), (_, default, own) = stub.asked
    assert (timeout, policy, default, own) == (2, retry, None, None)
    assert (first.method, first.target, first.body) == ("POST", "/flex/v2/sessions", b'{"fields":{}}')


def test_what_is_wrong_fails_as_in_the_other_client() -> None:
    stub = Stub(400, b'{"reason":"R"}', "application/json")
    with pytest.raises(ConfigurationError, match="must be signed"):
        asyncio.run(awaitable.FlexAPIApi(client(stub, signed=False)).get_payment_details("A"))
    assert stub.asked == []
    with pytest.raises(errors.BadRequestError) as caught:
        asyncio.run(awaitable.FlexAPIApi(client(stub)).get_payment_details("A"))
    assert caught.value.reason == "R"


def test_an_exception_leaves_without_the_values_that_it_came_by() -> None:
    stub = Stub(400, b"{}", "application/json")
    with pytest.raises(errors.BadRequestError) as caught:
        asyncio.run(awaitable.FlexAPIApi(client(stub)).create_transient_token("c4n4ry.b.c.d.e"))
    trace, seen = caught.value.__traceback__, []
    while trace is not None:
        name = trace.tb_frame.f_globals["__name__"]
        if name.startswith("cybersource_flex"):
            seen.append(name)
            assert "c4n4ry" not in repr(trace.tb_frame.f_locals)
        trace = trace.tb_next
    assert "cybersource_flex.aio.flex_api_api" in seen


def test_the_transport_is_made_on_first_use_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class AsyncTransport(Stub):
        def __init__(self, settings: Any) -> None:
            super().__init__()
            made.append(settings)

    module = types.ModuleType("cybersource_flex.transport.aio")
    module.AsyncTransport = AsyncTransport  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    configuration = Configuration()

    async def use() -> None:
        unused = awaitable.ApiClient(configuration)
        await unused.close()
        assert made == []
        both = awaitable.FlexAPIApi(awaitable.ApiClient(configuration))
        await asyncio.gather(both.create_transient_token("a.b.c.d.e"), both.create_transient_token("f.g.h.i.j"))

    asyncio.run(use())
    assert made == [configuration]


def test_a_class_alone_has_a_client_without_credentials() -> None:
    assert awaitable.MicroformIntegrationApi().api_client.configuration.auth is None


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import cybersource_flex; cybersource_flex.FlexAPIApi", {"cybersource_flex.aio", "aiohttp", "asyncio"}),
        ("from cybersource_flex.aio import FlexAPIApi; FlexAPIApi()", {"aiohttp", "asyncio", "urllib3"}),
    ],
)
def test_importing_loads_nothing_that_is_not_used(program: str, absent: set[str]) -> None:
    code = f"import sys; before = set(sys.modules); {program}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())
