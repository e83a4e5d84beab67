"""``verify`` and ``inspect``: results and exit codes, sources of the token, and that no token is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cybersource_flex import FlexClient
from cybersource_flex.cli.commands import cli
from cybersource_flex.client import fields
from cybersource_flex.emulator import Emulator
from support.keys import KEYS, LONG_TERM, ONE_TIME, private_key
from support.tokens import decode_jwt, decode_part, encode_part, sign_jwt

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex"]


class Vectors(NamedTuple):
    """A capture context, a token of it, the JWE and the key, and the time at which they were created."""

    context: str
    token: str
    jwe: str
    jwk: dict[str, str]
    now: int


@pytest.fixture(scope="module")
def issued(vectors: Callable[[str], Any]) -> Vectors:
    vector = vectors("flex_tokens_synthetic.json")
    return Vectors(
        vector["capture_context"]["token"],
        vector["tokens_response"]["body"],
        vector["tokens_request"]["jwe"],
        vector["public_key_response"]["body"],
        vector["frozen"]["epoch"],
    )


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, issued: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the vectors in files, and an environment without CyberSource variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CYBERSOURCE_") and name != "CYBERSOURCE_FLEX_REFERENCE":
            monkeypatch.delenv(name)
    Path("context.jwt").write_text(issued.context)
    Path("token.jwt").write_text(issued.token)
    Path("key.json").write_text(json.dumps(issued.jwk))


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def verify_json(*arguments: str, stdin: str | bytes | None = None) -> tuple[int, dict[str, Any]]:
    result = call("verify", *arguments, "--json", stdin=stdin)
    report: dict[str, Any] = json.loads(result.stdout) if result.stdout else {}
    return result.exit_code, report


def forge(token: str, key: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with changed claims, signed with ``key``."""
    old_header, old_claims = decode_jwt(token)
    return sign_jwt(key, {**old_header, **(header or {})}, {**old_claims, **claims})


def with_later_expiry(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = decode_part(payload)
    return f"{header}.{encode_part({**claims, 'exp': claims['exp'] + 900})}.{signature}"


TWICE = b'{"a": 1, "a": 2}'


def test_verify_a_context(issued: Vectors) -> None:
    result = call("verify", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + 180))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "verified: capture context api-0.1.0, valid for 12 min"
    assert "2026-11-22 12:03:00 UTC (--at), not the current time" in result.stdout
    assert result.stderr == ""


def test_verify_a_token(issued: Vectors) -> None:
    at = str(issued.now + 65)
    result = call("verify", "token.jwt", "--context", "context.jwt", "--jwk", "key.json", "--at", at)
    assert result.exit_code == 0
    first = "verified: transient token api-0.1.0, XXXXXXXXXXXX1111, valid for 14 min"
    assert result.stdout.splitlines()[0] == first


@pytest.mark.parametrize(
    ("seconds", "code", "message"),
    [
        (-31, 1, "not verified: not valid yet"),
        (-29, 0, "verified: capture context api-0.1.0, valid for 15 min"),
        (899, 0, "verified: capture context api-0.1.0, valid for 1 s"),
        (910, 0, "verified: capture context api-0.1.0, expired 10 s ago, which the leeway of 30 s"),
        (930, 1, "not verified: expired 30 s ago"),
        (900 + 180, 1, "not verified: expired 3 min ago"),
        (900 + 7200, 1, "not verified: expired 2 h ago"),
    ],
)
def test_expiry_and_leeway(seconds: int, code: int, message: str, issued: Vectors) -> None:
    result = call("verify", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + seconds))
    assert result.exit_code == code
    assert result.stdout.startswith(message)


