"""``tokenize`` and ``capture-context`` on the command line: files, interruptions, and no card data anywhere."""

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

VISA = TEST_CARDS["visa"]
GOOD = {"number": VISA, "expirationMonth": "12", "expirationYear": "2099"}
CARDS, TOKENS = Path("cards.ndjson"), Path("tokens.ndjson")
SESSIONS = "/flex/v2/sessions"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


@pytest.fixture(scope="module")
def host() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(host: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The host, in the environment variables; and an empty folder."""
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
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def tokenize(*arguments: str) -> Result:
    done = call("tokenize", "--input", str(CARDS), "--output", str(TOKENS), *arguments)
    assert done.stdout == ""
    return done


def put(*lines: object) -> None:
    """Write the input: texts as they are, all else as JSON."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    CARDS.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def put_cards(count: int) -> None:
    put(*({"id": f"order-{index}", "card": GOOD} for index in range(count)))


def found() -> dict[Any, dict[str, Any]]:
    """The lines of the output by their ids, each of which is there once."""
    text = TOKENS.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    lines = [json.loads(line) for line in text.splitlines()]
    by_id = {line["id"]: line for line in lines}
    assert len(by_id) == len(lines)
    return by_id


def sent(emulator: Emulator, path: str = SESSIONS) -> int:
    return sum(record.target == path for record in emulator.requests)


def test_a_token_for_each_line(emulator: Emulator) -> None:
    put({"id": "order-1", "card": GOOD}, "", {"card": {"number": TEST_CARDS["amex"]}}, {"id": 77, "card": GOOD}, "  ")
    done = tokenize()
    assert done.exit_code == 0
    assert done.stderr == "3 lines: 3 with a token, 0 failed\n"
    lines = found()
    assert set(lines) == {"order-1", 3, 77}
    for line in lines.values():
        assert list(line) == ["id", "token", "expires_at", "jti"]
        claims = json.loads(base64.urlsafe_b64decode(line["token"].split(".")[1] + "=="))
        assert (line["expires_at"], line["jti"]) == (claims["exp"], claims["jti"])
    # A context each.
    assert sent(emulator) == 3


@posix
def test_the_output_is_for_its_owner_alone(emulator: Emulator) -> None:
    before = os.umask(0)
    try:
        put_cards(1)
        tokenize()
    finally:
        os.umask(before)
    assert stat.S_IMODE(TOKENS.stat().st_mode) == 0o600


def test_a_byte_order_mark_and_windows_line_ends(emulator: Emulator) -> None:
    CARDS.write_bytes(b"\xef\xbb\xbf" + json.dumps({"id": "a", "card": GOOD}).encode() + b"\r\n\r\n")
    assert tokenize().exit_code == 0
    assert list(found()) == ["a"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (VISA, "line 2 is not one JSON object"),
        (f'{{"card": {{"number": "{VISA}"', "line 2 is not one JSON object"),
        (f'["{VISA}"]', "line 2 is not one JSON object"),
        ('{"card": {}, "card": {}}', "line 2 is not one JSON object"),
        ('{"card": {"number": NaN}}', "line 2 is not one JSON object"),
        ("[" * 100_000, "line 2 is not one JSON object"),
        ('{"id": true}', "the id in line 2 is not valid"),
        ('{"id": ""}', "the id in line 2 is not valid"),
        ('{"id": "a\\u001bb"}', "the id in line 2 is not valid"),
        (f'{{"id": "{VISA}", "card": {{"number": "{VISA}"}}}}', "the id in line 2 looks like a card number"),
        (f'{{"id": {VISA}}}', "the id in line 2 looks like a card number"),
        ('{"id": "order 4111 1111-1111 1111"}', "the id in line 2 looks like a card number"),
        (f'{{"card": {{"{VISA}": "1"}}}}', "line 2 has a name that is not a field name"),
        (f'{{"n{VISA}": 1}}', "line 2 has a name that is not a field name"),
    ],
)
def test_a_line_that_cannot_be_read(emulator: Emulator, line: str, words: str) -> None:
    put({"id": "a", "card": GOOD}, line, {"id": "b", "card": GOOD})
    done = tokenize()
    assert done.exit_code == 1
    assert "3 lines: 2 with a token, 1 failed" in done.stderr
    lines = found()
    assert set(lines) == {"a", 2, "b"}
    assert (lines[2]["error"], lines[2]["outcome"]) == ("InvalidDataError", "not_sent")
    assert words in lines[2]["message"]
    assert "1111" not in json.dumps(lines[2])
    assert sent(emulator) == 2


