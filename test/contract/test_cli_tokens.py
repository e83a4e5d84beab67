"""``verify`` and ``inspect``: each verdict with its exit code, from wherever a token is read, and no token echoed."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from cybersource_flex import FlexClient
from cybersource_flex.cli.commands import cli
from cybersource_flex.client import fields
from cybersource_flex.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex.cli"]
KEYS = Path(__file__).parents[1] / "vectors" / "keys"


class Round(NamedTuple):
    """The round of the vectors, and the moment it was made at."""

    context: str
    token: str
    jwe: str
    jwk: dict[str, str]
    now: int


@pytest.fixture(scope="module")
def made(vectors: Callable[[str], Any]) -> Round:
    found = vectors("flex_tokens_synthetic.json")
    return Round(
        found["capture_context"]["token"],
        found["tokens_response"]["body"],
        found["tokens_request"]["jwe"],
        found["public_key_response"]["body"],
        found["frozen"]["epoch"],
    )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, made: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the round in files, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CYBERSOURCE_") and name != "CYBERSOURCE_FLEX_REFERENCE":
            monkeypatch.delenv(name)
    Path("context.jwt").write_text(made.context)
    Path("token.jwt").write_text(made.token)
    Path("key.json").write_text(json.dumps(made.jwk))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    done = CliRunner().invoke(cli, list(arguments), input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def verdict(*arguments: str, stdin: str | bytes | None = None) -> tuple[int, dict[str, Any]]:
    done = call("verify", *arguments, "--json", stdin=stdin)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return done.exit_code, found


def encode(tree: object) -> str:
    data = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(token: str, key: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims, signed again."""
    old_header, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    text = f"{encode({**json.loads(old_header), **(header or {})})}.{encode({**json.loads(payload), **claims})}"
    private = load_pem_private_key((KEYS / key).read_bytes(), None)
    return f"{text}.{encode(private.sign(text.encode(), PKCS1v15(), SHA256()))}"  # type: ignore[union-attr, call-arg]