def test_leeway(issued: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    late = ("context.jwt", "--jwk", "key.json", "--at", str(issued.now + 960))
    assert verify_json(*late)[0] == 1
    assert verify_json(*late, "--leeway", "120")[0] == 0
    monkeypatch.setenv("CYBERSOURCE_LEEWAY", "120")
    assert verify_json(*late)[1]["leeway"] == 120
    assert call("verify", *late, "--leeway", "601").exit_code == 2
    assert call("verify", *late, "--leeway", "nan").exit_code == 2


@pytest.mark.parametrize("at", ["1795348860", "2026-11-22T12:01:00Z", "2026-11-22T13:01:00+01:00", "2026-11-22T12:01"])
def test_formats_of_at(at: str, issued: Vectors) -> None:
    code, report = verify_json("context.jwt", "--jwk", "key.json", "--at", at)
    assert code == 0
    assert report["as_of"] == issued.now + 60
    assert not report["as_of_now"]


@pytest.mark.parametrize("at", ["1795348860000", "yesterday", "", "-1", "2026-13-01T00:00:00Z", "9" * 400])
def test_invalid_values_of_at(at: str) -> None:
    assert call("verify", "context.jwt", "--jwk", "key.json", f"--at={at}").exit_code == 2


def test_the_default_time_is_now(issued: Vectors) -> None:
    code, report = verify_json("context.jwt", "--jwk", "key.json")
    assert report["as_of_now"]
    assert (code, report["reason"]) in {(0, None), (1, "ExpiredTokenError"), (1, "TokenNotYetValidError")}


def invalid_contexts(issued: Vectors) -> dict[str, tuple[str, str]]:
    """Contexts that must be rejected, each with the exception class."""
    header, payload, signature = issued.context.split(".")
    return {
        "changed": (with_later_expiry(issued.context), "InvalidSignatureError"),
        "one-time key": (forge(issued.context, ONE_TIME), "InvalidSignatureError"),
        "unknown kid": (forge(issued.context, LONG_TERM, {"kid": "zz"}), "UnknownKeyError"),
        "kid as path": (forge(issued.context, LONG_TERM, {"kid": "../x"}), "UnknownKeyError"),
        "HS256": (forge(issued.context, LONG_TERM, {"alg": "HS256"}), "UnsupportedAlgorithmError"),
        "own key": (forge(issued.context, LONG_TERM, {"jwk": {}}), "UnsupportedAlgorithmError"),
        "issuer": (forge(issued.context, LONG_TERM, iss="Flex"), "InvalidClaimError"),
        "path": (forge(issued.context, LONG_TERM, flx={"path": "/"}), "InvalidClaimError"),
        "exp as string": (forge(issued.context, LONG_TERM, exp="1795349700"), "InvalidClaimError"),
        "two parts": (f"{header}.{payload}", "CompactFormError"),
        "cut": (issued.context[:-3], "Base64UrlError"),
        "padded": (f"{header}.{payload}.{signature}==", "Base64UrlError"),
        "no JSON": (f"{encode_part(b'ey')}.{payload}.{signature}", "TokenJsonError"),
        "twice": (f"{encode_part(TWICE)}.{payload}.{signature}", "DuplicateMemberError"),
        "huge": (f"{header}.{'A' * 70_000}.{signature}", "TokenTooLargeError"),
        "JWE": (issued.jwe, "CompactFormError"),
        "empty": ("", "CompactFormError"),
        "word": ("hello", "CompactFormError"),
    }


def test_invalid_contexts_are_rejected(issued: Vectors) -> None:
    for name, (token, reason) in invalid_contexts(issued).items():
        arguments = ("--jwk", "key.json", "--at", str(issued.now + 60))
        code, report = verify_json(*arguments, stdin=token)
        assert (code, report["verified"], report["reason"]) == (1, False, reason), name
        assert report["what_to_do"], name
        assert report["type"] is None, name
        if reason not in ("ExpiredTokenError", "InvalidClaimError"):
            assert report["expires_at"] is None, f"{name}: claims must not be trusted"
        result = call("verify", *arguments, stdin=token)
        assert result.exit_code == 1, name
        assert result.stdout.startswith("not verified: "), name
        assert f"{reason}:" in result.stdout, name
        assert all(len(line) <= 80 for line in result.stdout.splitlines()), name
        assert not contains_part_of(token, result.output), name


def contains_part_of(token: str, output: str) -> bool:
    joined = re.sub(r"\s", "", output)
    return any(len(part) > 60 and part[:60] in joined for part in token.split("."))


def test_descriptions_of_errors(issued: Vectors) -> None:
    at = ("--jwk", "key.json", "--at", str(issued.now + 60))
    descriptions = {
        "changed": "changed since it was signed",
        "unknown kid": "wrong key",
        "HS256": "signed with an algorithm that is not accepted",
        "issuer": "signed, but with invalid claims",
        "cut": "not a complete capture context",
        "JWE": "not a capture context",
    }
    for name, description in descriptions.items():
        assert description in call("verify", *at, stdin=invalid_contexts(issued)[name][0]).stdout.splitlines()[0]


def test_a_token_of_another_context(issued: Vectors) -> None:
    _, claims = decode_jwt(issued.context)
    claims["flx"]["jwk"]["kid"] = "another"
    Path("other.jwt").write_text(forge(issued.context, LONG_TERM, flx=claims["flx"]))
    arguments = ("token.jwt", "--context", "other.jwt", "--jwk", "key.json", "--at", str(issued.now + 60))
    code, report = verify_json(*arguments)
    assert (code, report["reason"], report["about"]) == (1, "UnknownKeyError", "transient_token")
    assert report["context"]["type"] == "api-0.1.0"
    assert call("verify", *arguments).stdout.startswith("not verified: created for another capture context")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_later_expiry, "InvalidSignatureError"),
        (lambda token: forge(token, LONG_TERM), "InvalidSignatureError"),
        (lambda token: forge(token, ONE_TIME, type="mf-2.1.0"), "InvalidClaimError"),
        (lambda token: forge(token, ONE_TIME, jti=""), "InvalidClaimError"),
        (lambda token: forge(token, ONE_TIME, exp=1795348806), "ExpiredTokenError"),
        (lambda token: forge(token, ONE_TIME, iat=1795349000), "TokenNotYetValidError"),
        (lambda token: token[:-3], "Base64UrlError"),
    ],
)
def test_invalid_tokens_are_rejected(change: Callable[[str], str], reason: str, issued: Vectors) -> None:
    arguments = ("--context", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + 65))
    code, report = verify_json(change(issued.token), *arguments)
    assert (code, report["reason"], report["about"]) == (1, reason, "transient_token")


