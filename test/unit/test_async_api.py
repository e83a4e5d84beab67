"""The generated asynchronous classes: the methods of the synchronous ones, and how they use the transport."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import types
from typing import Any

import pytest

from cybersource_flex import ApiClient, Configuration, ConfigurationError, api, errors
from cybersource_flex import aio as awaitable
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest
from support.transports import ONE_ATTEMPT, AsyncStubTransport, StubSigner


def client(stub: Any, *, signed: bool = True) -> awaitable.AsyncApiClient:
    return awaitable.AsyncApiClient(Configuration(auth=StubSigner() if signed else None), transport=stub)


@pytest.mark.parametrize("name", api.__all__)
def test_both_classes_have_the_same_methods_signatures_and_summaries(name: str) -> None:
    ours, theirs = getattr(awaitable, f"Async{name}"), getattr(api, name)
    methods = [each for each, value in vars(theirs).items() if inspect.isfunction(value) and not each.startswith("_")]
    assert methods
    assert [each for each, value in vars(ours).items() if inspect.isfunction(value) and not each.startswith("_")] == (
        methods
    )
    for each in methods:
        ours_is, theirs_is = getattr(ours, each), getattr(theirs, each)
        assert inspect.iscoroutinefunction(ours_is)
        assert inspect.signature(ours_is) == inspect.signature(theirs_is)
        first_line = theirs_is.__doc__.partition("\n")[0].rstrip(".")
        assert ours_is.__doc__.startswith(first_line)
        assert f"``{name}.{each}``" in ours_is.__doc__ or each.endswith("_with_http_info")
    assert ours.__doc__.partition("\n")[0] == theirs.__doc__.partition("\n")[0]


def test_both_clients_have_the_same_interface() -> None:
    ours, theirs = awaitable.AsyncApiClient, ApiClient
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert inspect.signature(ours.call) == inspect.signature(theirs.call)
    public = [name for name in vars(theirs) if not name.startswith("_")]
    assert [name for name in vars(ours) if not name.startswith("_")] == public


def test_operations_are_defined_once() -> None:
    for name in api.__all__:
        theirs = sys.modules[getattr(api, name).__module__]
        ours = sys.modules[getattr(awaitable, f"Async{name}").__module__]
        constants = [each for each in vars(theirs) if each.isupper() and each != "TYPE_CHECKING"]
        assert constants
        assert all(getattr(ours, each) is getattr(theirs, each) for each in constants)


def test_a_call_sends_the_model_and_returns_the_response() -> None:
    stub = AsyncStubTransport(body=b' "a.b.c"\n')
    retry = ONE_ATTEMPT
    request = GenerateFlexAPICaptureContextRequest.from_dict({"fields": {}})

    async def main() -> Any:
        async with client(stub) as api_client:
            flex = awaitable.AsyncFlexAPIApi(api_client)
            assert flex.api_client is api_client
            response = await flex.generate_flex_api_capture_context_with_http_info(request, timeout=2, retry=retry)
            assert await flex.generate_flex_api_capture_context(request) == "a.b.c"
            assert api_client.clock is stub.clock
            assert repr(api_client).startswith("AsyncApiClient(Configuration(host=")
            return response

    response = asyncio.run(main())
    assert stub.close_count == 1
    assert (response.status_code, response.data, response.raw_data) == (201, "a.b.c", b' "a.b.c"\n')
    (first, timeout, policy), (_, default, own) = stub.sent
    assert (timeout, policy, default, own) == (2, retry, None, None)
    assert (first.method, first.target, first.body) == ("POST", "/flex/v2/sessions", b'{"fields":{}}')


def test_errors_are_those_of_the_synchronous_client() -> None:
    stub = AsyncStubTransport(400, b'{"reason":"R"}', "application/json")
    with pytest.raises(ConfigurationError, match="must be signed"):
        asyncio.run(awaitable.AsyncFlexAPIApi(client(stub, signed=False)).get_payment_details("A"))
    assert stub.sent == []
    with pytest.raises(errors.BadRequestError) as caught:
        asyncio.run(awaitable.AsyncFlexAPIApi(client(stub)).get_payment_details("A"))
    assert caught.value.reason == "R"


def test_tracebacks_contain_no_arguments() -> None:
    stub = AsyncStubTransport(400, b"{}", "application/json")
    with pytest.raises(errors.BadRequestError) as caught:
        asyncio.run(awaitable.AsyncFlexAPIApi(client(stub)).create_transient_token("c4n4ry.b.c.d.e"))
    traceback, modules = caught.value.__traceback__, []
    while traceback is not None:
        name = traceback.tb_frame.f_globals["__name__"]
        if name.startswith("cybersource_flex"):
            modules.append(name)
            assert "c4n4ry" not in repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
    assert "cybersource_flex.aio.flex_api_api" in modules


def test_the_transport_is_created_once_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[Any] = []

    class AsyncTransport(AsyncStubTransport):
        def __init__(self, settings: Any) -> None:
            super().__init__()
            created.append(settings)

    module = types.ModuleType("cybersource_flex.transport.backends.async_transport")
    module.AsyncTransport = AsyncTransport  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    configuration = Configuration()

    async def main() -> None:
        unused = awaitable.AsyncApiClient(configuration)
        await unused.close()
        assert created == []
        api = awaitable.AsyncFlexAPIApi(awaitable.AsyncApiClient(configuration))
        await asyncio.gather(api.create_transient_token("a.b.c.d.e"), api.create_transient_token("f.g.h.i.j"))

    asyncio.run(main())
    assert created == [configuration]


def test_an_api_class_without_a_client_has_no_credentials() -> None:
    assert awaitable.AsyncMicroformIntegrationApi().api_client.configuration.auth is None


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import cybersource_flex; cybersource_flex.FlexAPIApi", {"cybersource_flex.aio", "aiohttp", "asyncio"}),
        ("from cybersource_flex.aio import AsyncFlexAPIApi; AsyncFlexAPIApi()", {"aiohttp", "asyncio", "urllib3"}),
    ],
)
def test_imports_do_not_load_unused_modules(program: str, absent: set[str]) -> None:
    code = f"import sys; before = set(sys.modules); {program}; print(*(set(sys.modules) - before))"
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(process.stdout.split())