def test_failures_and_what_is_said_of_them(emulator: Emulator) -> None:
    emulator.queue_scenarios(["ok", "status-500", "reset-after-request"], path="/flex/v2/tokens")
    put(
        {"id": "late", "card": GOOD},
        {"id": "broken", "card": GOOD},
        {"id": "lost", "card": GOOD},
        {"id": "digit", "card": {**GOOD, "number": VISA[:-1] + "2"}},
        {"id": "code", "card": {**GOOD, "securityCode": "1234"}},
        {"id": "number", "card": {"number": int(VISA)}},
        {"id": "pin", "card": {"pin": "1234"}},
        {"id": "none"},
    )
    done = tokenize("--concurrency", "1")
    assert done.exit_code == 1
    assert done.stderr.startswith("8 lines: 1 with a token, 7 failed; use --retry-failed")
    lines = found()
    assert "token" in lines["late"]
    told = {name: (line["error"], line["outcome"]) for name, line in lines.items() if "error" in line}
    assert told == {
        "broken": ("ServerError", "unknown"),
        "lost": ("ConnectionBrokenError", "unknown"),
        "digit": ("BadRequestError", "rejected"),
        "code": ("BadRequestError", "rejected"),
        **dict.fromkeys(("number", "pin", "none"), ("InvalidDataError", "not_sent")),
    }
    assert "captureData.securityCode: Invalid security code format" in lines["code"]["message"]
    assert "v-c-correlation-id" in lines["code"]["message"]
    assert lines["number"]["message"] == "paymentInformation.card.number must be a text, not int (leading zeros count)"
    assert "paymentInformation.card.pin" in lines["pin"]["message"]
    for line in lines.values():
        assert list(line) in (["id", "token", "expires_at", "jti"], ["id", "error", "outcome", "message"])


def test_bank_accounts_are_not_sent(emulator: Emulator) -> None:
    bank = {"routingNumber": "121042882", "account": {"number": "4100123456"}}
    put({"id": "one", "CHECK": bank}, {"id": "two", "paymentInformation": {"bank": bank}})
    assert tokenize().exit_code == 1
    for line in found().values():
        assert (line["error"], line["outcome"]) == ("InvalidDataError", "not_sent")
        assert "no bank account data" in line["message"]
    assert sent(emulator) == 0


def test_what_is_done_is_not_done_again(emulator: Emulator) -> None:
    put({"id": "a", "card": GOOD}, {"id": "b", "card": {"number": "1"}}, "nonsense")
    assert tokenize().exit_code == 1
    before = TOKENS.read_bytes()
    emulator.clear()
    done = tokenize()
    assert done.exit_code == 1
    assert "1 with a token, 2 failed (3 of these in earlier runs)" in done.stderr
    assert emulator.requests == []
    assert TOKENS.read_bytes() == before
    put({"id": "a", "card": GOOD}, {"id": "c", "card": GOOD})
    assert tokenize().exit_code == 0
    assert TOKENS.read_bytes().startswith(before)
    assert sent(emulator) == 1