def test_details_that_differ_from_published_tokens_are_shown(issued: Vectors) -> None:
    arguments = ("--context", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + 65))
    token = forge(issued.token, ONE_TIME, iss="Flex API", jti="short", iat=issued.now + 5.5)
    code, report = verify_json(token, *arguments)
    assert (code, report["verified"], len(report["warnings"])) == (0, True, 3)
    assert report["issued_at"] == issued.now + 5.5
    output = re.sub(r"\s+", " ", call("verify", token, *arguments).stdout)
    assert output.count("unusual") == 3
    assert "iss is not Flex/ and two digits; the token is genuine" in output
    assert verify_json("token.jwt", *arguments)[1]["warnings"] == []


def test_an_expired_context(issued: Vectors) -> None:
    """It is accepted as long as a token of it can be valid, unless --no-context-expired-ok is given."""
    token = forge(issued.token, ONE_TIME, iat=issued.now + 890, exp=issued.now + 1790)
    arguments = (token, "--context", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + 1000))
    code, report = verify_json(*arguments)
    assert (code, report["context"]["expires_at"]) == (0, issued.now + 900)
    assert "expired 100 s ago, which is allowed" in re.sub(r"\s+", " ", call("verify", *arguments).stdout)
    code, report = verify_json(*arguments, "--no-context-expired-ok")
    assert (code, report["reason"], report["about"], report["context"]) == (
        1,
        "ExpiredTokenError",
        "capture_context",
        None,
    )
    code, report = verify_json(*arguments[:-1], str(issued.now + 1900))
    assert (code, report["reason"], report["about"]) == (1, "ExpiredTokenError", "capture_context")


