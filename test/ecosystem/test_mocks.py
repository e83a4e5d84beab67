"""pytest-mock with clients, on instances, classes and modules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pytest_mock import MockerFixture

import cybersource_flex
from cybersource_flex import AsyncFlexClient, FlexClient

DATA = {"card": {"number": "4111111111111111"}}
CONTEXT: Any = object()


@pytest.mark.parametrize("autospec", [False, True])
def test_an_instance(mocker: MockerFixture, autospec: bool) -> None:
    client = FlexClient(None, environment="http://localhost:1")
    options = {"autospec": True} if autospec else {}
    tokenize = mocker.patch.object(client, "tokenize", return_value="token", **options)
    assert client.tokenize(CONTEXT, DATA) == "token"
    tokenize.assert_called_once_with(CONTEXT, DATA)
    mocker.stopall()
    assert client.tokenize.__func__ is FlexClient.tokenize


def test_an_instance_of_the_asynchronous_client(mocker: MockerFixture) -> None:
    client = AsyncFlexClient(None, environment="http://localhost:1")
    mocker.patch.object(client, "tokenize", return_value="token")
    assert asyncio.run(client.tokenize(CONTEXT, DATA)) == "token"


def test_spies_call_the_method(mocker: MockerFixture) -> None:
    client = FlexClient(None, environment="http://localhost:1")
    spy = mocker.spy(client, "store_capture_context")
    with pytest.raises(cybersource_flex.ConfigurationError):
        client.store_capture_context(CONTEXT)
    assert isinstance(spy.spy_exception, cybersource_flex.ConfigurationError)


def test_the_class_and_its_method(mocker: MockerFixture) -> None:
    original = FlexClient.tokenize
    mocker.patch("cybersource_flex.FlexClient.tokenize", return_value="token")
    assert FlexClient(None, environment="http://localhost:1").tokenize(CONTEXT, DATA) == "token"
    mocker.stopall()
    assert FlexClient.tokenize is original
    double = mocker.patch("cybersource_flex.FlexClient", autospec=True)
    double.return_value.tokenize.return_value = "token"
    assert cybersource_flex.FlexClient(None).tokenize(CONTEXT, DATA) == "token"
    mocker.stopall()
    assert cybersource_flex.FlexClient is FlexClient