def test_failures_can_be_tried_again(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-500"], path="/flex/v2/tokens")
    put_cards(3)
    assert tokenize("--concurrency", "1").exit_code == 1
    emulator.clear()
    done = tokenize("--retry-failed")
    assert (done.exit_code, done.stderr) == (0, "3 lines: 3 with a token, 0 failed (2 of these in earlier runs)\n")
    assert sent(emulator) == 1
    # The last line of an id counts.
    lines = [json.loads(line) for line in TOKENS.read_text("utf-8").splitlines()]
    assert [("token" in line) for line in lines if line["id"] == "order-0"] == [False, True]
    assert tokenize().exit_code == 0


@pytest.mark.parametrize("left", [1, 5, 6, 9, 40, -1])
def test_a_torn_line_is_done_again(emulator: Emulator, left: int) -> None:
    put_cards(3)
    tokenize("--concurrency", "1")
    whole = TOKENS.read_bytes().splitlines(keepends=True)
    TOKENS.write_bytes(b"".join(whole[:2]) + whole[2][:left])
    emulator.clear()
    assert tokenize().exit_code == 0
    assert set(found()) == {"order-0", "order-1", "order-2"}
    # Without its end of line alone it is whole.
    assert sent(emulator) == (0 if left == -1 else 1)
    assert TOKENS.read_bytes().startswith(b"".join(whole[:2]))


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
def test_another_file_is_not_touched(emulator: Emulator, content: bytes) -> None:
    put_cards(1)
    TOKENS.write_bytes(content)
    done = tokenize()
    assert done.exit_code == 2
    assert "was not written by this command" in done.stderr
    assert "4111" not in done.stderr
    assert TOKENS.read_bytes() == content
    assert emulator.requests == []


def on_fsync(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> None:
    """Act when a line is written for the so-manieth time."""
    real, calls = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_loses_nothing(
    emulator: Emulator, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cards(40)
    before = signal.getsignal(number)
    on_fsync(monkeypatch, 5, lambda: signal.raise_signal(number))
    done = tokenize("--concurrency", "2")
    assert done.exit_code == 1
    assert signal.getsignal(number) is before
    written = len(found())
    # What was under way at that moment is written, and nothing else.
    assert 5 <= written <= 5 + 4
    assert sent(emulator) == sent(emulator, "/flex/v2/tokens") == written
    assert f"40 lines: {written} with a token, 0 failed, {40 - written} not started: interrupted" in done.stderr
    assert tokenize().exit_code == 0
    assert len(found()) == sent(emulator) == 40


def test_the_second_interruption_ends_it(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    put_cards(40)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    on_fsync(monkeypatch, 3, twice)
    assert tokenize("--concurrency", "2").exit_code == 1
    assert 3 <= len(found()) <= 7
    assert tokenize().exit_code == 0
    assert len(found()) == 40


def test_a_killed_process_loses_at_most_what_was_under_way(emulator: Emulator) -> None:
    put_cards(30)
    # Ends like a process that is killed, with the line written and not yet on the disk.
    code = (
        "import os, sys; left = [6]\n"
        "def fsync(handle):\n"
        "    left[0] -= 1\n"
        "    left[0] or os._exit(9)\n"
        "os.fsync = fsync\n"
        "from cybersource_flex.cli import main; main()"
    )
    arguments = ["tokenize", "--input", str(CARDS), "--output", str(TOKENS), "--concurrency", "3"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 9
    assert len(found()) == 6
    assert tokenize().exit_code == 0
    assert len(found()) == 30
    assert sent(emulator) <= 30 + 2 * 3


@pytest.mark.parametrize(
    ("lines", "pair"),
    [
        (({"id": "a", "card": GOOD}, "", {"id": "a", "card": GOOD}), "lines 1 and 3"),
        (({"id": "7", "card": GOOD}, {"id": 7, "card": GOOD}), "lines 1 and 2"),
        (({"id": 2, "card": GOOD}, {"card": GOOD}), "lines 1 and 2"),
    ],
)
def test_an_id_that_is_there_twice(emulator: Emulator, lines: tuple[Any, ...], pair: str) -> None:
    put(*lines)
    done = tokenize()
    assert done.exit_code == 2
    assert f"{pair} have the same id" in done.stderr
    assert emulator.requests == []
    assert not TOKENS.exists()


def test_production_takes_a_word_more(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    put_cards(1)
    # What is sent to production ends up at the emulator.
    monkeypatch.setenv("CYBERSOURCE_INTERMEDIATE_HOST", emulator.url)
    for where in (("--environment", "production"), ("--host", "https://api.in.cybersource.com")):
        done = tokenize(*where)
        assert done.exit_code == 2
        assert "--production-cards" in done.stderr
        assert emulator.requests == []
        assert not TOKENS.exists()
    monkeypatch.setenv("CYBERSOURCE_ENVIRONMENT", "production")
    assert tokenize().exit_code == 2
    assert tokenize("--production-cards").exit_code == 0
    assert tokenize("--environment", "test").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
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
def test_wrong_usage(emulator: Emulator, arguments: list[str], words: str) -> None:
    put_cards(1)
    before = CARDS.read_bytes()
    done = tokenize(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert emulator.requests == []
    assert CARDS.read_bytes() == before


def test_without_credentials(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYBERSOURCE_SECRET_KEY")
    put_cards(1)
    done = tokenize()
    assert done.exit_code == 2
    assert "CYBERSOURCE_SECRET_KEY" in done.stderr


@posix
def test_a_bar_on_a_terminal_and_nowhere_else(emulator: Emulator) -> None:
    import pty

    put_cards(2)
    arguments = ["tokenize", "--input", str(CARDS), "--output", str(TOKENS)]
    root = Path(__file__).resolve().parents[2]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cybersource_flex.cli", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm"}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=theirs, check=False, timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            more = os.read(ours, 65_536)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"2/2" in shown
    assert b"0 failed" in shown
    TOKENS.unlink()
    done = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
    assert done.stderr == b"2 lines: 2 with a token, 0 failed\n"


def card_number() -> str:
    """A number that nobody else has."""
    digits = "4" + "".join(secrets.choice("0123456789") for _ in range(14))
    for check in "0123456789":
        try:
            Card(digits + check)
        except ValueError:
            continue
        return digits + check
    raise AssertionError


def test_nothing_of_a_card_is_anywhere(emulator: Emulator) -> None:
    """In what is written, printed and logged, whatever goes wrong."""
    scenarios = ["status-500", "html-502", "reset-during", "truncated", "malformed-jwt", "html-200", "wrong-digest"]
    emulator.inject_random_faults(rate=0.5, seed=11, scenarios=scenarios)
    with Canaries() as canaries:
        lines: list[object] = []
        for index in range(24):
            number = canaries.plant(f"card number {index}", card_number())
            code = canaries.plant(f"security code {index}", f"{100 + secrets.randbelow(900)}")
            card = {**GOOD, "number": number, "securityCode": code}
            wrong = (
                {**card, "expirationMonth": code},
                {**card, "securityCode": number},
                {**card, number: code},
                {**card, "number": {"value": number}},
            )
            shape = index % 8
            lines.append({"id": f"o{index}", "card": wrong[shape] if shape < 4 else card})
            lines.append(f'{{"id": "x{index}", "card": {{"number": "{number}", "securityCode": "{code}"')
        put(*lines)
        done = tokenize("--concurrency", "4")
        canaries.search(done.output, "the output")
        canaries.search(TOKENS.read_bytes(), "the file of tokens")
        assert done.exit_code == 1
        kinds = {line.get("error") for line in found().values()}
        assert {"InvalidDataError", "BadRequestError", None} < kinds
        for token in (line["token"] for line in found().values() if "token" in line):
            canaries.search(base64.urlsafe_b64decode(token.split(".")[1] + "=="), "a token")


def test_a_capture_context_for_scripts(emulator: Emulator) -> None:
    done = call("capture-context")
    assert (done.exit_code, done.stderr) == (0, "")
    jwt = done.stdout.strip()
    assert done.stdout == f"{jwt}\n"
    assert call("verify", jwt).exit_code == 0
    chosen = ["--card", "number", "--card", "security_code?", "--bill-to", "firstName", "--amount-details", "currency"]
    done = call("capture-context", *chosen, "--ship-to", "country?", "--json")
    report = json.loads(done.stdout)
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


def test_a_capture_context_for_microform(emulator: Emulator) -> None:
    arguments = ["--target-origin", "https://shop.example.com", "--network", "VISA", "--network", "AMEX"]
    report = json.loads(call("capture-context", *arguments, "--payment-type", "CARD", "--json").stdout)
    assert report["type"].startswith("mf-")
    assert report["client_library"]
    (request,) = [record for record in emulator.requests if record.target == "/microform/v2/sessions"]
    assert json.loads(request.body)["allowedCardNetworks"] == ["VISA", "AMEX"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--card", "nubmer"], 2, "did you mean 'number'?"),
        (["--card", "4111111111111111"], 2, "card has no field of the name that was given"),
        (["--card", "number", "--target-origin", "https://shop.example.com"], 2, "no fields to choose"),
        (["--network", "VISA"], 2, "need --target-origin"),
        (["--environment", "nowhere"], 2, "environment must be one of"),
        (["--host", "https://a.example", "--environment", "test"], 2, "either --host or --environment"),
        (["--target-origin", "http://shop.example.com"], 1, "BadRequestError"),
    ],
)
def test_capture_contexts_that_are_none(emulator: Emulator, arguments: list[str], code: int, words: str) -> None:
    done = call("capture-context", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    assert "4111111111111111" not in done.stderr
