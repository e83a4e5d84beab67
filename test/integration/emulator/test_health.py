"""`GET /healthz` of the emulator, for scripts and containers that wait until it serves requests."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator
from support.emulator_client import host_of, send


def health(emulator: Emulator, method: str = "GET", **headers: str) -> Any:
    return send(emulator, method, "/healthz", {"Host": host_of(emulator), **headers})


def test_it_needs_no_credentials_and_is_not_recorded(emulator: Emulator) -> None:
    response = health(emulator)
    assert (response.status, response.json) == (200, {"status": "ok"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert emulator.requests == []


def test_it_uses_up_no_scenario_of_the_api(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-503"])
    assert health(emulator).status == 200
    assert send(emulator, "GET", "/flex/v2/public-keys/unknown", {"Host": host_of(emulator)}).status == 503
    emulator.reset_faults()


def test_a_default_scenario_does_not_affect_it() -> None:
    with Emulator(scenario="status-503") as failing:
        assert health(failing).status == 200
        assert send(failing, "GET", "/flex/v2/public-keys/unknown", {"Host": host_of(failing)}).status == 503


def test_a_scenario_for_its_path_makes_it_fail(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-503"], path="/healthz")
    assert [health(emulator).status, health(emulator).status] == [503, 200]
    emulator.reset_faults()


def test_head_gets_no_body(emulator: Emulator) -> None:
    connection = http.client.HTTPConnection(host_of(emulator), timeout=20)
    for method, body in (("HEAD", b""), ("GET", b'{"status":"ok"}'), ("HEAD", b"")):
        connection.request(method, "/healthz")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, body)
        assert response.headers["content-length"] == "15"
    connection.close()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_other_methods_are_rejected(emulator: Emulator, method: str) -> None:
    response = health(emulator, method)
    assert (response.status, response.headers["allow"]) == (405, "GET")


def test_pages_of_other_origins_cannot_read_it(emulator: Emulator) -> None:
    assert "access-control-allow-origin" not in health(emulator, Origin="https://other.example").headers