def changed(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{header}.{encode({**claims, 'exp': claims['exp'] + 900})}.{signature}"


TWICE = b'{"a": 1, "a": 2}'
LONG, ONCE = "flex_longterm.key.pem", "flex_onetime.key.pem"


def test_a_context(made: Round) -> None:
    done = call("verify", "context.jwt", "--jwk", "key.json", "--at", str(made.now + 180))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "verified: capture context api-0.1.0, valid for 12 min"
    assert "2026-11-22 12:03:00 UTC (--at), not the current time" in done.stdout
    assert done.stderr == ""


def test_a_token(made: Round) -> None:
    at = str(made.now + 65)
    done = call("verify", "token.jwt", "--context", "context.jwt", "--jwk", "key.json", "--at", at)
    assert done.exit_code == 0
    first = "verified: transient token api-0.1.0, XXXXXXXXXXXX1111, valid for 14 min"
    assert done.stdout.splitlines()[0] == first


@pytest.mark.parametrize(
    ("after", "code", "words"),
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
def test_times(after: int, code: int, words: str, made: Round) -> None:
    done = call("verify", "context.jwt", "--jwk", "key.json", "--at", str(made.now + after))
    assert done.exit_code == code
    assert done.stdout.startswith(words)


def test_leeway(made: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    late = ("context.jwt", "--jwk", "key.json", "--at", str(made.now + 960))
    assert verdict(*late)[0] == 1
    assert verdict(*late, "--leeway", "120")[0] == 0
    monkeypatch.setenv("CYBERSOURCE_LEEWAY", "120")
    assert verdict(*late)[1]["leeway"] == 120
    assert call("verify", *late, "--leeway", "601").exit_code == 2
    assert call("verify", *late, "--leeway", "nan").exit_code == 2


@pytest.mark.parametrize("at", ["1795348860", "2026-11-22T12:01:00Z", "2026-11-22T13:01:00+01:00", "2026-11-22T12:01"])
def test_moments(at: str, made: Round) -> None:
    code, found = verdict("context.jwt", "--jwk", "key.json", "--at", at)
    assert code == 0
    assert found["as_of"] == made.now + 60
    assert not found["as_of_now"]


@pytest.mark.parametrize("at", ["1795348860000", "yesterday", "", "-1", "2026-13-01T00:00:00Z", "9" * 400])
def test_moments_that_are_none(at: str) -> None:
    assert call("verify", "context.jwt", "--jwk", "key.json", f"--at={at}").exit_code == 2


def test_now_is_now(made: Round) -> None:
    code, found = verdict("context.jwt", "--jwk", "key.json")
    assert found["as_of_now"]
    assert (code, found["reason"]) in {(0, None), (1, "ExpiredTokenError"), (1, "TokenNotYetValidError")}


def refusals(made: Round) -> dict[str, tuple[str, str]]:
    """Contexts that are to be refused: the token, and the class of the exception."""
    header, payload, signature = made.context.split(".")
    return {
        "changed": (changed(made.context), "InvalidSignatureError"),
        "one-time key": (forge(made.context, ONCE), "InvalidSignatureError"),
        "unknown kid": (forge(made.context, LONG, {"kid": "zz"}), "UnknownKeyError"),
        "kid as path": (forge(made.context, LONG, {"kid": "../x"}), "UnknownKeyError"),
        "HS256": (forge(made.context, LONG, {"alg": "HS256"}), "UnsupportedAlgorithmError"),
        "own key": (forge(made.context, LONG, {"jwk": {}}), "UnsupportedAlgorithmError"),
        "issuer": (forge(made.context, LONG, iss="Flex"), "InvalidClaimError"),
        "path": (forge(made.context, LONG, flx={"path": "/"}), "InvalidClaimError"),
        "exp as text": (forge(made.context, LONG, exp="1795349700"), "InvalidClaimError"),
        "two parts": (f"{header}.{payload}", "CompactFormError"),
        "cut": (made.context[:-3], "Base64UrlError"),
        "padded": (f"{header}.{payload}.{signature}==", "Base64UrlError"),
        "no JSON": (f"{encode(b'ey')}.{payload}.{signature}", "TokenJsonError"),
        "twice": (f"{encode(TWICE)}.{payload}.{signature}", "DuplicateMemberError"),
        "huge": (f"{header}.{'A' * 70_000}.{signature}", "TokenTooLargeError"),
        "JWE": (made.jwe, "CompactFormError"),
        "empty": ("", "CompactFormError"),
        "word": ("hello", "CompactFormError"),
    }


def test_refusals(made: Round) -> None:
    for name, (token, reason) in refusals(made).items():
        arguments = ("--jwk", "key.json", "--at", str(made.now + 60))
        code, found = verdict(*arguments, stdin=token)
        assert (code, found["verified"], found["reason"]) == (1, False, reason), name
        assert found["what_to_do"], name
        assert found["type"] is None, name
        if reason not in ("ExpiredTokenError", "InvalidClaimError"):
            assert found["expires_at"] is None, f"{name}: not to be believed"
        done = call("verify", *arguments, stdin=token)
        assert done.exit_code == 1, name
        assert done.stdout.startswith("not verified: "), name
        assert f"{reason}:" in done.stdout, name
        assert all(len(line) <= 80 for line in done.stdout.splitlines()), name
        assert not echoed(token, done.output), name


def echoed(token: str, output: str) -> bool:
    joined = re.sub(r"\s", "", output)
    return any(len(part) > 60 and part[:60] in joined for part in token.split("."))


def test_words_for_what_is_wrong(made: Round) -> None:
    at = ("--jwk", "key.json", "--at", str(made.now + 60))
    words = {
        "changed": "changed since it was signed",
        "unknown kid": "wrong key",
        "HS256": "signed with an algorithm that is not accepted",
        "issuer": "signed, but with invalid claims",
        "cut": "not a complete capture context",
        "JWE": "not a capture context",
    }
    for name, text in words.items():
        assert text in call("verify", *at, stdin=refusals(made)[name][0]).stdout.splitlines()[0]


def test_a_token_of_another_context(made: Round) -> None:
    claims = json.loads(base64.urlsafe_b64decode(made.context.split(".")[1] + "=="))
    claims["flx"]["jwk"]["kid"] = "another"
    Path("other.jwt").write_text(forge(made.context, LONG, flx=claims["flx"]))
    arguments = ("token.jwt", "--context", "other.jwt", "--jwk", "key.json", "--at", str(made.now + 60))
    code, found = verdict(*arguments)
    assert (code, found["reason"], found["about"]) == (1, "UnknownKeyError", "transient_token")
    assert found["context"]["type"] == "api-0.1.0"
    assert call("verify", *arguments).stdout.startswith("not verified: created for another capture context")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed, "InvalidSignatureError"),
        (lambda token: forge(token, LONG), "InvalidSignatureError"),
        (lambda token: forge(token, ONCE, type="mf-2.1.0"), "InvalidClaimError"),
        (lambda token: forge(token, ONCE, content={}), "InvalidClaimError"),
        (lambda token: forge(token, ONCE, exp=1795348806), "ExpiredTokenError"),
        (lambda token: forge(token, ONCE, iat=1795349000), "TokenNotYetValidError"),
        (lambda token: token[:-3], "Base64UrlError"),
    ],
)
def test_tokens_refused(change: Callable[[str], str], reason: str, made: Round) -> None:
    arguments = ("--context", "context.jwt", "--jwk", "key.json", "--at", str(made.now + 65))
    code, found = verdict(change(made.token), *arguments)
    assert (code, found["reason"], found["about"]) == (1, reason, "transient_token")