def test_a_forged_context_proves_nothing(issued: Vectors) -> None:
    Path("forged.jwt").write_text(forge(issued.context, ONE_TIME))
    code, report = verify_json(
        "token.jwt", "--context", "forged.jwt", "--jwk", "key.json", "--at", str(issued.now + 60)
    )
    assert (code, report["reason"], report["about"]) == (1, "InvalidSignatureError", "capture_context")


def test_keys_in_files(issued: Vectors) -> None:
    at = ("context.jwt", "--at", str(issued.now + 60))
    public = private_key(LONG_TERM).public_key()
    Path("key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    Path("set.json").write_text(json.dumps({"keys": [issued.jwk, {**issued.jwk, "kid": "zu"}]}))
    Path("other.json").write_text(json.dumps({**issued.jwk, "kid": "zu"}))
    for files in (["key.pem"], ["set.json"], ["other.json", "key.json"], ["key.json", "key.json"]):
        code, report = verify_json(*at, *(word for file in files for word in ("--jwk", file)))
        assert code == 0, files
        assert report["keys"] == ", ".join(files)
    code, report = verify_json(*at, "--jwk", "other.json")
    assert (code, report["reason"]) == (1, "UnknownKeyError")
    assert report["message"] == "the token names the key 'fk', but the files contain 'zu'"


def test_invalid_key_files(issued: Vectors) -> None:
    weak = {**issued.jwk, "n": issued.jwk["n"][:100]}
    contents = {
        "empty": b"",
        "a list of nothing": b"[]",
        "a set of nothing": b'{"keys": []}',
        "no key": b'{"a": 1}',
        "no JSON": b"c4n4ry",
        "private": (KEYS / f"{LONG_TERM}.key.pem").read_bytes(),
        "no PEM": b"-----BEGIN PUBLIC KEY-----\nYWJj\n-----END PUBLIC KEY-----\n",
        "weak": json.dumps(weak).encode(),
        "elliptic": b'{"kty": "EC"}',
        "private parts": json.dumps({**issued.jwk, "d": "c4n4ry"}).encode(),
        "another by this name": json.dumps([issued.jwk, {**issued.jwk, "e": "Aw"}]).encode(),
    }
    for name, content in contents.items():
        Path("bad").write_bytes(content)
        result = call("verify", "context.jwt", "--jwk", "bad", "--at", str(issued.now))
        assert result.exit_code == 2, name
        assert result.stdout == "", name
        assert result.stderr.startswith("Error: bad: "), name
        assert len(result.stderr.splitlines()) == 1, name
        assert "c4n4ry" not in result.stderr, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token.jwt", "--jwk", "key.json"], "pass the context with --context"),
        (["context.jwt", "--context", "context.jwt"], "is for a transient token"),
        (["context.jwt", "--file", "token.jwt"], "either as argument or with --file"),
        (["--file", "nowhere.jwt"], "does not exist"),
        (["nowhere.jwt"], "there is no file nowhere.jwt"),
        (["token.jwt", "--context", "nowhere.jwt", "--jwk", "key.json"], "there is no file nowhere.jwt"),
        (
            ["token.jwt", "--context", "nothing", "--jwk", "key.json"],
            "must be a capture context, or the path of a file",
        ),
        (["-", "--context", "-", "--jwk", "key.json"], "cannot both"),
        (["context.jwt", "--jwk", "key.json", "--host", "https://a.example"], "either --jwk or a host"),
        (["context.jwt", "--host", "https://a.example", "--environment", "test"], "either --host or"),
        (["context.jwt", "--environment", "prod"], "environment must be one of"),
        (["context.jwt", "--host", "http://a.example"], "loopback"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    result = call("verify", *arguments, stdin=Path("token.jwt").read_text())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr


def test_the_keys_of_the_json_report(issued: Vectors) -> None:
    details = {
        "kind",
        "type",
        "reason",
        "about",
        "message",
        "what_to_do",
        "masked_number",
        "context",
        "keys",
        "warnings",
    }
    times = {"issued_at", "expires_at", "expires_in", "as_of", "as_of_now", "leeway"}
    keys = {"verified", "source", "removed", *details, *times}
    at = ("--jwk", "key.json", "--at", str(issued.now + 65))
    good = verify_json("token.jwt", "--context", "context.jwt", *at)[1]
    assert set(good) == keys
    assert set(verify_json("hello", *at)[1]) == keys
    assert good["verified"] is True
    assert (good["kind"], good["type"], good["reason"]) == ("transient_token", "api-0.1.0", None)
    assert (good["issued_at"], good["expires_at"], good["expires_in"]) == (issued.now + 5, issued.now + 905, 840)
    assert good["masked_number"] == "XXXXXXXXXXXX1111"
    assert good["context"] == {"type": "api-0.1.0", "expires_at": issued.now + 900}


class TestAgainstAHost:
    def test_verified(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        with FlexClient.from_env(emulator.environ) as client:
            context = client.create_capture_context(fields(card=["number"]))
            token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
            stored = client.store_capture_context(context)
            authenticated = client.store_capture_context(context, "a key for stored contexts")
        assert verify_json(context.jwt, "--host", emulator.url)[0] == 0
        code, report = verify_json(context.jwt, "--environment", emulator.url)
        assert (code, report["keys"]) == (0, emulator.url)
        assert verify_json(token.jwt, "--context", context.jwt, "--host", emulator.url)[0] == 0
        assert verify_json(token.jwt, "--context", stored, "--host", emulator.url)[0] == 0
        result = call("verify", token.jwt, "--context", authenticated, "--host", emulator.url)
        assert result.exit_code == 2
        assert "has a MAC" in result.stderr
        # The host comes from the environment; credentials are not read.
        monkeypatch.setenv("CYBERSOURCE_ENVIRONMENT", emulator.url)
        monkeypatch.setenv("CYBERSOURCE_KEY_ID", "half of the credentials")
        assert verify_json(context.jwt)[0] == 0

    def test_another_host(self, emulator: Emulator, issued: Vectors) -> None:
        """The host has no such key: this is an error of the token, not of the network."""
        code, report = verify_json("context.jwt", "--host", emulator.url, "--at", str(issued.now + 60))
        assert (code, report["reason"]) == (1, "UnknownKeyError")
        assert report["message"] == f"{emulator.url} has no key 'fk'"

    def test_no_host(self) -> None:
        arguments = ("context.jwt", "--host", "http://127.0.0.1:9")
        code, report = verify_json(*arguments)
        assert (code, report["verified"], report["reason"]) == (3, False, "ConnectionFailedError")
        result = call("verify", *arguments)
        assert result.exit_code == 3
        assert result.stdout.startswith("not verified: the key could not be fetched")

    def test_a_host_that_fails(self) -> None:
        with Emulator(scenario="html-200") as broken:
            code, report = verify_json("context.jwt", "--host", broken.url)
        assert (code, report["reason"]) == (5, "ResponseDecodingError")


SURROUNDINGS: dict[str, tuple[Callable[[str], str], str | None]] = {
    "bare": (lambda token: token, None),
    "line end": (lambda token: f"{token}\r\n", None),
    "BOM": (lambda token: f"\ufeff{token}", None),
    "quoted": (lambda token: f'"{token}"', "the quotation marks around it"),
    "single": (lambda token: f"'{token}'\n", "the quotation marks around it"),
    "comma": (lambda token: f'"{token}",', "',' after it"),
    "bearer": (lambda token: f"Bearer {token}", "'Bearer' before it"),
    "header": (lambda token: f"authorization: bearer {token}", "the header name before it"),
    "path": (lambda token: f"https://api.cybersource.com/up/v1/payment-details/{token}", "the URL around it"),
    "query": (lambda token: f"https://shop.example/pay?order=1&token={token}#x", "the URL around it"),
    "percent": (lambda token: "?token=" + token.replace(".", "%2E"), "the URL around it"),
    "variable": (lambda token: f"TOKEN={token}", "the URL around it"),
    "JSON": (
        lambda token: json.dumps({"tokenInformation": {"transientTokenJwt": token}, "id": "1"}),
        "the JSON around its member transientTokenJwt",
    ),
    "lines": (lambda token: "\n".join(re.findall(".{1,76}", token)), "white space inside it"),
}


@pytest.mark.parametrize("form", SURROUNDINGS)
def test_tokens_are_extracted_from_their_surroundings(form: str, issued: Vectors) -> None:
    write, removed = SURROUNDINGS[form]
    content = write(issued.token)
    Path("input").write_bytes(content.encode())
    for arguments, stdin in ((["input"], None), (["--file", "input"], None), (["-"], content), ([], content)):
        result = call("inspect", *arguments, "--json", stdin=stdin)
        report = json.loads(result.stdout)
        assert (result.exit_code, report["kind"]) == (0, "transient_token")
        assert report["source"] == ("input" if arguments and arguments[-1] == "input" else "standard input")
        assert removed is None or removed in report["removed"]
        assert bool(removed) == bool(report["removed"])
    if form != "BOM":
        assert json.loads(call("inspect", content, "--json").stdout)["source"] == "argument"
    at = ("--context", "context.jwt", "--jwk", "key.json", "--at", str(issued.now + 60))
    assert verify_json(content.removeprefix("\ufeff"), *at)[0] == 0


def test_utf_16(issued: Vectors) -> None:
    assert call("inspect", stdin=issued.token.encode("utf-16")).exit_code == 0


def test_input_with_two_tokens_is_malformed() -> None:
    """It is ambiguous, so neither is used."""
    result = call("inspect", json.dumps({"a": "eyJ.eyJ.a", "b": "eyJ.eyJ.b"}))
    assert result.exit_code == 1


def test_inspect_reports_that_nothing_is_verified(issued: Vectors) -> None:
    for token in (issued.context, issued.token, issued.jwe, "hello", with_later_expiry(issued.context)):
        result = call("inspect", token)
        assert result.stdout.startswith("NOT VERIFIED: ")
        assert result.stderr == ""
        assert all(len(line) <= 80 for line in result.stdout.splitlines())
        assert json.loads(call("inspect", token, "--json").stdout)["verified"] is False
        assert not contains_part_of(token, result.stdout)


def test_output_of_inspect(issued: Vectors) -> None:
    output = re.sub(r"\s+", " ", call("inspect", issued.context).stdout)
    for words in (
        "a capture context of the Flex API, api-0.1.0",
        "RS256, key 'fk', signature of 256 bytes (RSA of 2048 bits)",
        "one-time key RSA of 2048 bits, kid '08FaKeOneTimeKeyId0000000000test'",
        "required paymentInformation.card.number, ",
        "optional paymentInformation.card.type, orderInformation.billTo.firstName",
        "2026-11-22 12:15:00 UTC",
        '"n": "zKzdTzpU6QsbS-zuHmHRiprU…U0ItyBbQ (342 characters)"',
    ):
        assert words in output
    assert "…" not in call("inspect", issued.context, "--full").stdout
    assert "card XXXXXXXXXXXX1111, BIN 411111, type 001 (Visa)" in re.sub(
        r"\s+", " ", call("inspect", issued.token).stdout
    )
    assert "RSA-OAEP, A256GCM, key '08FaKe" in call("inspect", issued.jwe).stdout


@pytest.mark.parametrize(
    ("header", "claims", "kind"),
    [
        ({"alg": "HS256", "kid": "1"}, {"v-c-jwt-version": "2", "request-host": "a.example"}, "request"),
        ({"alg": "RS256", "v-c-merchant-id": "a"}, {"digest": "a"}, "old_request"),
        ({"kid": "zu", "cty": "json+pc"}, {"iss": "https://flex.visa.com"}, "payment_credentials"),
        ({"alg": "RS256"}, {"iss": "Flex/08"}, "transient_token"),
        ({"alg": "RS256"}, {"type": "uc-1.0.0"}, "transient_token"),
        ({"alg": "RS256"}, {"iss": "Flex API"}, "capture_context"),
        ({"alg": "RS256"}, {"iss": "unknown"}, "jws"),
    ],
)
def test_kinds_of_signed_tokens(header: dict[str, str], claims: dict[str, str], kind: str) -> None:
    report = json.loads(call("inspect", f"{encode_part(header)}.{encode_part(claims)}.AAAA", "--json").stdout)
    assert (report["kind"], report["well_formed"]) == (kind, True)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "a"}, "encrypted_card"),
        ({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "a", "iat": 1}, "encrypted_message"),
        ({"alg": "RSA-OAEP-256", "cty": "JWT", "exp": 1}, "encrypted_payment_credentials"),
        ({"alg": "ECDH-ES"}, "jwe"),
    ],
)
def test_kinds_of_encrypted_tokens(header: dict[str, str], kind: str) -> None:
    result = call("inspect", f"{encode_part(header)}.AAAA.AAAA.AAAA.AAAA", "--json")
    assert (result.exit_code, json.loads(result.stdout)["kind"]) == (0, kind)


