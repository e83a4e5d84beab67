"""Tests of a shop can replace the public methods of a client, and nothing else of it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from unittest import mock

import pytest

from cybersource_flex import AsyncFlexClient, FlexClient
from cybersource_flex.auth import JwtSharedSecret

METHODS = [name for name in dir(FlexClient) if not name.startswith("_") and callable(getattr(FlexClient, name))]
SETTINGS = ["_api_client", "_configuration", "_leeway", "_keys", "_flex", "api_client", "clock", "__class__", "new"]
DATA = {"card": {"number": "4111111111111111"}}


@pytest.fixture(params=[FlexClient, AsyncFlexClient])
def client(request: pytest.FixtureRequest) -> Any:
    auth = JwtSharedSecret("merchant", "08c94330-f618-42a3-b09d-e1e43be5efda", "c2VjcmV0IG9mIHRoaXMgdGVzdA==")
    return request.param(auth, environment="http://localhost:1")


def test_the_methods_are_those_that_the_page_names() -> None:
    assert {"create_capture_context", "tokenize", "tokenize_many", "payment_details", "close"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("autospec", [False, True])
def test_every_public_method_can_be_patched(client: Any, name: str, autospec: bool) -> None:
    original = getattr(client, name)
    with mock.patch.object(client, name, **({"autospec": True} if autospec else {})) as replaced:
        assert getattr(client, name) is replaced
    assert getattr(client, name) == original
    assert vars(client) == {}


@pytest.mark.parametrize("name", METHODS)
def test_every_public_method_can_be_patched_by_pytest(client: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(client, name)
    monkeypatch.setattr(client, name, lambda *_, **__: "replaced")
    assert getattr(client, name)() == "replaced"
    monkeypatch.undo()
    assert getattr(client, name) == original


def test_a_patched_method_is_called_and_its_arguments_are_checked() -> None:
    client = FlexClient(None, environment="http://localhost:1")
    context: Any = object()
    with mock.patch.object(client, "tokenize", autospec=True, return_value="token") as tokenize:
        assert client.tokenize(context, DATA) == "token"
        with pytest.raises(TypeError, match="timout"):
            client.tokenize(context, DATA, timout=5)  # type: ignore[call-arg]
    tokenize.assert_called_once_with(context, DATA)


def test_coroutines_are_replaced_by_coroutines() -> None:
    client = AsyncFlexClient(None, environment="http://localhost:1")
    context: Any = object()
    for options in ({}, {"autospec": True}):
        with mock.patch.object(client, "tokenize", return_value="token", **options) as tokenize:
            assert asyncio.run(client.tokenize(context, DATA)) == "token"
        tokenize.assert_awaited_once_with(context, DATA)
    assert inspect.iscoroutinefunction(client.tokenize)


def test_a_batch_uses_the_patched_methods() -> None:
    client = FlexClient(None, environment="http://localhost:1")
    with (
        mock.patch.object(client, "create_capture_context", return_value="context"),
        mock.patch.object(client, "tokenize", side_effect=["token", ValueError("declined")]),
    ):
        good, bad = client.tokenize_many([DATA, DATA], concurrency=1)
    assert (good.token, good.context) == ("token", "context")
    assert str(bad.error) == "declined"


def test_a_patch_of_one_client_leaves_others_alone() -> None:
    one, other = (FlexClient(None, environment="http://localhost:1") for _ in range(2))
    with mock.patch.object(one, "tokenize"):
        assert not isinstance(other.tokenize, mock.Mock)
        assert not isinstance(FlexClient.tokenize, mock.Mock)


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_else_can_be_changed(client: Any, name: str) -> None:
    for value in (mock.Mock(), 1, None):
        with pytest.raises((AttributeError, TypeError)):
            setattr(client, name, value)
    with pytest.raises(AttributeError):
        delattr(client, name)
    with pytest.raises(AttributeError), mock.patch.object(client, name, create=True):
        pass
    assert vars(client) == {}


@pytest.mark.parametrize("value", [None, 5, "tokenize"])
def test_a_method_is_only_replaced_by_something_that_can_be_called(client: Any, value: object) -> None:
    with pytest.raises(AttributeError, match="cannot be changed"):
        client.tokenize = value
    with pytest.raises(AttributeError):
        del client.tokenize


def test_mocks_with_the_specification_of_a_client(client: Any) -> None:
    for specification in (type(client), client):
        double = mock.create_autospec(specification, instance=True)
        with pytest.raises(TypeError):
            double.store_capture_context()
        double.store_capture_context("context")
        assert isinstance(mock.Mock(spec=specification), type(client))
        with pytest.raises(AttributeError):
            _ = double.no_such_method
