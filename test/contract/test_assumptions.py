"""The checks of ``cybersource-flex probe`` as tests: against the emulator, and against a real host.

The tests of a host run if the environment has credentials for the test host: ``tox run -e contract`` passes all
``CYBERSOURCE_...`` variables on. They send about 50 requests with a public test card.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator
from cybersource_flex.probe.ledger import load_ledger

CREDENTIALS = {name: value for name, value in os.environ.items() if name.startswith("CYBERSOURCE_")}
HAS_CREDENTIALS = "CYBERSOURCE_MERCHANT_ID" in CREDENTIALS
NO_CREDENTIALS = "NOT TESTED against a real host: the environment has no CYBERSOURCE_MERCHANT_ID"
CHECKED = [entry.id for entry in load_ledger().assumptions if entry.not_checked is None]
# One skipped test says that there are no credentials, not one for each assumption.
OF_HOST = CHECKED if HAS_CREDENTIALS else [pytest.param("all", marks=pytest.mark.skip(reason=NO_CREDENTIALS))]

Results = Mapping[str, Mapping[str, Any]]


def probe(environ: Mapping[str, str], *arguments: str) -> Results:
    removed = dict.fromkeys(CREDENTIALS)
    result = CliRunner().invoke(cli, ["probe", "--json", *arguments], env={**removed, **environ})
    assert result.exit_code in (0, 1, 3), result.output
    report = json.loads(result.stdout)
    assert report["outcome"] == "complete"
    return {entry["assumption"]: entry for entry in report["results"]}


@pytest.fixture(scope="module")
def emulator_results() -> Results:
    with Emulator() as running:
        return probe(running.environ, "--interval", "0")


@pytest.fixture(scope="module")
def host_results() -> Results:
    return probe(CREDENTIALS)


@pytest.mark.parametrize("assumption", CHECKED)
def test_emulator(assumption: str, emulator_results: Results) -> None:
    result = emulator_results[assumption]
    assert result["verdict"] != "contradicted", f"{result['statement']} Observed: {result['observed']}"


@pytest.mark.parametrize("assumption", OF_HOST)
def test_host(assumption: str, host_results: Results) -> None:
    result = host_results[assumption]
    if result["verdict"] == "not testable":
        pytest.skip(f"NOT TESTED: {assumption}: {result['observed']}")
    assert result["verdict"] == "confirmed", f"{result['statement']} Observed: {result['observed']}"
