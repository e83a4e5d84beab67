"""The studio's page and data over HTTP: policy of the page, and who may read the data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator
from support.emulator_client import host_of, send

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
DATA = [("GET", "/studio/state"), ("GET", "/studio/requests"), ("POST", "/studio/scenario")]


def local_host(emulator: Emulator) -> str:
    return host_of(emulator).replace("127.0.0.1", "localhost")


def fetch(emulator: Emulator, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(emulator, method, path, {"Host": local_host(emulator), **named}, body)


def test_the_page_loads_nothing_from_elsewhere(emulator: Emulator) -> None:
    page = fetch(emulator, "GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    urls = re.findall(r'(?:src|href)="([^"#]+)"', page.content)
    assert urls
    for url in urls:
        response = fetch(emulator, "GET", url)
        assert response.status == 200
        assert "http" not in response.content.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"<script(?![^>]*src)|<style|\sstyle=|\son[a-z]+=", page.content)


def test_browsers_are_sent_to_localhost(emulator: Emulator) -> None:
    response = send(emulator, "GET", "/", {"Host": host_of(emulator)})
    assert (response.status, response.headers["location"]) == (307, f"http://{local_host(emulator)}/")


@pytest.mark.parametrize(("method", "path"), DATA)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin", "Host": "attacker.example"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://attacker.example"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "null"},
    ],
)
def test_only_the_page_itself_can_read_and_change(
    emulator: Emulator, method: str, path: str, headers: dict[str, str]
) -> None:
    body = b'{"scenario": "status-503"}' if method == "POST" else None
    response = fetch(emulator, method, path, body, **headers)
    assert response.status == 403
    assert str(emulator.auth["secret_key"]) not in response.content
    assert emulator.scenario is None
    assert "access-control-allow-origin" not in response.headers


def test_the_page_is_not_served_under_the_name_of_another_site(emulator: Emulator) -> None:
    assert fetch(emulator, "GET", "/", Host="attacker.example").status == 403


def test_an_emulator_that_other_machines_reach_has_no_studio() -> None:
    """Not even for a request that claims to come from this machine."""
    with Emulator(allow_remote=True, key_pool=1) as emulator:
        for method, path in (*DATA, ("GET", "/"), ("GET", "/studio/studio.js")):
            response = fetch(emulator, method, path, Sec_Fetch_Site="same-origin")
            assert response.status == 404
            assert emulator.auth["secret_key"] not in response.content


def test_the_data_of_the_page(emulator: Emulator) -> None:
    response = fetch(emulator, "GET", "/studio/state", Sec_Fetch_Site="same-origin")
    assert response.headers["cache-control"] == "no-store"
    state = json.loads(response.content)
    assert state["origin"] == emulator.url
    assert state["merchant"]["secretKey"] == emulator.auth["secret_key"]
    assert state["environ"] == emulator.environ


@pytest.mark.parametrize(
    ("body", "status", "scenario"),
    [
        (b'{"scenario": "status-503;retry-after=5"}', 200, "status-503;retry-after=5"),
        (b'{"scenario": null}', 200, None),
        (b'{"scenario": "no-such"}', 400, None),
        (b'{"scenario": 5}', 400, None),
        (b"[]", 400, None),
        (b"\xff", 400, None),
    ],
)
def test_the_scenario_is_set(emulator: Emulator, body: bytes, status: int, scenario: str | None) -> None:
    assert fetch(emulator, "POST", "/studio/scenario", body, Sec_Fetch_Site="same-origin").status == status
    assert (emulator.scenario and str(emulator.scenario)) == scenario


def test_switching_off_keeps_the_queues_of_other_programs(emulator: Emulator) -> None:
    emulator.scenario = "status-500"  # type: ignore[assignment]
    emulator.queue_scenarios(["status-503"], "/flex/v2/a")
    switched_off = fetch(emulator, "POST", "/studio/scenario", b'{"scenario": null}', Sec_Fetch_Site="same-origin")
    assert switched_off.status == 200
    assert emulator.scenario is None
    assert [fetch(emulator, "GET", "/flex/v2/a").status for _ in range(2)] == [503, 404]


def test_the_requests_after_a_known_one(emulator: Emulator) -> None:
    def listed(after: str) -> tuple[bool, list[str]]:
        response = fetch(emulator, "GET", f"/studio/requests?after={after}", Sec_Fetch_Site="same-origin")
        value = json.loads(response.content)
        return value["complete"], [request["path"] for request in value["requests"]]

    assert listed("") == (True, [])
    for path in ("/flex/v2/a", "/flex/v2/b"):
        fetch(emulator, "GET", path)
    assert listed("") == (True, ["/flex/v2/a", "/flex/v2/b"])
    first = emulator.requests[0].correlation_id
    assert listed(first) == (False, ["/flex/v2/b"])
    assert listed("unknown") == (True, ["/flex/v2/a", "/flex/v2/b"])


def test_the_command_prints_the_address_and_exits_on_a_used_port(emulator: Emulator) -> None:
    command = [sys.executable, "-m", "cybersource_flex", "studio", "--no-browser", "--port"]
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert re.match(r"Flex studio at http://localhost:\d+/", line)
    with subprocess.Popen([*command, "0", "--json"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert re.fullmatch(r"http://localhost:\d+/", json.loads(line)["url"])
    port = host_of(emulator).rpartition(":")[2]
    used = subprocess.run([*command, port], capture_output=True, encoding="utf-8")
    assert used.returncode == 6
    assert "cannot listen on" in used.stderr
    unknown = subprocess.run([*command, "0", "--scenario", "no-such"], capture_output=True, encoding="utf-8")
    assert unknown.returncode == 2


def test_an_emulator_without_studio() -> None:
    with Emulator(studio=False, key_pool=1) as emulator:
        for method, path in [("GET", "/"), *DATA]:
            assert fetch(emulator, method, path, Sec_Fetch_Site="same-origin").status == 404