def test_an_expired_context(made: Round) -> None:
    """It serves as long as a token of it can be valid, unless told otherwise."""
    token = forge(made.token, ONCE, iat=made.now + 890, exp=made.now + 1790)
    arguments = (token, "--context", "context.jwt", "--jwk", "key.json", "--at", str(made.now + 1000))
    code, found = verdict(*arguments)
    assert (code, found["context"]["expires_at"]) == (0, made.now + 900)
    assert "expired 100 s ago, which is allowed" in re.sub(r"\s+", " ", call("verify", *arguments).stdout)
    code, found = verdict(*arguments, "--no-context-expired-ok")
    assert (code, found["reason"], found["about"], found["context"]) == (
        1,
        "ExpiredTokenError",
        "capture_context",
        None,
    )
    code, found = verdict(*arguments[:-1], str(made.now + 1900))
    assert (code, found["reason"], found["about"]) == (1, "ExpiredTokenError", "capture_context")


def test_a_forged_context_proves_nothing(made: Round) -> None:
    Path("forged.jwt").write_text(forge(made.context, ONCE))
    code, found = verdict("token.jwt", "--context", "forged.jwt", "--jwk", "key.json", "--at", str(made.now + 60))
    assert (code, found["reason"], found["about"]) == (1, "InvalidSignatureError", "capture_context")