@pytest.mark.parametrize(
    ("token", "error", "position"),
    [
        ("a", "CompactFormError", None),
        ("e30.e30", "CompactFormError", None),
        ("e30.e30.", "CompactFormError", None),
        ("e30.e30.AAAA.AAAA", "CompactFormError", None),
        ("e30.e!0.AAAA", "Base64UrlError", 1),
        ("e30.e30.AAAA=", "Base64UrlError", 4),
        ("e30.e30.AAAAA", "Base64UrlError", 5),
        ("e30.e30.AB", "Base64UrlError", 1),
        ("e30.e30=.AAAA", "Base64UrlError", 3),
        (f"e30.{encode_part(b'[]')}.AAAA", "TokenJsonError", None),
        (f"e30.{encode_part(b'{1')}.AAAA", "TokenJsonError", 1),
        (f"e30.{encode_part(bytes([255]))}.AAAA", "TokenJsonError", 0),
        (f"e30.{encode_part(b'[' * 40)}.AAAA", "NestingError", 32),
        ("fc1.AAAA.", "CompactFormError", None),
        (f"e30.{'A' * 70000}.AAAA", "TokenTooLargeError", None),
        (f"e30.{encode_part(TWICE)}.AAAA", "DuplicateMemberError", None),
    ],
)
def test_malformed_tokens(token: str, error: str, position: int | None) -> None:
    result = call("inspect", token, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["well_formed"]
    problem = report["problems"][0]
    assert (problem["error"], problem["position"]) == (error, position)
    assert call("inspect", token).exit_code == 1


def test_tokens_that_verify_rejects_before_the_signature(issued: Vectors) -> None:
    output = call("inspect", forge(issued.context, LONG_TERM, {"alg": "HS256"}))
    assert output.exit_code == 0
    assert "UnsupportedAlgorithmError" in output.stdout


def test_control_characters_are_not_printed() -> None:
    claims = {"iss": "Flex/08", "type": "api-\u009b31m", "a\u202eb": "\x1b[2J", "c": ":smile: [red]", "d": "\ud800"}
    token = f"{encode_part({'alg': '[bold]', 'kid': chr(155)})}.{encode_part(claims)}.AAAA"
    # A lone surrogate is malformed.
    for arguments in ((), ("--full",)):
        result = call("inspect", token, *arguments)
        assert result.exit_code == 1
        assert not re.search("[\x1b\u009b\u202e\ud800]", result.stdout)
        assert "<U+009B>" in result.stdout
        assert ":smile: [red]" in result.stdout
        assert "[bold]" in result.stdout
    assert call("inspect", token, "--json").stdout.isascii()


def test_cards_are_masked() -> None:
    card = {"number": "4111 1111 1111 1111", "securityCode": {"value": "987"}, "cryptogram": "c4n4ry"}
    claims = {"iss": "https://flex.visa.com", "paymentInformation": {"tokenizedCard": card}, "x": 5555555555554444}
    token = f"{encode_part({'kid': 'zu', 'cty': 'json+pc'})}.{encode_part(claims)}.AAAA"
    for arguments in ((), ("--full",), ("--json",)):
        output = call("inspect", token, *arguments).stdout
        assert "411111XXXXXX1111" in output
        assert "555555XXXXXX4444" in output
        for secret in ("4111 1111", "987", "c4n4ry", "5555555555554444"):
            assert secret not in output


def test_invalid_timestamps() -> None:
    for value in ("soon", 1e300, -1, -0.5, True, 10**20, [], None):
        token = f"{encode_part({'alg': 'RS256'})}.{encode_part({'iss': 'Flex/08', 'iat': value, 'exp': value})}.AAAA"
        assert call("inspect", token).exit_code == 0
        assert json.loads(call("inspect", token, "--json").stdout)["expires_at"] is None


def test_claims_of_any_shape() -> None:
    for value in (None, 1, "a", [], [[]], {}, [{"data": []}], {"jwk": 1}, {"jwk": {"n": 1}}, {"paymentInformation": 1}):
        for name in ("flx", "ctx", "content", "data", "type", "metadata"):
            for issuer in ("Flex API", "Flex/08", {}):
                token = f"{encode_part({'alg': value})}.{encode_part({'iss': issuer, name: value})}.AAAA"
                assert call("inspect", token).exit_code == 0


class TestPublished:
    """Tokens that CyberSource and others published."""

    KINDS = ("capture-contexts", "transient-tokens")

    def test_inspect(self, reference: Path) -> None:
        count = 0
        for folder in self.KINDS:
            for file in sorted((reference / "samples" / folder).glob("*.jwt")):
                result = call("inspect", str(file), "--json")
                report = json.loads(result.stdout)
                assert result.exit_code == 0, file.name
                assert report["kind"] == folder.replace("-", "_").removesuffix("s"), file.name
                assert report["expired"], file.name
                assert report["header"] == json.loads(file.with_suffix(".json").read_text())["header"]
                assert call("inspect", str(file)).exit_code == 0
                count += 1
        assert count >= 10

    @pytest.mark.parametrize(
        ("name", "key"),
        [("microform-0.11-3g", "3g"), ("microform-0.11-localhost-3g", "3g"), ("unified-checkout-0.11-zu", "zu")],
    )
    def test_verify(self, name: str, key: str, reference: Path) -> None:
        file = reference / "samples" / "capture-contexts" / f"{name}.jwt"
        issued_at = json.loads(file.with_suffix(".json").read_text())["payload"]["iat"]
        keys = reference / "samples" / "public-keys"
        for path in (keys / f"{key}.jwk.json", keys / f"{key}.pem"):
            assert verify_json(str(file), "--jwk", str(path), "--at", str(issued_at + 60))[0] == 0
            code, report = verify_json(str(file), "--jwk", str(path))
            assert (code, report["reason"]) == (1, "ExpiredTokenError")
        code, report = verify_json(str(file), "--jwk", str(keys / "ln.jwk.json"), "--at", str(issued_at))
        assert (code, report["reason"]) == (1, "UnknownKeyError")
        code, report = verify_json(str(file), "--jwk", str(keys / "ln.pem"), "--at", str(issued_at))
        assert (code, report["reason"]) == (1, "InvalidSignatureError")


def shell(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


class TestAsProcesses:
    def test_verify(self, issued: Vectors) -> None:
        at = ("--jwk", "key.json", "--at", str(issued.now + 60))
        result = shell("verify", *at, stdin=issued.context)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("verified: ")
        assert "\x1b" not in result.stdout, "no colour in a pipe"
        assert "\x1b[" in shell("verify", *at, stdin=issued.context, FORCE_COLOR="1", TERM="xterm").stdout
        assert shell("verify", *at, stdin=with_later_expiry(issued.context)).returncode == 1
        assert shell("verify", *at, "token.jwt").returncode == 2
        assert shell("verify", "context.jwt", "--host", "http://127.0.0.1:9").returncode == 3

    def test_inspect(self, issued: Vectors) -> None:
        result = shell("inspect", stdin=f"Bearer {issued.token}\n")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("NOT VERIFIED")
        assert "\x1b" not in result.stdout
        assert shell("inspect", issued.token[:-3]).returncode == 1

    def test_help(self) -> None:
        for command in ("verify", "inspect"):
            assert f"Usage: python -m cybersource_flex {command}" in shell(command, "--help").stdout
