"""Project Wycheproof's JOSE test vectors. Each test prints how many vectors were tested."""

from __future__ import annotations

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
from support.encoding import base64url_decode

# These are invalid only because of `use` or `key_ops` of the key. They are accepted on purpose, because the service
# publishes its signature keys with `"use": "enc"`.
INVALID_KEY_USE = {("signature", 353), ("signature", 355)}


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    folder = reference / "wycheproof"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED against Wycheproof: no folder {folder}")
    return folder


def cases(folder: Path, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((folder / f"json_web_{kind}_test.json").read_text("utf-8"))["testGroups"]:
        for case in group["tests"]:
            yield group, case


# Vector file, id of the case, whether it is valid, and whether it was accepted.
Result = tuple[str, int, bool, bool]


def accepts(check: Any) -> bool:
    """Whether ``check`` succeeds. Other exceptions than `TokenError` propagate and fail the test."""
    try:
        check()
    except errors.TokenError:
        return False
    return True


def assert_correct(kind: str, results: list[Result], request: pytest.FixtureRequest, description: str) -> None:
    """Check the results, and print how many there are."""
    wrong = [f"{file} {number}" for file, number, valid, accepted in results if valid != accepted]
    valid = sum(valid for _, _, valid, _ in results)
    invalid = len(results) - valid
    with request.getfixturevalue("capsys").disabled():
        print(f"\nWycheproof {kind}, {description}: {valid} valid, {invalid} invalid, {len(wrong)} wrong")  # noqa: T201
    assert wrong == []


def rsa_keys(group: dict[str, Any]) -> dict[str, Any] | None:
    key = group.get("public") or group.get("private") or {}
    if len(key.get("keys", ())) == 1:
        key = key["keys"][0]
    return key if key.get("kty") == "RSA" else None


def test_jws(folder: Path, request: pytest.FixtureRequest) -> None:
    results: list[Result] = []
    skipped = set()
    for kind in ("signature", "crypto", "key"):
        for group, case in cases(folder, kind):
            key = rsa_keys(group)
            if key is None or (kind != "key" and key.get("alg", "RS256") != "RS256") or "jws" not in case:
                continue
            token = case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"])
            valid = case["result"] == "valid"

            def check(key: dict[str, Any] = key, token: str = token) -> None:
                PublicKey(key).verify(split_jws(token, "token"), "token")

            if (kind, case["tcId"]) in INVALID_KEY_USE:
                skipped.add((kind, case["tcId"]))
                assert accepts(check), "remove this case from INVALID_KEY_USE"
                continue
            accepts(lambda token=token: parse_jws(token, "token"))
            results.append((kind, case["tcId"], valid, accepts(check)))
    assert skipped == INVALID_KEY_USE
    assert len(results) > 200
    assert_correct("JWS", results, request, f"RS256 without {len(skipped)} cases of key use")


def test_jws_with_other_algorithms(folder: Path, request: pytest.FixtureRequest) -> None:
    rsa = next(filter(None, (rsa_keys(group) for group, _ in cases(folder, "signature"))))
    results: list[Result] = []
    for group, case in cases(folder, "signature"):
        key = group.get("public") or group.get("private") or {}
        if key.get("alg", "RS256") == "RS256" or not isinstance(case["jws"], str):
            continue

        rsa_key = key if key.get("kty") == "RSA" else rsa

        def check(jwk: Any = rsa_key, token: str = case["jws"]) -> None:
            PublicKey(jwk).verify(split_jws(token, "token"), "token")

        results.append(("signature", case["tcId"], False, accepts(check)))
    assert_correct("JWS", results, request, "other algorithms")


def private_key(jwk: dict[str, Any]) -> RSAPrivateKey:
    """The private key in a JWK. Its `use` is ignored."""
    d, p, q, dp, dq, qi, e, n = (
        int.from_bytes(base64url_decode(jwk[name]), "big") for name in ("d", "p", "q", "dp", "dq", "qi", "e", "n")
    )
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n)).private_key()


def decrypt(token: str, key: RSAPrivateKey, alg: str) -> bytes:
    return decrypt_jwe(parse_jwe(token, "token"), key, alg, "token")


@pytest.mark.parametrize("alg", ["RSA-OAEP", "RSA-OAEP-256"])
def test_jwe(alg: str, folder: Path, request: pytest.FixtureRequest) -> None:
    supported: list[Result] = []
    unsupported: list[Result] = []
    for group, case in cases(folder, "encryption"):
        private = group.get("private") or {}
        if private.get("alg") != alg:
            continue
        key = private_key(private)
        plaintexts: list[bytes] = []

        def check(key: RSAPrivateKey = key, case: Any = case, plaintexts: list[bytes] = plaintexts) -> None:
            plaintexts.append(decrypt(case["jwe"], key, alg))

        valid = case["result"] == "valid"
        accepted = accepts(check)
        if accepted:
            assert plaintexts == [bytes.fromhex(case["pt"])]
        if case["enc"] == "A256GCM" or not valid:
            supported.append(("encryption", case["tcId"], valid, accepted))
        else:
            unsupported.append(("encryption", case["tcId"], False, accepted))
    assert sum(valid for _, _, valid, _ in supported) >= 1
    assert_correct("JWE", supported, request, f"{alg} with A256GCM")
    assert_correct("JWE", unsupported, request, f"{alg} with another content encryption")


@pytest.mark.parametrize("alg", ["RSA-OAEP", "RSA-OAEP-256"])
def test_jwe_with_other_key_encryption(alg: str, folder: Path, request: pytest.FixtureRequest) -> None:
    all_cases = list(cases(folder, "encryption"))
    other_key = next(private_key(group["private"]) for group, _ in all_cases if group["private"].get("kty") == "RSA")
    results: list[Result] = []
    for group, case in all_cases:
        private = group["private"]
        if private.get("alg") == alg:
            continue
        key = private_key(private) if private.get("kty") == "RSA" else other_key
        accepted = accepts(lambda key=key, token=case["jwe"]: decrypt(token, key, alg))
        results.append(("encryption", case["tcId"], False, accepted))
    assert len(results) > 100
    assert_correct("JWE", results, request, f"other algorithms than {alg}")


def test_jws_with_appended_characters(folder: Path, request: pytest.FixtureRequest) -> None:
    results: list[Result] = []
    for group, case in cases(folder, "signature"):
        key = rsa_keys(group)
        if key is None or key.get("alg") != "RS256" or case["result"] != "valid":
            continue
        for index in range(3):
            for end in ("=", "==", "===", "\n", " ", "A=", "."):
                parts = case["jws"].split(".")
                parts[index] += end
                changed = ".".join(parts) + ("" if index < 2 or end == "." else "\0")
                results.append(
                    (
                        "signature",
                        case["tcId"],
                        False,
                        accepts(lambda k=key, t=changed: PublicKey(k).verify(split_jws(t, "token"), "token")),
                    )
                )
    assert results
    assert_correct("JWS", results, request, "valid cases with appended characters")


def test_keys(folder: Path, request: pytest.FixtureRequest) -> None:
    results: list[Result] = []
    for group, case in cases(folder, "key"):
        key = group.get("public") or {}
        if group["comment"] in ("jws_rsa_roca_key", "keysize_too_small", "exponentOne", "wrong_kty"):
            results.append(("key", case["tcId"], False, accepts(lambda key=key: PublicKey(key))))
    assert len(results) == 4
    assert_correct("JWK", results, request, "weak keys and other key types")
