"""Project Wycheproof's JOSE vectors against the strict path of this package: as many as apply, and how many that is."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers

from cybersource_flex import errors
from cybersource_flex.jose import PublicKey
from cybersource_flex.jose.compact import parse_jwe, parse_jws, split_jws
from cybersource_flex.jose.jwe import decrypt_jwe

# What is wrong in these is `use` or `key_ops` of the key. That is not looked at, on purpose: the service publishes the
# keys it signs with as `"use": "enc"`.
NOT_ABOUT_THE_TOKEN = {("signature", 353), ("signature", 355)}


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    found = reference / "wycheproof"
    if not found.is_dir():
        pytest.skip(f"NOT TESTED against Wycheproof: no folder {found}")
    return found


def cases(folder: Path, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((folder / f"json_web_{kind}_test.json").read_text("utf-8"))["testGroups"]:
        for case in group["tests"]:
            yield group, case


def outcome(check: Any) -> bool:
    """Whether it was accepted; anything but a documented refusal breaks the test."""
    try:
        check()
    except errors.TokenError:
        return False
    return True


def judge(kind: str, found: list[tuple[str, int, bool, bool]], request: pytest.FixtureRequest, what: str) -> None:
    """Compare, and say how many there were where everyone can see it."""
    wrong = [f"{source} {number}" for source, number, valid, accepted in found if valid != accepted]
    valid = sum(valid for _, _, valid, _ in found)
    text = (
        f"Wycheproof {kind}, {what}: {valid} valid accepted, {len(found) - valid} invalid refused, {len(wrong)} wrong"
    )
    with request.getfixturevalue("capsys").disabled():
        print(f"\n{text}")  # noqa: T201
    assert wrong == []


def rsa_keys(group: dict[str, Any]) -> dict[str, Any] | None:
    key = group.get("public") or group.get("private") or {}
    if len(key.get("keys", ())) == 1:
        key = key["keys"][0]
    return key if key.get("kty") == "RSA" else None


def test_jws(folder: Path, request: pytest.FixtureRequest) -> None:
    found, left_out, whole = [], set(), 0
    for kind in ("signature", "crypto", "key"):
        for group, case in cases(folder, kind):
            key = rsa_keys(group)
            if key is None or (kind != "key" and key.get("alg", "RS256") != "RS256") or "jws" not in case:
                continue
            token = case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"])
            valid = case["result"] == "valid"

            def check(key: dict[str, Any] = key, token: str = token) -> None:
                PublicKey(key).verify(split_jws(token, "token"), "token")

            if (kind, case["tcId"]) in NOT_ABOUT_THE_TOKEN:
                left_out.add((kind, case["tcId"]))
                assert outcome(check), "no longer accepted: it can be counted"
                continue
            whole += outcome(lambda token=token: parse_jws(token, "token"))
            found.append((kind, case["tcId"], valid, outcome(check)))
    assert left_out == NOT_ABOUT_THE_TOKEN
    assert len(found) > 200
    judge("JWS", found, request, f"RS256 ({len(left_out)} about a key's use left out)")


def test_no_other_algorithm_is_accepted(folder: Path, request: pytest.FixtureRequest) -> None:
    rsa = next(filter(None, (rsa_keys(group) for group, _ in cases(folder, "signature"))))
    found = []
    for group, case in cases(folder, "signature"):
        key = group.get("public") or group.get("private") or {}
        if key.get("alg", "RS256") == "RS256" or not isinstance(case["jws"], str):
            continue

        own = key if key.get("kty") == "RSA" else rsa

        def check(jwk: Any = own, token: str = case["jws"]) -> None:
            PublicKey(jwk).verify(split_jws(token, "token"), "token")

        found.append(("signature", case["tcId"], False, outcome(check)))
    judge("JWS", found, request, "of other algorithms")


def private_key(jwk: dict[str, Any]) -> RSAPrivateKey:
    """The private key in a JWK. What it says about its use is not looked at."""
    d, p, q, dp, dq, qi, e, n = (
        int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big")
        for name in ("d", "p", "q", "dp", "dq", "qi", "e", "n")
    )
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n)).private_key()


def decrypted(token: str, key: RSAPrivateKey, alg: str) -> bytes:
    return decrypt_jwe(parse_jwe(token, "token"), key, alg, "token")


@pytest.mark.parametrize("alg", ["RSA-OAEP", "RSA-OAEP-256"])
def test_jwe(alg: str, folder: Path, request: pytest.FixtureRequest) -> None:
    applying, others = [], []
    for group, case in cases(folder, "encryption"):
        private = group.get("private") or {}
        if private.get("alg") != alg:
            continue
        key = private_key(private)
        plaintexts: list[bytes] = []

        def check(key: RSAPrivateKey = key, case: Any = case, plaintexts: list[bytes] = plaintexts) -> None:
            plaintexts.append(decrypted(case["jwe"], key, alg))

        valid = case["result"] == "valid"
        accepted = outcome(check)
        if accepted:
            assert plaintexts == [bytes.fromhex(case["pt"])]
        if case["enc"] == "A256GCM" or not valid:
            applying.append(("encryption", case["tcId"], valid, accepted))
        else:
            others.append(("encryption", case["tcId"], False, accepted))
    assert sum(valid for _, _, valid, _ in applying) >= 1
    judge("JWE", applying, request, f"{alg} with A256GCM")
    judge("JWE", others, request, f"{alg} with another content encryption")


@pytest.mark.parametrize("alg", ["RSA-OAEP", "RSA-OAEP-256"])
def test_no_other_key_encryption_is_accepted(alg: str, folder: Path, request: pytest.FixtureRequest) -> None:
    everything = list(cases(folder, "encryption"))
    another = next(private_key(group["private"]) for group, _ in everything if group["private"].get("kty") == "RSA")
    found = []
    for group, case in everything:
        private = group["private"]
        if private.get("alg") == alg:
            continue
        key = private_key(private) if private.get("kty") == "RSA" else another
        accepted = outcome(lambda key=key, token=case["jwe"]: decrypted(token, key, alg))
        found.append(("encryption", case["tcId"], False, accepted))
    assert len(found) > 100
    judge("JWE", found, request, f"of other algorithms than {alg}")


def test_every_letter_of_padding_is_refused(folder: Path, request: pytest.FixtureRequest) -> None:
    found = []
    for group, case in cases(folder, "signature"):
        key = rsa_keys(group)
        if key is None or key.get("alg") != "RS256" or case["result"] != "valid":
            continue
        for index in range(3):
            for end in ("=", "==", "===", "\n", " ", "A=", "."):
                parts = case["jws"].split(".")
                parts[index] += end
                spoiled = ".".join(parts) + ("" if index < 2 or end == "." else "\0")
                found.append(
                    (
                        "signature",
                        case["tcId"],
                        False,
                        outcome(lambda k=key, t=spoiled: PublicKey(k).verify(split_jws(t, "token"), "token")),
                    )
                )
    assert found
    judge("JWS", found, request, "valid ones with padding and the like added")


def test_keys(folder: Path, request: pytest.FixtureRequest) -> None:
    found = []
    for group, case in cases(folder, "key"):
        key = group.get("public") or {}
        if group["comment"] in ("jws_rsa_roca_key", "keysize_too_small", "exponentOne", "wrong_kty"):
            found.append(("key", case["tcId"], False, outcome(lambda key=key: PublicKey(key))))
    assert len(found) == 4
    judge("JWK", found, request, "weak or foreign keys")
