"""``tokenize`` and ``capture-context``: files, interruptions, and that no card data leaks."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cybersource_flex.cards import TEST_CARDS, Card
from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import Canaries
from support.tokens import decode_jwt

VISA = TEST_CARDS["visa"]
VALID_CARD = {"number": VISA, "expirationMonth": "12", "expirationYear": "2099"}
CARDS, TOKENS = Path("cards.ndjson"), Path("tokens.ndjson")
SESSIONS = "/flex/v2/sessions"
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


@pytest.fixture(scope="module")
def host() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(host: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator, with its credentials in the environment variables, and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CYBERSOURCE_")]:
        monkeypatch.delenv(name)
    for name, value in host.environ.items():
        monkeypatch.setenv(name, value)
    host.reset_faults()
    host.clear()
    yield host
    host.reset_faults()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("flex-tokenize")]


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def tokenize(*arguments: str) -> Result:
    result = call("tokenize", "--input", str(CARDS), "--output", str(TOKENS), *arguments)
    assert result.stdout == ""
    return result


def write_input(*lines: object) -> None:
    """Write the input: strings unchanged, other values as JSON."""
    strings = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    CARDS.write_text("".join(f"{string}\n" for string in strings), encoding="utf-8")


def write_cards(count: int) -> None:
    write_input(*({"id": f"order-{index}", "card": VALID_CARD} for index in range(count)))


def read_output() -> dict[Any, dict[str, Any]]:
    """The lines of the output by id. Each id must occur once."""
    content = TOKENS.read_text("utf-8")
    assert content == "" or content.endswith("\n")
    lines = [json.loads(line) for line in content.splitlines()]
    by_id = {line["id"]: line for line in lines}
    assert len(by_id) == len(lines)
    return by_id


def count_requests(emulator: Emulator, path: str = SESSIONS) -> int:
    return sum(record.target == path for record in emulator.requests)


def test_a_token_for_each_line(emulator: Emulator) -> None:
    write_input(
        {"id": "order-1", "card": VALID_CARD},
        "",
        {"card": {"number": TEST_CARDS["amex"]}},
        {"id": 77, "card": VALID_CARD},
        "  ",
    )
    result = tokenize()
    assert result.exit_code == 0
    assert result.stderr == "3 lines: 3 with a token, 0 failed\n"
    lines = read_output()
    assert set(lines) == {"order-1", 3, 77}
    for line in lines.values():
        assert list(line) == ["id", "token", "expires_at", "jti"]
        _, claims = decode_jwt(line["token"])
        assert (line["expires_at"], line["jti"]) == (claims["exp"], claims["jti"])
    # One context per card.
    assert count_requests(emulator) == 3


@posix_only
def test_the_output_is_readable_only_by_its_owner(emulator: Emulator) -> None:
    umask = os.umask(0)
    try:
        write_cards(1)
        tokenize()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(TOKENS.stat().st_mode) == 0o600


def test_a_byte_order_mark_and_windows_line_ends(emulator: Emulator) -> None:
    CARDS.write_bytes(b"\xef\xbb\xbf" + json.dumps({"id": "a", "card": VALID_CARD}).encode() + b"\r\n\r\n")
    assert tokenize().exit_code == 0
    assert list(read_output()) == ["a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (VISA, "line 2 must be one JSON object"),
        (f'{{"card": {{"number": "{VISA}"', "line 2 must be one JSON object"),
        (f'["{VISA}"]', "line 2 must be one JSON object"),
        ('{"card": {}, "card": {}}', "line 2 must be one JSON object"),
        ('{"card": {"number": NaN}}', "line 2 must be one JSON object"),
        ("[" * 100_000, "line 2 must be one JSON object"),
        ('{"id": true}', "the id in line 2 is not valid"),
        ('{"id": ""}', "the id in line 2 is not valid"),
        ('{"id": "a\\u001bb"}', "the id in line 2 is not valid"),
        (f'{{"id": "{VISA}", "card": {{"number": "{VISA}"}}}}', "the id in line 2 looks like a card number"),
        (f'{{"id": {VISA}}}', "the id in line 2 looks like a card number"),
        ('{"id": "order 4111 1111-1111 1111"}', "the id in line 2 looks like a card number"),
        (f'{{"card": {{"{VISA}": "1"}}}}', "line 2 contains a JSON name that cannot be the name of a field"),
        (f'{{"n{VISA}": 1}}', "line 2 contains a JSON name that cannot be the name of a field"),
    ],
)
def test_malformed_lines(emulator: Emulator, line: str, message: str) -> None:
    write_input({"id": "a", "card": VALID_CARD}, line, {"id": "b", "card": VALID_CARD})
    result = tokenize()
    assert result.exit_code == 1
    assert "3 lines: 2 with a token, 1 failed" in result.stderr
    lines = read_output()
    assert set(lines) == {"a", 2, "b"}
    assert (lines[2]["error"], lines[2]["outcome"]) == ("InvalidDataError", "not_sent")
    assert message in lines[2]["message"]
    assert "1111" not in json.dumps(lines[2])
    assert count_requests(emulator) == 2


def test_failures_and_their_messages(emulator: Emulator) -> None:
    emulator.queue_scenarios(["ok", "status-500", "reset-after-request"], path="/flex/v2/tokens")
    write_input(
        {"id": "late", "card": VALID_CARD},
        {"id": "broken", "card": VALID_CARD},
        {"id": "lost", "card": VALID_CARD},
        {"id": "digit", "card": {**VALID_CARD, "number": VISA[:-1] + "2"}},
        {"id": "code", "card": {**VALID_CARD, "securityCode": "1234"}},
        {"id": "number", "card": {"number": int(VISA)}},
        {"id": "pin", "card": {"pin": "1234"}},
        {"id": "none"},
    )
    result = tokenize("--concurrency", "1")
    assert result.exit_code == 1
    assert result.stderr.startswith("8 lines: 1 with a token, 7 failed; use --retry-failed")
    lines = read_output()
    assert "token" in lines["late"]
    errors = {name: (line["error"], line["outcome"]) for name, line in lines.items() if "error" in line}
    assert errors == {
        "broken": ("ServerError", "unknown"),
        "lost": ("ConnectionBrokenError", "unknown"),
        "digit": ("BadRequestError", "rejected"),
        "code": ("BadRequestError", "rejected"),
        **dict.fromkeys(("number", "pin", "none"), ("InvalidDataError", "not_sent")),
    }
    assert "captureData.securityCode: Invalid security code format" in lines["code"]["message"]
    assert "v-c-correlation-id" in lines["code"]["message"]
    assert (
        lines["number"]["message"]
        == "paymentInformation.card.number must be a string, not int; numbers lose leading zeros"
    )
    assert "paymentInformation.card.pin" in lines["pin"]["message"]
    for line in lines.values():
        assert list(line) in (["id", "token", "expires_at", "jti"], ["id", "error", "outcome", "message"])


def test_bank_accounts_are_not_sent(emulator: Emulator) -> None:
    bank = {"routingNumber": "121042882", "account": {"number": "4100123456"}}
    write_input({"id": "one", "CHECK": bank}, {"id": "two", "paymentInformation": {"bank": bank}})
    assert tokenize().exit_code == 1
    for line in read_output().values():
        assert (line["error"], line["outcome"]) == ("InvalidDataError", "not_sent")
        assert "no bank account data" in line["message"]
    assert count_requests(emulator) == 0


def test_lines_with_a_result_are_skipped(emulator: Emulator) -> None:
    write_input({"id": "a", "card": VALID_CARD}, {"id": "b", "card": {"number": "1"}}, "nonsense")
    assert tokenize().exit_code == 1
    output_before = TOKENS.read_bytes()
    emulator.clear()
    result = tokenize()
    assert result.exit_code == 1
    assert "1 with a token, 2 failed (3 of these in earlier runs)" in result.stderr
    assert emulator.requests == []
    assert TOKENS.read_bytes() == output_before
    write_input({"id": "a", "card": VALID_CARD}, {"id": "c", "card": VALID_CARD})
    assert tokenize().exit_code == 0
    assert TOKENS.read_bytes().startswith(output_before)
    assert count_requests(emulator) == 1


def test_failures_can_be_retried(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-500"], path="/flex/v2/tokens")
    write_cards(3)
    assert tokenize("--concurrency", "1").exit_code == 1
    emulator.clear()
    result = tokenize("--retry-failed")
    assert (result.exit_code, result.stderr) == (0, "3 lines: 3 with a token, 0 failed (2 of these in earlier runs)\n")
    assert count_requests(emulator) == 1
    # The last line of an id counts.
    lines = [json.loads(line) for line in TOKENS.read_text("utf-8").splitlines()]
    assert [("token" in line) for line in lines if line["id"] == "order-0"] == [False, True]
    assert tokenize().exit_code == 0


@pytest.mark.parametrize("length", [1, 5, 6, 9, 40, -1])
def test_an_incomplete_last_line_is_tokenized_again(emulator: Emulator, length: int) -> None:
    write_cards(3)
    tokenize("--concurrency", "1")
    complete = TOKENS.read_bytes().splitlines(keepends=True)
    TOKENS.write_bytes(b"".join(complete[:2]) + complete[2][:length])
    emulator.clear()
    assert tokenize().exit_code == 0
    assert set(read_output()) == {"order-0", "order-1", "order-2"}
    # If only the line ending is missing, the line is complete.
    assert count_requests(emulator) == (0 if length == -1 else 1)
    assert TOKENS.read_bytes().startswith(b"".join(complete[:2]))


@pytest.mark.parametrize(
    "content",
    [
        b"precious notes",
        b'{"id": "a", "card": {"number": "4111111111111111"}}',
        b'{"id":"a","card":{"number":"4111111111111111"}}',
        b'{"id":"a","token":"x","error":"y"}\n',
        b'{"token":"x"}\n',
        b"\n",
        b'{"id":"a","token":"x"}\nnotes',
    ],
)
def test_other_files_are_not_overwritten(emulator: Emulator, content: bytes) -> None:
    write_cards(1)
    TOKENS.write_bytes(content)
    result = tokenize()
    assert result.exit_code == 2
    assert "was not written by this command" in result.stderr
    assert "4111" not in result.stderr
    assert TOKENS.read_bytes() == content
    assert emulator.requests == []


def on_fsync(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> None:
    """Call ``act`` when line ``number`` is written."""
    original, calls = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_loses_no_results(
    emulator: Emulator, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cards(40)
    handler = signal.getsignal(number)
    on_fsync(monkeypatch, 5, lambda: signal.raise_signal(number))
    result = tokenize("--concurrency", "2")
    assert result.exit_code == 128 + number
    assert signal.getsignal(number) is handler
    written = len(read_output())
    # The results of the started lines are written, and no others.
    assert 5 <= written <= 5 + 4
    assert count_requests(emulator) == count_requests(emulator, "/flex/v2/tokens") == written
    assert f"40 lines: {written} with a token, 0 failed, {40 - written} not started: interrupted" in result.stderr
    assert tokenize().exit_code == 0
    assert len(read_output()) == count_requests(emulator) == 40


def test_the_second_interruption_ends_the_command(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cards(40)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    on_fsync(monkeypatch, 3, twice)
    assert tokenize("--concurrency", "2").exit_code == 130
    assert 3 <= len(read_output()) <= 7
    assert tokenize().exit_code == 0
    assert len(read_output()) == 40


def test_a_killed_process_loses_at_most_the_started_lines(emulator: Emulator) -> None:
    write_cards(30)
    # Exits like a killed process: the line is written, but not synced to disk.
    code = (
        "import os, sys; remaining = [6]\n"
        "def fsync(handle):\n"
        "    remaining[0] -= 1\n"
        "    remaining[0] or os._exit(9)\n"
        "os.fsync = fsync\n"
        "from cybersource_flex.cli import main; main()"
    )
    arguments = ["tokenize", "--input", str(CARDS), "--output", str(TOKENS), "--concurrency", "3"]
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 9
    assert len(read_output()) == 6
    assert tokenize().exit_code == 0
    assert len(read_output()) == 30
    assert count_requests(emulator) <= 30 + 2 * 3


@pytest.mark.parametrize(
    ("lines", "pair"),
    [
        (({"id": "a", "card": VALID_CARD}, "", {"id": "a", "card": VALID_CARD}), "lines 1 and 3"),
        (({"id": "7", "card": VALID_CARD}, {"id": 7, "card": VALID_CARD}), "lines 1 and 2"),
        (({"id": 2, "card": VALID_CARD}, {"card": VALID_CARD}), "lines 1 and 2"),
    ],
)
def test_duplicate_ids(emulator: Emulator, lines: tuple[Any, ...], pair: str) -> None:
    write_input(*lines)
    result = tokenize()
    assert result.exit_code == 2
    assert f"{pair} have the same id" in result.stderr
    assert emulator.requests == []
    assert not TOKENS.exists()


def test_production_hosts_need_an_option(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cards(1)
    # Redirects requests for production to the emulator.
    monkeypatch.setenv("CYBERSOURCE_INTERMEDIATE_HOST", emulator.url)
    for where in (("--environment", "production"), ("--host", "https://api.in.cybersource.com")):
        result = tokenize(*where)
        assert result.exit_code == 2
        assert "--production-cards" in result.stderr
        assert emulator.requests == []
        assert not TOKENS.exists()
    monkeypatch.setenv("CYBERSOURCE_ENVIRONMENT", "production")
    assert tokenize().exit_code == 2
    assert tokenize("--production-cards").exit_code == 0
    assert tokenize("--environment", "test").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--environment", "test", "--host", "https://apitest.cybersource.com"], "either --host or --environment"),
        (["--environment", "nowhere"], "environment must be one of"),
        (["--concurrency", "0"], "--concurrency"),
        (["--output", str(CARDS)], "the same file"),
        (["--output", "."], "directory"),
        (["--output", "no/such/folder"], "No such file"),
        (["--input", "no-such-file"], "does not exist"),
    ],
)
def test_wrong_usage(emulator: Emulator, arguments: list[str], message: str) -> None:
    write_cards(1)
    before = CARDS.read_bytes()
    result = tokenize(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert emulator.requests == []
    assert CARDS.read_bytes() == before


def test_without_credentials(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYBERSOURCE_SECRET_KEY")
    write_cards(1)
    result = tokenize()
    assert result.exit_code == 2
    assert "CYBERSOURCE_SECRET_KEY" in result.stderr


def test_the_summary_as_json(emulator: Emulator) -> None:
    write_input({"id": "a", "card": VALID_CARD}, {"id": "b", "card": {"number": "1"}}, {"id": "c", "card": VALID_CARD})
    arguments = ["tokenize", "--json", "--input", str(CARDS), "--output", str(TOKENS)]
    result = call(*arguments)
    assert (result.exit_code, result.stderr) == (1, "")
    expected = {"lines": 3, "succeeded": 2, "failed": 1, "earlier": 0, "not_started": 0, "output": str(TOKENS)}
    assert json.loads(result.stdout) == expected
    assert json.loads(call(*arguments).stdout) == {**expected, "earlier": 3}


def card_number() -> str:
    """A random valid card number."""
    digits = "4" + "".join(secrets.choice("0123456789") for _ in range(14))
    for check in "0123456789":
        try:
            Card(digits + check)
        except ValueError:
            continue
        return digits + check
    raise AssertionError


def test_no_card_data_leaks(emulator: Emulator) -> None:
    """Files, output and logs contain no card data, even after errors."""
    scenarios = ["status-500", "html-502", "reset-during", "truncated", "malformed-jwt", "html-200", "wrong-digest"]
    emulator.inject_random_faults(rate=0.5, seed=11, scenarios=scenarios)
    with Canaries() as canaries:
        lines: list[object] = []
        for index in range(24):
            number = canaries.plant(f"card number {index}", card_number())
            code = canaries.plant(f"security code {index}", f"{100 + secrets.randbelow(900)}")
            card = {**VALID_CARD, "number": number, "securityCode": code}
            wrong = (
                {**card, "expirationMonth": code},
                {**card, "securityCode": number},
                {**card, number: code},
                {**card, "number": {"value": number}},
            )
            shape = index % 8
            lines.append({"id": f"o{index}", "card": wrong[shape] if shape < 4 else card})
            lines.append(f'{{"id": "x{index}", "card": {{"number": "{number}", "securityCode": "{code}"')
        write_input(*lines)
        result = tokenize("--concurrency", "4")
        canaries.search(result.output, "the output")
        canaries.search(TOKENS.read_bytes(), "the file of tokens")
        assert result.exit_code == 1
        errors = {line.get("error") for line in read_output().values()}
        assert {"InvalidDataError", "BadRequestError", None} < errors
        for token in (line["token"] for line in read_output().values() if "token" in line):
            canaries.search(base64.urlsafe_b64decode(token.split(".")[1] + "=="), "a token")


def test_a_capture_context_for_scripts(emulator: Emulator) -> None:
    result = call("capture-context")
    assert (result.exit_code, result.stderr) == (0, "")
    jwt = result.stdout.strip()
    assert result.stdout == f"{jwt}\n"
    assert call("verify", jwt).exit_code == 0
    chosen = ["--card", "number", "--card", "security_code?", "--bill-to", "firstName", "--amount-details", "currency"]
    result = call("capture-context", *chosen, "--ship-to", "country?", "--json")
    report = json.loads(result.stdout)
    assert set(report["required_fields"]) == {
        "paymentInformation.card.number",
        "orderInformation.billTo.firstName",
        "orderInformation.amountDetails.currency",
    }
    assert set(report["optional_fields"]) == {
        "paymentInformation.card.securityCode",
        "orderInformation.shipTo.country",
    }
    assert call("verify", report["jwt"]).exit_code == 0
    assert report["client_library"] is None


def test_capture_context_warns_of_loopback_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator(loopback_origins=True) as emulator:
        for name, value in emulator.environ.items():
            monkeypatch.setenv(name, value)
        result = call("capture-context", "--target-origin", "http://127.0.0.1:3000", "--network", "VISA")
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    assert result.stderr.startswith("Warning: target_origins[0] is 'http://127.0.0.1:3000'")
    assert "'http://localhost:3000'" in result.stderr


def test_a_capture_context_for_microform(emulator: Emulator) -> None:
    arguments = ["--target-origin", "https://shop.example.com", "--network", "VISA", "--network", "AMEX"]
    report = json.loads(call("capture-context", *arguments, "--payment-type", "CARD", "--json").stdout)
    assert report["type"].startswith("mf-")
    assert report["client_library"]
    (request,) = [record for record in emulator.requests if record.target == "/microform/v2/sessions"]
    assert json.loads(request.body)["allowedCardNetworks"] == ["VISA", "AMEX"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--card", "nubmer"], 2, "did you mean 'number'?"),
        (["--card", "4111111111111111"], 2, "card has no field of the name that was given"),
        (["--card", "number", "--target-origin", "https://shop.example.com"], 2, "for which fields cannot be chosen"),
        (["--network", "VISA"], 2, "need --target-origin"),
        (["--environment", "nowhere"], 2, "environment must be one of"),
        (["--host", "https://a.example", "--environment", "test"], 2, "either --host or --environment"),
        (["--target-origin", "http://shop.example.com"], 2, "did you mean 'https://shop.example.com'?"),
        (["--target-origin", "https://a.example", "--network", "visa"], 2, "did you mean 'VISA'?"),
        (["--target-origin", "https://a.example", "--network", "UNKNOWN"], 4, "BadRequestError"),
        (
            ["--target-origin", "http://127.0.0.1:3000", "--network", "VISA"],
            4,
            "BadRequestError",
        ),
    ],
)
def test_errors_of_capture_context(emulator: Emulator, arguments: list[str], code: int, message: str) -> None:
    result = call("capture-context", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "4111111111111111" not in result.stderr