def test_keys_in_files(made: Round) -> None:
    at = ("context.jwt", "--at", str(made.now + 60))
    public = load_pem_private_key((KEYS / LONG).read_bytes(), None).public_key()
    Path("key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    Path("set.json").write_text(json.dumps({"keys": [made.jwk, {**made.jwk, "kid": "zu"}]}))
    Path("other.json").write_text(json.dumps({**made.jwk, "kid": "zu"}))
    for files in (["key.pem"], ["set.json"], ["other.json", "key.json"], ["key.json", "key.json"]):
        code, found = verdict(*at, *(word for file in files for word in ("--jwk", file)))
        assert code == 0, files
        assert found["keys"] == ", ".join(files)
    code, found = verdict(*at, "--jwk", "other.json")
    assert (code, found["reason"]) == (1, "UnknownKeyError")
    assert found["message"] == "the token names the key 'fk', the files have 'zu'"


def test_keys_that_are_none(made: Round) -> None:
    weak = {**made.jwk, "n": made.jwk["n"][:100]}
    contents = {
        "empty": b"",
        "a list of nothing": b"[]",
        "a set of nothing": b'{"keys": []}',
        "no key": b'{"a": 1}',
        "no JSON": b"c4n4ry",
        "private": (KEYS / LONG).read_bytes(),
        "no PEM": b"-----BEGIN PUBLIC KEY-----\nYWJj\n-----END PUBLIC KEY-----\n",
        "weak": json.dumps(weak).encode(),
        "elliptic": b'{"kty": "EC"}',
        "private parts": json.dumps({**made.jwk, "d": "c4n4ry"}).encode(),
        "another by this name": json.dumps([made.jwk, {**made.jwk, "e": "Aw"}]).encode(),
    }
    for name, content in contents.items():
        Path("bad").write_bytes(content)
        done = call("verify", "context.jwt", "--jwk", "bad", "--at", str(made.now))
        assert done.exit_code == 2, name
        assert done.stdout == "", name
        assert done.stderr.startswith("Error: bad: "), name
        assert len(done.stderr.splitlines()) == 1, name
        assert "c4n4ry" not in done.stderr, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["token.jwt", "--jwk", "key.json"], "pass that with --context"),
        (["context.jwt", "--context", "context.jwt"], "is for a transient token"),
        (["context.jwt", "--file", "token.jwt"], "either as argument or with --file"),
        (["--file", "nowhere.jwt"], "does not exist"),
        (["nowhere.jwt"], "there is no file nowhere.jwt"),
        (["token.jwt", "--context", "nowhere.jwt", "--jwk", "key.json"], "there is no file nowhere.jwt"),
        (["token.jwt", "--context", "nothing", "--jwk", "key.json"], "neither the path of a file nor"),
        (["-", "--context", "-", "--jwk", "key.json"], "cannot both"),
        (["context.jwt", "--jwk", "key.json", "--host", "https://a.example"], "either --jwk or a host"),
        (["context.jwt", "--host", "https://a.example", "--environment", "test"], "either --host or"),
        (["context.jwt", "--environment", "prod"], "environment must be one of"),
        (["context.jwt", "--host", "http://a.example"], "loopback"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    done = call("verify", *arguments, stdin=Path("token.jwt").read_text())
    assert done.exit_code == 2
    assert done.stdout == ""
    assert words in done.stderr


def test_the_keys_of_the_report_stand(made: Round) -> None:
    told = {"kind", "type", "reason", "about", "message", "what_to_do", "masked_number", "context", "keys"}
    times = {"issued_at", "expires_at", "expires_in", "as_of", "as_of_now", "leeway"}
    keys = {"verified", "source", "removed", *told, *times}
    at = ("--jwk", "key.json", "--at", str(made.now + 65))
    good = verdict("token.jwt", "--context", "context.jwt", *at)[1]
    assert set(good) == keys
    assert set(verdict("hello", *at)[1]) == keys
    assert good["verified"] is True
    assert (good["kind"], good["type"], good["reason"]) == ("transient_token", "api-0.1.0", None)
    assert (good["issued_at"], good["expires_at"], good["expires_in"]) == (made.now + 5, made.now + 905, 840)
    assert good["masked_number"] == "XXXXXXXXXXXX1111"
    assert good["context"] == {"type": "api-0.1.0", "expires_at": made.now + 900}


class TestAgainstAHost:
    def test_verified(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        with FlexClient.from_env(emulator.environ) as client:
            context = client.create_capture_context(fields(card=["number"]))
            token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
            stored = client.store_capture_context(context)
            sealed = client.store_capture_context(context, "a key for sealing contexts")
        assert verdict(context.jwt, "--host", emulator.url)[0] == 0
        code, found = verdict(context.jwt, "--environment", emulator.url)
        assert (code, found["keys"]) == (0, emulator.url)
        assert verdict(token.jwt, "--context", context.jwt, "--host", emulator.url)[0] == 0
        assert verdict(token.jwt, "--context", stored, "--host", emulator.url)[0] == 0
        done = call("verify", token.jwt, "--context", sealed, "--host", emulator.url)
        assert done.exit_code == 2
        assert "sealed" in done.stderr
        # The address from the environment; credentials are not looked at.
        monkeypatch.setenv("CYBERSOURCE_ENVIRONMENT", emulator.url)
        monkeypatch.setenv("CYBERSOURCE_KEY_ID", "half of the credentials")
        assert verdict(context.jwt)[0] == 0

    def test_another_host(self, emulator: Emulator, made: Round) -> None:
        """It has no such key: the token is at fault, and not the network."""
        code, found = verdict("context.jwt", "--host", emulator.url, "--at", str(made.now + 60))
        assert (code, found["reason"]) == (1, "UnknownKeyError")
        assert found["message"] == f"{emulator.url} has no key 'fk'"

    def test_no_host(self) -> None:
        arguments = ("context.jwt", "--host", "http://127.0.0.1:9")
        code, found = verdict(*arguments)
        assert (code, found["verified"], found["reason"]) == (3, False, "ConnectionFailedError")
        done = call("verify", *arguments)
        assert done.exit_code == 3
        assert done.stdout.startswith("not verified: the key could not be fetched")

    def test_a_host_that_fails(self) -> None:
        with Emulator(scenario="html-200") as broken:
            code, found = verdict("context.jwt", "--host", broken.url)
        assert (code, found["reason"]) == (3, "ResponseDecodingError")


FORMS: dict[str, tuple[Callable[[str], str], str | None]] = {
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


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_tokens_come_in(form: str, made: Round) -> None:
    write, removed = FORMS[form]
    text = write(made.token)
    Path("given").write_bytes(text.encode())
    for arguments, stdin in ((["given"], None), (["--file", "given"], None), (["-"], text), ([], text)):
        done = call("inspect", *arguments, "--json", stdin=stdin)
        found = json.loads(done.stdout)
        assert (done.exit_code, found["kind"]) == (0, "transient_token")
        assert found["source"] == ("given" if arguments and arguments[-1] == "given" else "standard input")
        assert removed is None or removed in found["removed"]
        assert bool(removed) == bool(found["removed"])
    if form != "BOM":
        assert json.loads(call("inspect", text, "--json").stdout)["source"] == "argument"
    at = ("--context", "context.jwt", "--jwk", "key.json", "--at", str(made.now + 60))
    assert verdict(text.removeprefix("\ufeff"), *at)[0] == 0


def test_utf_16(made: Round) -> None:
    assert call("inspect", stdin=made.token.encode("utf-16")).exit_code == 0


def test_two_tokens_are_none() -> None:
    """Where it is not clear which is meant, none is taken."""
    done = call("inspect", json.dumps({"a": "eyJ.eyJ.a", "b": "eyJ.eyJ.b"}))
    assert done.exit_code == 1


def test_inspect_says_that_nothing_is_verified(made: Round) -> None:
    for token in (made.context, made.token, made.jwe, "hello", changed(made.context)):
        done = call("inspect", token)
        assert done.stdout.startswith("NOT VERIFIED: ")
        assert done.stderr == ""
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert json.loads(call("inspect", token, "--json").stdout)["verified"] is False
        assert not echoed(token, done.stdout)


def test_what_inspect_shows(made: Round) -> None:
    shown = re.sub(r"\s+", " ", call("inspect", made.context).stdout)
    for words in (
        "a capture context of the Flex API, api-0.1.0",
        "RS256, key 'fk', signature of 256 bytes (RSA of 2048 bits)",
        "one-time key RSA of 2048 bits, kid '08FaKeOneTimeKeyId0000000000test'",
        "required paymentInformation.card.number, ",
        "optional paymentInformation.card.type, orderInformation.billTo.firstName",
        "2026-11-22 12:15:00 UTC",
        '"n": "zKzdTzpU6QsbS-zuHmHRiprU…U0ItyBbQ (342 characters)"',
    ):
        assert words in shown
    assert "…" not in call("inspect", made.context, "--full").stdout
    assert "card XXXXXXXXXXXX1111, BIN 411111, type 001 (Visa)" in re.sub(
        r"\s+", " ", call("inspect", made.token).stdout
    )
    assert "RSA-OAEP, A256GCM, key '08FaKe" in call("inspect", made.jwe).stdout


@pytest.mark.parametrize(
    ("header", "claims", "kind"),
    [
        ({"alg": "HS256", "kid": "1"}, {"v-c-jwt-version": "2", "request-host": "a.example"}, "request"),
        ({"alg": "RS256", "v-c-merchant-id": "a"}, {"digest": "a"}, "old_request"),
        ({"kid": "zu", "cty": "json+pc"}, {"iss": "https://flex.visa.com"}, "payment_credentials"),
        ({"alg": "RS256"}, {"iss": "Flex/08"}, "transient_token"),
        ({"alg": "RS256"}, {"type": "uc-1.0.0"}, "transient_token"),
        ({"alg": "RS256"}, {"iss": "Flex API"}, "capture_context"),
        ({"alg": "RS256"}, {"iss": "somebody"}, "jws"),
    ],
)
def test_what_signed_tokens_are(header: dict[str, str], claims: dict[str, str], kind: str) -> None:
    found = json.loads(call("inspect", f"{encode(header)}.{encode(claims)}.AAAA", "--json").stdout)
    assert (found["kind"], found["well_formed"]) == (kind, True)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "a"}, "encrypted_card"),
        ({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "a", "iat": 1}, "encrypted_message"),
        ({"alg": "RSA-OAEP-256", "cty": "JWT", "exp": 1}, "encrypted_payment_credentials"),
        ({"alg": "ECDH-ES"}, "jwe"),
    ],
)
def test_what_encrypted_tokens_are(header: dict[str, str], kind: str) -> None:
    done = call("inspect", f"{encode(header)}.AAAA.AAAA.AAAA.AAAA", "--json")
    assert (done.exit_code, json.loads(done.stdout)["kind"]) == (0, kind)


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
        (f"e30.{encode(b'[]')}.AAAA", "TokenJsonError", None),
        (f"e30.{encode(b'{1')}.AAAA", "TokenJsonError", 1),
        (f"e30.{encode(bytes([255]))}.AAAA", "TokenJsonError", 0),
        (f"e30.{encode(b'[' * 40)}.AAAA", "NestingError", 32),
        ("fc1.AAAA.", "CompactFormError", None),
        (f"e30.{'A' * 70000}.AAAA", "TokenTooLargeError", None),
        (f"e30.{encode(TWICE)}.AAAA", "DuplicateMemberError", None),
    ],
)
def test_what_is_malformed(token: str, error: str, position: int | None) -> None:
    done = call("inspect", token, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert not found["well_formed"]
    problem = found["problems"][0]
    assert (problem["error"], problem["position"]) == (error, position)
    assert call("inspect", token).exit_code == 1


def test_refused_before_the_signature(made: Round) -> None:
    shown = call("inspect", forge(made.context, LONG, {"alg": "HS256"}))
    assert shown.exit_code == 0
    assert "UnsupportedAlgorithmError" in shown.stdout


def test_nothing_of_a_stranger_acts_on_the_terminal() -> None:
    claims = {"iss": "Flex/08", "type": "api-\u009b31m", "a\u202eb": "\x1b[2J", "c": ":smile: [red]", "d": "\ud800"}
    token = f"{encode({'alg': '[bold]', 'kid': chr(155)})}.{encode(claims)}.AAAA"
    # Half a surrogate pair is a fault.
    for arguments in ((), ("--full",)):
        done = call("inspect", token, *arguments)
        assert done.exit_code == 1
        assert not re.search("[\x1b\u009b\u202e\ud800]", done.stdout)
        assert "<U+009B>" in done.stdout
        assert ":smile: [red]" in done.stdout
        assert "[bold]" in done.stdout
    assert call("inspect", token, "--json").stdout.isascii()


def test_cards_are_masked() -> None:
    card = {"number": "4111 1111 1111 1111", "securityCode": {"value": "987"}, "cryptogram": "c4n4ry"}
    claims = {"iss": "https://flex.visa.com", "paymentInformation": {"tokenizedCard": card}, "x": 5555555555554444}
    token = f"{encode({'kid': 'zu', 'cty': 'json+pc'})}.{encode(claims)}.AAAA"
    for arguments in ((), ("--full",), ("--json",)):
        shown = call("inspect", token, *arguments).stdout
        assert "411111XXXXXX1111" in shown
        assert "555555XXXXXX4444" in shown
        for secret in ("4111 1111", "987", "c4n4ry", "5555555555554444"):
            assert secret not in shown


def test_times_that_are_none() -> None:
    for value in ("soon", 1e3, -1, True, 10**20, [], None):
        token = f"{encode({'alg': 'RS256'})}.{encode({'iss': 'Flex/08', 'iat': value, 'exp': value})}.AAAA"
        assert call("inspect", token).exit_code == 0
        assert json.loads(call("inspect", token, "--json").stdout)["expires_at"] is None


def test_claims_of_any_shape() -> None:
    for value in (None, 1, "a", [], [[]], {}, [{"data": []}], {"jwk": 1}, {"jwk": {"n": 1}}, {"paymentInformation": 1}):
        for name in ("flx", "ctx", "content", "data", "type", "metadata"):
            for issuer in ("Flex API", "Flex/08", {}):
                token = f"{encode({'alg': value})}.{encode({'iss': issuer, name: value})}.AAAA"
                assert call("inspect", token).exit_code == 0


class TestPublished:
    """What CyberSource and others published."""

    KINDS = ("capture-contexts", "transient-tokens")

    def test_inspect(self, reference: Path) -> None:
        seen = 0
        for folder in self.KINDS:
            for file in sorted((reference / "samples" / folder).glob("*.jwt")):
                done = call("inspect", str(file), "--json")
                found = json.loads(done.stdout)
                assert done.exit_code == 0, file.name
                assert found["kind"] == folder.replace("-", "_").removesuffix("s"), file.name
                assert found["expired"], file.name
                assert found["header"] == json.loads(file.with_suffix(".json").read_text())["header"]
                assert call("inspect", str(file)).exit_code == 0
                seen += 1
        assert seen >= 10

    @pytest.mark.parametrize(
        ("name", "key"),
        [("microform-0.11-3g", "3g"), ("microform-0.11-localhost-3g", "3g"), ("unified-checkout-0.11-zu", "zu")],
    )
    def test_verify(self, name: str, key: str, reference: Path) -> None:
        file = reference / "samples" / "capture-contexts" / f"{name}.jwt"
        issued = json.loads(file.with_suffix(".json").read_text())["payload"]["iat"]
        keys = reference / "samples" / "public-keys"
        for path in (keys / f"{key}.jwk.json", keys / f"{key}.pem"):
            assert verdict(str(file), "--jwk", str(path), "--at", str(issued + 60))[0] == 0
            code, found = verdict(str(file), "--jwk", str(path))
            assert (code, found["reason"]) == (1, "ExpiredTokenError")
        code, found = verdict(str(file), "--jwk", str(keys / "ln.jwk.json"), "--at", str(issued))
        assert (code, found["reason"]) == (1, "UnknownKeyError")
        code, found = verdict(str(file), "--jwk", str(keys / "ln.pem"), "--at", str(issued))
        assert (code, found["reason"]) == (1, "InvalidSignatureError")


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
    def test_verify(self, made: Round) -> None:
        at = ("--jwk", "key.json", "--at", str(made.now + 60))
        done = shell("verify", *at, stdin=made.context)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("verified: ")
        assert "\x1b" not in done.stdout, "no colour in a pipe"
        assert "\x1b[" in shell("verify", *at, stdin=made.context, FORCE_COLOR="1", TERM="xterm").stdout
        assert shell("verify", *at, stdin=changed(made.context)).returncode == 1
        assert shell("verify", *at, "token.jwt").returncode == 2
        assert shell("verify", "context.jwt", "--host", "http://127.0.0.1:9").returncode == 3

    def test_inspect(self, made: Round) -> None:
        done = shell("inspect", stdin=f"Bearer {made.token}\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("NOT VERIFIED")
        assert "\x1b" not in done.stdout
        assert shell("inspect", made.token[:-3]).returncode == 1

    def test_help(self) -> None:
        for command in ("verify", "inspect"):
            assert f"Usage: cybersource-flex {command}" in shell(command, "--help").stdout
