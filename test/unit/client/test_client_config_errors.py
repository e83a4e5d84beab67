"""Tables of invalid configurations with their exact error messages, none of which contains a secret.

``{keys}`` is the folder of the test vectors' keys and certificates, ``{files}`` one with generated files.
"""

from __future__ import annotations

import base64
import datetime
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cybersource_flex import FlexClient
from cybersource_flex.auth import BearerToken, HttpSignature, JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.errors import ConfigurationError
from cybersource_flex.transport import Tls
from support.certificates import certificate_pem, key_pem, pkcs12_file, self_signed_certificate
from support.keys import MERCHANT_ID, MERCHANT_KEY_ID, P12_PASSWORD, PEM_PASSWORD, RESPONSE_MLE_KEY_ID
from support.paths import KEYS

# The canaries: none of these may be in an error.
SECRET = base64.b64encode(b"c4n4ry-of-32-bytes-in-the-secret").decode()
TOKEN = "c4n4ry-token.of.oauth"
CANARY = "c4n4ry-passw0rd"

SHARED = {
    "CYBERSOURCE_MERCHANT_ID": MERCHANT_ID,
    "CYBERSOURCE_KEY_ID": "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
    "CYBERSOURCE_SECRET_KEY": SECRET,
}
P12 = {
    "CYBERSOURCE_AUTH": "jwt_p12",
    "CYBERSOURCE_MERCHANT_ID": MERCHANT_ID,
    "CYBERSOURCE_P12_PATH": "{keys}/merchant.p12",
    "CYBERSOURCE_P12_PASSWORD": P12_PASSWORD,
}
OFFICIAL = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": MERCHANT_ID,
    "run_environment": "apitest.cybersource.com",
    "merchant_keyid": "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
    "merchant_secretkey": SECRET,
}
OFFICIAL_P12 = {
    "authentication_type": "jwt",
    "merchantid": MERCHANT_ID,
    "run_environment": "apitest.cybersource.com",
    "keys_directory": "{keys}",
    "key_file_name": "merchant",
    "key_password": P12_PASSWORD,
}
RESPONSE = {"enableResponseMleGlobally": True, "responseMlePrivateKeyFilePath": "{keys}/response_mle.p12"}
CLIENT_CERT = {"enable_client_cert": "True", "client_cert_dir": "{files}", "ssl_client_cert": "client.crt.pem"}
PROXY = {"use_proxy": True, "proxy_address": "http://proxy.example", "proxy_username": "me", "proxy_password": CANARY}


class InvalidConfig(NamedTuple):
    """A row: the valid configuration, its changes (None removes a key), and the error message."""

    name: str
    base: Mapping[str, Any]
    changes: Mapping[str, Any]
    message: str


def env(**values: str | None) -> dict[str, str | None]:
    return {f"CYBERSOURCE_{name}": value for name, value in values.items()}


ENVIRONMENT = [
    InvalidConfig(
        "nothing at all",
        {},
        {},
        "CYBERSOURCE_AUTH=jwt_shared_secret requires variables that are not set: CYBERSOURCE_MERCHANT_ID, "
        "CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY (or CYBERSOURCE_SECRET_KEY_FILE)",
    ),
    InvalidConfig(
        "no secret",
        SHARED,
        env(SECRET_KEY=""),
        "CYBERSOURCE_AUTH=jwt_shared_secret requires variables that are not set: CYBERSOURCE_SECRET_KEY (or "
        "CYBERSOURCE_SECRET_KEY_FILE)",
    ),
    InvalidConfig(
        "unknown auth",
        SHARED,
        env(AUTH="jwt-shared-secret"),
        "CYBERSOURCE_AUTH must be one of jwt_shared_secret, jwt_p12, http_signature, bearer; did you mean "
        "jwt_shared_secret?",
    ),
    InvalidConfig(
        "auth of another world",
        SHARED,
        env(AUTH="kerberos"),
        "CYBERSOURCE_AUTH must be one of jwt_shared_secret, jwt_p12, http_signature, bearer",
    ),
    InvalidConfig(
        "bad base64",
        SHARED,
        env(SECRET_KEY="c4n4ry*not*base64!!"),
        "CYBERSOURCE_SECRET_KEY is not base64 (letters, digits, '+', '/', and '=' at the end); expected the "
        "string that the Business Center shows, unchanged",
    ),
    InvalidConfig(
        "url-safe base64",
        SHARED,
        env(SECRET_KEY="c4n4ry-_" * 5 + "AAA="),
        "CYBERSOURCE_SECRET_KEY is not base64 (letters, digits, '+', '/', and '=' at the end); expected the "
        "string that the Business Center shows, unchanged",
    ),
    InvalidConfig(
        "half a secret",
        SHARED,
        env(SECRET_KEY="YzRuNHJ5"),
        "CYBERSOURCE_SECRET_KEY is too short: 6 bytes after decoding, expected 32. Was it copied completely?",
    ),
    InvalidConfig(
        "key id with a line break",
        SHARED,
        env(KEY_ID="a\nb"),
        "CYBERSOURCE_KEY_ID contains white space, quotation marks or other characters that are not "
        "allowed in an id, or is longer than 255 characters",
    ),
    InvalidConfig(
        "unknown environment",
        SHARED,
        env(ENVIRONMENT="sandbox"),
        "CYBERSOURCE_ENVIRONMENT must be one of 'test', 'production', 'production-india', "
        "'test-saudi-arabia', 'production-saudi-arabia', or a host such as 'https://apitest.cybersource.com'; "
        "did you mean 'test'?",
    ),
    InvalidConfig(
        "production by http",
        SHARED,
        env(ENVIRONMENT="http://api.cybersource.com"),
        "CYBERSOURCE_ENVIRONMENT 'api.cybersource.com' must use https://; http:// is accepted only "
        "for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    InvalidConfig(
        "host with a path",
        SHARED,
        env(ENVIRONMENT="https://api.cybersource.com/flex"),
        "CYBERSOURCE_ENVIRONMENT has a path, query or fragment; expected a "
        "host such as 'https://apitest.cybersource.com'",
    ),
    InvalidConfig(
        "host with a password",
        SHARED,
        env(ENVIRONMENT=f"https://me:{CANARY}@api.cybersource.com"),
        "CYBERSOURCE_ENVIRONMENT contains a user name or password; expected a host such as "
        "'https://apitest.cybersource.com'",
    ),
    InvalidConfig(
        "intermediate host by http",
        SHARED,
        env(INTERMEDIATE_HOST="http://gateway.example"),
        "CYBERSOURCE_INTERMEDIATE_HOST 'gateway.example' must use https://; http:// is accepted only "
        "for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    InvalidConfig(
        "claim format with an unknown name",
        SHARED,
        env(JWT_CLAIM_FORMAT="digest_algoritm=sha-256"),
        "CYBERSOURCE_JWT_CLAIM_FORMAT contains 'digest_algoritm'; did you mean 'digest_algorithm'?",
    ),
    InvalidConfig(
        "claim format with an unknown variant",
        SHARED,
        env(JWT_CLAIM_FORMAT="method_case=lower,digest_algorithm=sha256"),
        "digest_algorithm of CYBERSOURCE_JWT_CLAIM_FORMAT must be 'SHA-256' or 'sha-256'",
    ),
    InvalidConfig(
        "claim format without a name",
        SHARED,
        env(JWT_CLAIM_FORMAT="lower"),
        "CYBERSOURCE_JWT_CLAIM_FORMAT contains an unknown name; there are method_case, digest_algorithm_claim, "
        "digest_algorithm, response_mle_claim, resource_path",
    ),
    InvalidConfig(
        "algorithm of the other kind",
        SHARED,
        env(JWT_ALGORITHM="RS256"),
        "CYBERSOURCE_JWT_ALGORITHM must be one of HS256, HS384, HS512 for JwtSharedSecret",
    ),
    InvalidConfig(
        "algorithm none",
        P12,
        env(JWT_ALGORITHM="none"),
        "CYBERSOURCE_JWT_ALGORITHM must be one of RS256, RS384, RS512, PS256, PS384, PS512 for JwtP12",
    ),
    InvalidConfig(
        "misspelled variable",
        SHARED,
        env(PORTFOLO_ID="acme"),
        "there is no variable CYBERSOURCE_PORTFOLO_ID; did you mean CYBERSOURCE_PORTFOLIO_ID?",
    ),
    InvalidConfig(
        "underscore too few",
        SHARED,
        env(MERCHANTID="acme"),
        "there is no variable CYBERSOURCE_MERCHANTID; did you mean CYBERSOURCE_MERCHANT_ID?",
    ),
    InvalidConfig(
        "lower case",
        SHARED,
        {"cybersource_portfolio_id": "acme"},
        "there is no variable cybersource_portfolio_id; did you mean CYBERSOURCE_PORTFOLIO_ID?",
    ),
    InvalidConfig(
        "secret with p12",
        P12,
        env(SECRET_KEY=SECRET),
        "CYBERSOURCE_SECRET_KEY is set, but CYBERSOURCE_AUTH is jwt_p12; it is only used with jwt_shared_secret "
        "and http_signature",
    ),
    InvalidConfig(
        "p12 with a secret",
        SHARED,
        env(P12_PATH="{keys}/merchant.p12"),
        "CYBERSOURCE_P12_PATH is set, but CYBERSOURCE_AUTH is not set, which means jwt_shared_secret; it is "
        "only used with jwt_p12",
    ),
    InvalidConfig(
        "token with http signature",
        SHARED,
        env(AUTH="http_signature", ACCESS_TOKEN=TOKEN),
        "CYBERSOURCE_ACCESS_TOKEN is set, but CYBERSOURCE_AUTH is http_signature; it is only used with bearer",
    ),
    InvalidConfig(
        "no token",
        {},
        env(AUTH="bearer"),
        "CYBERSOURCE_AUTH=bearer requires variables that are not set: CYBERSOURCE_ACCESS_TOKEN (or "
        "CYBERSOURCE_ACCESS_TOKEN_FILE)",
    ),
    InvalidConfig(
        "token with blanks",
        {},
        env(AUTH="bearer", ACCESS_TOKEN=f"{CANARY} {TOKEN}"),
        "CYBERSOURCE_ACCESS_TOKEN contains characters that are not allowed; expected letters, digits and -._~+/, and = "
        "only at the end",
    ),
    InvalidConfig(
        "secret twice",
        SHARED,
        env(SECRET_KEY_FILE="{files}/empty"),
        "CYBERSOURCE_SECRET_KEY and CYBERSOURCE_SECRET_KEY_FILE are both set; set only one",
    ),
    InvalidConfig(
        "secret file missing",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/none"),
        "CYBERSOURCE_SECRET_KEY_FILE: cannot read '{files}/none': No such file or directory",
    ),
    InvalidConfig(
        "secret file empty",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/empty"),
        "CYBERSOURCE_SECRET_KEY_FILE: the file '{files}/empty' is empty",
    ),
    InvalidConfig(
        "secret file binary",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/garbage"),
        "CYBERSOURCE_SECRET_KEY_FILE: the file '{files}/garbage' is not a text file in UTF-8, or in UTF-16 with a byte "
        "order mark",
    ),
    InvalidConfig(
        "secret instead of its file",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE=f"{CANARY}\n"),
        "CYBERSOURCE_SECRET_KEY_FILE must be the path of a file, not its content",
    ),
    InvalidConfig(
        "p12 missing",
        P12,
        env(P12_PATH="{files}/none.p12"),
        "CYBERSOURCE_P12_PATH: cannot read '{files}/none.p12': No such file or directory",
    ),
    InvalidConfig(
        "p12 is a directory",
        P12,
        env(P12_PATH="{files}"),
        "CYBERSOURCE_P12_PATH: cannot read '{files}': Is a directory",
    ),
    InvalidConfig("p12 is empty", P12, env(P12_PATH="{files}/empty"), "CYBERSOURCE_P12_PATH is empty"),
    InvalidConfig(
        "p12 is garbage",
        P12,
        env(P12_PATH="{files}/garbage"),
        "CYBERSOURCE_P12_PATH is not a PKCS #12 (.p12, .pfx) file",
    ),
    InvalidConfig(
        "pem instead of p12",
        P12,
        env(P12_PATH="{keys}/merchant.key.pem"),
        "CYBERSOURCE_P12_PATH is not a PKCS #12 (.p12, .pfx) file: it is a PEM file",
    ),
    InvalidConfig(
        "content instead of p12",
        P12,
        env(P12_PATH=f"-----BEGIN PRIVATE KEY----- {CANARY}"),
        "CYBERSOURCE_P12_PATH must be the path of a file, not its content",
    ),
    InvalidConfig(
        "p12 without password",
        P12,
        env(P12_PASSWORD=None),
        "CYBERSOURCE_AUTH=jwt_p12 requires variables that are not set: CYBERSOURCE_P12_PASSWORD (or "
        "CYBERSOURCE_P12_PASSWORD_FILE)",
    ),
    InvalidConfig(
        "p12 password wrong",
        P12,
        env(P12_PASSWORD=CANARY),
        "CYBERSOURCE_P12_PATH: the password is wrong, or the file is damaged",
    ),
    InvalidConfig(
        "p12 of another merchant",
        P12,
        env(MERCHANT_ID="someone_else"),
        "CYBERSOURCE_P12_PATH contains no certificate with CN 'someone_else'; the file contains 'acme_flex_test_001', "
        "'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    InvalidConfig(
        "p12 of the merchant, with a meta key",
        P12,
        env(PORTFOLIO_ID="acme_flex_portfolio"),
        "CYBERSOURCE_P12_PATH contains no certificate with CN 'acme_flex_portfolio'; the file contains "
        "'acme_flex_test_001', 'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    InvalidConfig(
        "p12 expired",
        P12,
        env(P12_PATH="{files}/expired.p12"),
        "CYBERSOURCE_P12_PATH: the certificate 'acme_flex_test_001' expired on {ended}",
    ),
    InvalidConfig(
        "p12 not yet valid",
        P12,
        env(P12_PATH="{files}/future.p12"),
        "CYBERSOURCE_P12_PATH: the certificate 'acme_flex_test_001' is not valid before {begins}",
    ),
    InvalidConfig(
        "p12 without a key id",
        P12,
        env(P12_PATH="{files}/no_serial.p12"),
        "CYBERSOURCE_P12_PATH: the subject of the certificate 'acme_flex_test_001' has no key id; expected "
        "exactly one serialNumber attribute",
    ),
    InvalidConfig(
        "p12 with an EC key",
        P12,
        env(P12_PATH="{files}/ec.p12"),
        "CYBERSOURCE_P12_PATH: the private key must be an RSA key",
    ),
    InvalidConfig(
        "p12 with a short key",
        P12,
        env(P12_PATH="{files}/short.p12"),
        "CYBERSOURCE_P12_PATH: the RSA key has 1024 bits; expected at least 2048",
    ),
    InvalidConfig(
        "mle with http signature",
        SHARED,
        env(AUTH="http_signature", MLE_RESPONSE_KEY="{keys}/response_mle.p12"),
        "CYBERSOURCE_MLE_RESPONSE_KEY is set, but CYBERSOURCE_AUTH is http_signature; it is only used with "
        "jwt_shared_secret and jwt_p12",
    ),
    InvalidConfig(
        "nothing to encrypt to",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS is set without CYBERSOURCE_MLE_REQUEST_CERTIFICATE, which it requires",
    ),
    InvalidConfig(
        "nothing to encrypt",
        SHARED,
        env(MLE_REQUEST_CERTIFICATE="{keys}/sjc.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE is set without CYBERSOURCE_MLE_ENCRYPT_REQUESTS, which it requires",
    ),
    InvalidConfig(
        "misspelled operation",
        P12,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_contxt"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS names the operation 'generate_capture_contxt', which does not "
        "exist; did you mean 'generate_capture_context'?",
    ),
    InvalidConfig(
        "operation that is not signed",
        P12,
        env(MLE_ENCRYPT_REQUESTS="create_transient_token"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS names the operation 'create_transient_token', which cannot be encrypted, "
        "because it is not signed",
    ),
    InvalidConfig(
        "certificate to encrypt to of another name",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context", MLE_REQUEST_CERTIFICATE="{keys}/merchant.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE contains no certificate with CN 'CyberSource_SJC_US'; the file contains "
        "'acme_flex_test_001'",
    ),
    InvalidConfig(
        "certificate to encrypt to is expired",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context", MLE_REQUEST_CERTIFICATE="{files}/sjc_expired.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE: the certificate 'CyberSource_SJC_US' expired on {ended}",
    ),
    InvalidConfig(
        "response kid without key",
        SHARED,
        env(MLE_RESPONSE_KID=RESPONSE_MLE_KEY_ID),
        "CYBERSOURCE_MLE_RESPONSE_KID is set without CYBERSOURCE_MLE_RESPONSE_KEY, which it requires",
    ),
    InvalidConfig(
        "response key without kid",
        SHARED,
        env(MLE_RESPONSE_KEY="{keys}/response_mle.key.pem"),
        "CYBERSOURCE_MLE_RESPONSE_KID is missing; expected the id of the response key, or a P12 file and the "
        "merchant_id of the certificate in the file",
    ),
    InvalidConfig(
        "response key missing",
        SHARED,
        env(MLE_RESPONSE_KEY="{files}/none.pem", MLE_RESPONSE_KID=RESPONSE_MLE_KEY_ID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: cannot read '{files}/none.pem': No such file or directory",
    ),
    InvalidConfig(
        "response key encrypted, no password",
        SHARED,
        env(MLE_RESPONSE_KEY="{keys}/response_mle.key.encrypted.pem", MLE_RESPONSE_KID=RESPONSE_MLE_KEY_ID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: the key is encrypted and needs a password",
    ),
    InvalidConfig(
        "response key encrypted, wrong password",
        SHARED,
        env(
            MLE_RESPONSE_KEY="{keys}/response_mle.key.encrypted.pem",
            MLE_RESPONSE_KID=RESPONSE_MLE_KEY_ID,
            MLE_RESPONSE_KEY_PASSWORD=CANARY,
        ),
        "CYBERSOURCE_MLE_RESPONSE_KEY contains no valid private key, or the password is wrong",
    ),
    InvalidConfig(
        "response key is EC",
        SHARED,
        env(MLE_RESPONSE_KEY="{files}/ec.key.pem", MLE_RESPONSE_KID=RESPONSE_MLE_KEY_ID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: the private key must be an RSA key",
    ),
    InvalidConfig(
        "response key of another merchant",
        {**SHARED, "CYBERSOURCE_MERCHANT_ID": "someone_else"},
        env(MLE_RESPONSE_KEY="{keys}/response_mle.p12", MLE_RESPONSE_KEY_PASSWORD=P12_PASSWORD),
        "CYBERSOURCE_MLE_RESPONSE_KEY contains no certificate with CN 'someone_else'; the file contains "
        "'acme_flex_test_001', 'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    InvalidConfig(
        "ca file missing",
        SHARED,
        env(CA_FILE="{files}/none.pem"),
        "CYBERSOURCE_CA_FILE '{files}/none.pem' cannot be read: No such file or directory",
    ),
    InvalidConfig(
        "ca file is a key",
        SHARED,
        env(CA_FILE="{keys}/merchant.key.pem"),
        "CYBERSOURCE_CA_FILE '{keys}/merchant.key.pem' contains no certificate in PEM form (-----BEGIN ...-----)",
    ),
    InvalidConfig(
        "client key alone",
        SHARED,
        env(CLIENT_KEY="{files}/client.key.pem"),
        "CYBERSOURCE_CLIENT_KEY is set without CYBERSOURCE_CLIENT_CERTIFICATE, which it requires",
    ),
    InvalidConfig(
        "client key of another certificate",
        SHARED,
        env(CLIENT_CERTIFICATE="{files}/client.crt.pem", CLIENT_KEY="{keys}/merchant.key.pem"),
        "CYBERSOURCE_CLIENT_KEY '{keys}/merchant.key.pem' has a key that does not belong to the client certificate",
    ),
    InvalidConfig(
        "client key password wrong",
        SHARED,
        env(
            CLIENT_CERTIFICATE="{keys}/response_mle.crt.pem",
            CLIENT_KEY="{keys}/response_mle.key.encrypted.pem",
            CLIENT_KEY_PASSWORD=CANARY,
        ),
        "CYBERSOURCE_CLIENT_KEY_PASSWORD is wrong for the key in client_key '{keys}/response_mle.key.encrypted.pem'",
    ),
    InvalidConfig(
        "proxy by socks",
        SHARED,
        env(PROXY=f"socks5://me:{CANARY}@proxy.example:1080"),
        "CYBERSOURCE_PROXY is a SOCKS proxy, which is not supported; expected 'http://host:port' or "
        "'https://host:port', with 'user:password@' before the host if the proxy requires credentials",
    ),
    InvalidConfig(
        "proxy with a path",
        SHARED,
        env(PROXY=f"http://me:{CANARY}/x@proxy.example:8080"),
        "CYBERSOURCE_PROXY is not a valid URL; expected 'http://host:port' or 'https://host:port',"
        " with 'user:password@' before the host if the proxy requires credentials",
    ),
    InvalidConfig(
        "proxy without a scheme",
        SHARED,
        env(PROXY=f"me:{CANARY}@proxy.example:8080"),
        "CYBERSOURCE_PROXY does not begin with http:// or https://; expected 'http://host:port' or "
        "'https://host:port', with 'user:password@' before the host if the proxy requires credentials",
    ),
    InvalidConfig(
        "timeout is a word",
        SHARED,
        env(READ_TIMEOUT="soon"),
        "CYBERSOURCE_READ_TIMEOUT must be a number of seconds, for example 5 or 2.5",
    ),
    InvalidConfig(
        "timeout is not finite",
        SHARED,
        env(CONNECT_TIMEOUT="inf"),
        "CYBERSOURCE_CONNECT_TIMEOUT must be a number of seconds, for example 5 or 2.5",
    ),
    InvalidConfig(
        "timeout is zero",
        SHARED,
        env(CONNECT_TIMEOUT="0"),
        "CYBERSOURCE_CONNECT_TIMEOUT must be a positive number of seconds, at most 31536000",
    ),
    InvalidConfig(
        "leeway too large", SHARED, env(LEEWAY="601"), "CYBERSOURCE_LEEWAY must be a number of seconds from 0 to 600"
    ),
    InvalidConfig(
        "user agent with a line break",
        SHARED,
        env(USER_AGENT_SUFFIX="shop/1\r\nx: y"),
        "CYBERSOURCE_USER_AGENT_SUFFIX must be words of printable ASCII with one space between them, at most "
        "200 characters, for example 'shop/1.2'",
    ),
]

DICTIONARY = [
    InvalidConfig(
        "unknown key",
        OFFICIAL,
        {"merchantId": MERCHANT_ID},
        "the merchant configuration has an unknown key 'merchantId'; did you mean 'merchantid'?",
    ),
    InvalidConfig(
        "key of another world",
        OFFICIAL,
        {"sslmode": "require"},
        "the merchant configuration has an unknown key 'sslmode'",
    ),
    InvalidConfig(
        "no scheme",
        OFFICIAL,
        {"authentication_type": None},
        "authentication_type is missing: it selects how requests are signed",
    ),
    InvalidConfig(
        "unknown scheme",
        OFFICIAL,
        {"authentication_type": "Basic"},
        "authentication_type must be HTTP_Signature, JWT or OAUTH",
    ),
    InvalidConfig(
        "mutual tls alone",
        OFFICIAL,
        {"authentication_type": "MUTUAL_AUTH"},
        "authentication_type MUTUAL_AUTH is refused: it sends no credentials with a request, and CyberSource "
        "documents it for the OAuth token endpoint only; use JWT, with enable_client_cert for a client "
        "certificate",
    ),
    InvalidConfig(
        "unknown kind of key", OFFICIAL, {"jwt_key_type": "PEM"}, "jwt_key_type must be P12 or SHARED_SECRET"
    ),
    InvalidConfig(
        "claim format of another type",
        OFFICIAL,
        {"claim_format": "lower"},
        "claim_format must be a JwtClaimFormat, not str",
    ),
    InvalidConfig(
        "claim format with an unhashable variant",
        OFFICIAL,
        {"claim_format": {"method_case": []}},
        "method_case of claim_format must be 'upper' or 'lower'",
    ),
    InvalidConfig("no host", OFFICIAL, {"run_environment": ""}, "run_environment is missing: it names the host"),
    InvalidConfig(
        "old constant",
        OFFICIAL,
        {"run_environment": "CyberSource.Environment.SANDBOX"},
        "run_environment 'CyberSource.Environment.SANDBOX' is not a host; did you mean 'apitest.cybersource.com'?",
    ),
    InvalidConfig(
        "production by http",
        OFFICIAL,
        {"run_environment": "http://api.cybersource.com"},
        "run_environment 'api.cybersource.com' must use https://; http:// is accepted only "
        "for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    InvalidConfig("no merchant", OFFICIAL, {"merchantid": None}, "merchantid is missing: it names the merchant"),
    InvalidConfig(
        "merchant by the wrong name",
        OFFICIAL,
        {"merchantid": None, "merchant_id": MERCHANT_ID},
        "merchantid is missing: it names the merchant; the key is not called merchant_id",
    ),
    InvalidConfig(
        "two merchants",
        OFFICIAL,
        {"merchant_id": "someone_else"},
        "merchantid and merchant_id are both set and differ; remove merchant_id",
    ),
    InvalidConfig(
        "bad base64",
        OFFICIAL,
        {"merchant_secretkey": "c4n4ry*not*base64!!"},
        "merchant_secretkey is not base64 (letters, digits, '+', '/', and '=' at the end); expected the string "
        "that the Business Center shows, unchanged",
    ),
    InvalidConfig(
        "secret as bytes",
        OFFICIAL,
        {"merchant_secretkey": SECRET.encode()},
        "merchant_secretkey must be a string, not bytes",
    ),
    InvalidConfig("no portfolio", OFFICIAL, {"use_metakey": True}, "portfolio_id is missing: use_metakey is on"),
    InvalidConfig(
        "false as string",
        OFFICIAL,
        {"use_metakey": "false", "portfolio_id": "acme"},
        "use_metakey is the string 'false', which the official SDK may treat as True; use a boolean",
    ),
    InvalidConfig("maybe", OFFICIAL, {"use_metakey": "perhaps"}, "use_metakey must be True or False"),
    InvalidConfig(
        "no token", OFFICIAL, {"authentication_type": "OAuth"}, "access_token is missing: authentication_type is OAUTH"
    ),
    InvalidConfig(
        "p12 missing",
        OFFICIAL_P12,
        {"key_file_name": "missing"},
        "key_file_name: cannot read '{keys}/missing.p12': No such file or directory",
    ),
    InvalidConfig(
        "p12 with its ending",
        OFFICIAL_P12,
        {"key_file_name": "merchant.p12"},
        "key_file_name: cannot read '{keys}/merchant.p12.p12': No such file or directory",
    ),
    InvalidConfig(
        "p12 password is the merchant id",
        OFFICIAL_P12,
        {"key_password": None},
        "key_file_name: the password is wrong, or the file is damaged",
    ),
    InvalidConfig(
        "p12 password wrong",
        OFFICIAL_P12,
        {"key_password": CANARY},
        "key_file_name: the password is wrong, or the file is damaged",
    ),
    InvalidConfig(
        "p12 expired",
        OFFICIAL_P12,
        {"keys_directory": "{files}", "key_file_name": "expired"},
        "key_file_name: the certificate 'acme_flex_test_001' expired on {ended}",
    ),
    InvalidConfig(
        "headers of one's own",
        OFFICIAL,
        {"default_headers": {"X-Key": CANARY}},
        "default_headers is refused: requests would be sent without them; a custom signer can return additional "
        "headers",
    ),
    InvalidConfig(
        "no verification",
        OFFICIAL,
        {"ssl_verify": False},
        "ssl_verify False is refused: an attacker on the network could read and change all traffic; if a proxy "
        "replaces certificates, pass its CA as tls=Tls(ca_file=...); for a test host on a private network, "
        "pass tls=Tls(insecure_skip_verification=True)",
    ),
    InvalidConfig(
        "no verification, as string",
        OFFICIAL,
        {"ssl_verify": "False"},
        "ssl_verify is the string 'False', which the official SDK may treat as True; use a boolean",
    ),
    InvalidConfig(
        "client certificate without key", OFFICIAL, CLIENT_CERT, "private_key is missing: enable_client_cert is on"
    ),
    InvalidConfig(
        "client certificate missing",
        OFFICIAL,
        {**CLIENT_CERT, "private_key": "none.pem"},
        "private_key '{files}/none.pem' cannot be read: No such file or directory",
    ),
    InvalidConfig(
        "proxy without a scheme",
        OFFICIAL,
        {**PROXY, "proxy_address": f"me:{CANARY}@proxy.example"},
        "proxy_address must begin with http:// or https://",
    ),
    InvalidConfig(
        "proxy without an address",
        OFFICIAL,
        {**PROXY, "proxy_address": None},
        "proxy_address is missing: use_proxy is on",
    ),
    InvalidConfig("proxy port is a word", OFFICIAL, {**PROXY, "proxy_port": "http"}, "proxy_port must be a number"),
    InvalidConfig(
        "proxy port twice",
        OFFICIAL,
        {**PROXY, "proxy_address": "http://proxy.example:1", "proxy_port": 80},
        "proxy_address contains a port, but proxy_port is set too; set only one",
    ),
    InvalidConfig(
        "proxy password alone",
        OFFICIAL,
        {**PROXY, "proxy_username": None},
        "proxy_password is set without proxy_username; set both",
    ),
    InvalidConfig(
        "proxy user twice",
        OFFICIAL,
        {**PROXY, "proxy_address": f"http://me:{CANARY}@proxy.example"},
        "proxy_address contains a user name, but proxy_username is set too; set only one",
    ),
    InvalidConfig(
        "mle and http signature",
        {**OFFICIAL, "authentication_type": "HTTP_Signature"},
        RESPONSE,
        "message-level encryption needs authentication_type JWT",
    ),
    InvalidConfig(
        "mle for all and http signature",
        {**OFFICIAL, "authentication_type": "HTTP_Signature"},
        {"enableRequestMLEForOptionalApisGlobally": True},
        "enableRequestMLEForOptionalApisGlobally needs authentication_type JWT",
    ),
    InvalidConfig(
        "mle for all, in two ways",
        OFFICIAL,
        {"enableRequestMLEForOptionalApisGlobally": True, "useMLEGlobally": False},
        "enableRequestMLEForOptionalApisGlobally and useMLEGlobally are both set and differ; remove useMLEGlobally",
    ),
    *(
        InvalidConfig(f"{name} is a word", OFFICIAL, {name: "perhaps"}, f"{name} must be True or False")
        for name in (
            "enableRequestMLEForOptionalApisGlobally",
            "useMLEGlobally",
            "disableRequestMLEForMandatoryApisGlobally",
            "enableResponseMleGlobally",
        )
    ),
    InvalidConfig(
        "mle map is a list",
        OFFICIAL,
        {"mapToControlMLEonAPI": ["generate_capture_context"]},
        "mapToControlMLEonAPI must be a dictionary, not list",
    ),
    InvalidConfig(
        "mle map with a typo",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_contxt": True}},
        "mapToControlMLEonAPI names 'generate_capture_contxt'; did you mean 'generate_capture_context'?",
    ),
    InvalidConfig(
        "mle map with nonsense",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_context": "yes"}},
        "mapToControlMLEonAPI['generate_capture_context'] must be True, False or a string such as 'true::false'",
    ),
    InvalidConfig(
        "nothing to encrypt to",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_context": True}},
        "mleForRequestPublicCertPath is missing: mapToControlMLEonAPI names a request to encrypt, and no P12 "
        "with the certificate is configured",
    ),
    InvalidConfig(
        "two names of a certificate",
        OFFICIAL_P12,
        {
            "mapToControlMLEonAPI": {"generate_capture_context": True},
            "requestMleKeyAlias": "one",
            "mleKeyAlias": "other",
        },
        "requestMleKeyAlias and mleKeyAlias are both set and differ; remove mleKeyAlias",
    ),
    InvalidConfig(
        "no certificate of the name",
        OFFICIAL_P12,
        {"mapToControlMLEonAPI": {"generate_capture_context": True}, "mleKeyAlias": "other"},
        "key_file_name contains no certificate with CN 'other'; the file contains 'acme_flex_test_001', "
        "'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    InvalidConfig(
        "no response key",
        OFFICIAL,
        {"enableResponseMleGlobally": "True"},
        "responseMlePrivateKeyFilePath is missing: encrypted responses are requested",
    ),
    InvalidConfig(
        "response key and path",
        OFFICIAL,
        {**RESPONSE, "responseMlePrivateKey": object()},
        "responseMlePrivateKeyFilePath and responseMlePrivateKey are both set; set only one",
    ),
    InvalidConfig(
        "response key of no kind",
        OFFICIAL,
        {"enableResponseMleGlobally": True, "responseMlePrivateKey": object()},
        "responseMlePrivateKey must be an RSAPrivateKey or a private RSA JWK of jwcrypto",
    ),
    InvalidConfig(
        "response key without kid",
        OFFICIAL,
        {"enableResponseMleGlobally": True, "responseMlePrivateKeyFilePath": "{keys}/response_mle.key.pem"},
        "responseMleKID is missing; expected the id of the response key, or a P12 file and the merchant_id of the "
        "certificate in the file",
    ),
    InvalidConfig(
        "response password wrong",
        OFFICIAL,
        {**RESPONSE, "responseMlePrivateKeyFilePassword": CANARY},
        "responseMlePrivateKeyFilePath: the password is wrong, or the file is damaged",
    ),
]


class InvalidArguments(NamedTuple):
    """A row: a function that passes invalid arguments, and the error message."""

    name: str
    make: Callable[[Path], object]
    message: str


def shared(**settings: Any) -> FlexClient:
    return FlexClient(JwtSharedSecret(MERCHANT_ID, "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f", SECRET), **settings)


def response_key(**settings: Any) -> MessageLevelEncryption:
    settings = {"response_key": KEYS / "response_mle.key.pem", "response_kid": RESPONSE_MLE_KEY_ID, **settings}
    return MessageLevelEncryption(**settings)


EXPLICIT = [
    InvalidArguments(
        "no signer",
        lambda files: FlexClient("me"),
        "auth must be a signer such as JwtSharedSecret(...), not an object of type str",
    ),  # type: ignore[arg-type]
    InvalidArguments(
        "a name that is no host",
        lambda files: shared(environment="prod"),
        "environment must be one of 'test', 'production', 'production-india', 'test-saudi-arabia', "
        "'production-saudi-arabia', or a host such as 'https://apitest.cybersource.com'; did you mean 'production'?",
    ),
    InvalidArguments(
        "production by http",
        lambda files: shared(environment="http://api.cybersource.com"),
        "host 'api.cybersource.com' must use https://; http:// is accepted only "
        "for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    InvalidArguments(
        "mle with http signature",
        lambda files: FlexClient(HttpSignature(MERCHANT_ID, "key", SECRET), mle=response_key()),
        "mle cannot be used with HttpSignature; expected a JWT signer as auth, such as JwtSharedSecret or JwtP12",
    ),
    InvalidArguments(
        "mle with a token",
        lambda files: FlexClient(BearerToken(TOKEN), mle=response_key()),
        "mle cannot be used with BearerToken; expected a JWT signer as auth, such as JwtSharedSecret or JwtP12",
    ),
    InvalidArguments(
        "mle without a signer",
        lambda files: FlexClient(None, mle=response_key()),
        "mle was given without auth; expected a JWT signer as auth, such as JwtSharedSecret or JwtP12",
    ),
    InvalidArguments(
        "mle of another kind",
        lambda files: shared(mle={"response_key": CANARY}),
        "mle must be MessageLevelEncryption(...), not an object of type dict",
    ),
    InvalidArguments(
        "misspelled operation",
        lambda files: shared(mle=response_key(unencrypted_responses=["get_payment_detail"])),
        "mle names the operation 'get_payment_detail', which does not exist; did you mean 'get_payment_details'?",
    ),
    InvalidArguments(
        "path of request without a slash",
        lambda files: shared(mle=response_key(unencrypted_responses=["POST pts/v2/payments"])),
        "mle names the operation 'POST pts/v2/payments', which does not exist; expected 'POST /a/path', or one of "
        "generate_capture_context, generate_flex_api_capture_context, get_payment_credentials, get_payment_details",
    ),
    InvalidArguments(
        "operation that is not signed",
        lambda files: shared(mle=response_key(unencrypted_responses=["get_public_key"])),
        "mle names the operation 'get_public_key', which cannot be encrypted, because it is not signed",
    ),
    InvalidArguments(
        "mle without anything",
        lambda files: MessageLevelEncryption(),
        "MessageLevelEncryption was given no key; expected a request_certificate, a response_key, or both",
    ),
    InvalidArguments(
        "mle with a kid alone",
        lambda files: response_key(response_key=None),
        "MessageLevelEncryption was given no key; expected a request_certificate, a response_key, or both",
    ),
    InvalidArguments(
        "mle without a kid",
        lambda files: response_key(response_kid=None),
        "response_kid is missing; expected the id of the response key, or a P12 file and the merchant_id of the "
        "certificate in the file",
    ),
    InvalidArguments(
        "mle with a password too many",
        lambda files: response_key(response_key_password=CANARY),
        "response_key: the key is not encrypted, but a password was given",
    ),
    InvalidArguments(
        "p12 as string",
        lambda files: JwtP12(MERCHANT_ID, f"{CANARY}\0", CANARY),
        "p12: the path contains a null character",
    ),
    InvalidArguments(
        "p12 with another password",
        lambda files: JwtP12(MERCHANT_ID, KEYS / "merchant.p12", CANARY),
        "p12: the password is wrong, or the file is damaged",
    ),
    InvalidArguments(
        "tls of another kind",
        lambda files: shared(tls=False),
        "tls must be Tls(...), not an object of type bool; pass your own SSL context as Tls(ssl_context=...)",
    ),
    InvalidArguments(
        "production without verification",
        lambda files: shared(environment="production", tls=Tls(insecure_skip_verification=True)),
        "insecure_skip_verification is not allowed for the production host 'api.cybersource.com'; if a proxy replaces "
        "certificates, pass the CA of the proxy as ca_file",
    ),
    InvalidArguments(
        "client key alone",
        lambda files: Tls(client_key=files / "client.key.pem"),
        "client_key and client_key_password need a client_certificate",
    ),
    InvalidArguments(
        "leeway as string", lambda files: shared(leeway="30"), "leeway must be a number of seconds from 0 to 600"
    ),
    InvalidArguments(
        "timeout as Boolean",
        lambda files: shared(read_timeout=True),
        "read_timeout must be a positive number of seconds, at most 31536000",
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")

    def certificate(key: Any, name: str = MERCHANT_ID, serial: str | None = MERCHANT_KEY_ID, **validity: Any) -> Any:
        return self_signed_certificate(key, name, serial_number=serial, **validity)

    expired = {"begins": datetime.timedelta(days=-10), "ends": datetime.timedelta(days=-2)}
    sound = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - is rejected
    for name, key, own_certificate in (
        ("expired", sound, certificate(sound, **expired)),
        ("future", sound, certificate(sound, begins=datetime.timedelta(days=2))),
        ("no_serial", sound, certificate(sound, serial=None)),
        ("ec", curve, certificate(curve)),
        ("short", short, certificate(short)),
    ):
        (folder / f"{name}.p12").write_bytes(pkcs12_file(key, own_certificate, password=P12_PASSWORD, name=None))
    (folder / "sjc_expired.crt.pem").write_bytes(certificate_pem(certificate(sound, "CyberSource_SJC_US", **expired)))
    (folder / "client.crt.pem").write_bytes(certificate_pem(certificate(sound)))
    for name, key in (("client", sound), ("ec", curve)):
        (folder / f"{name}.key.pem").write_bytes(key_pem(key))
    (folder / "empty").touch()
    (folder / "garbage").write_bytes(b"\xff\x00c4n4ry" * 50)
    return folder


def fill_placeholders(value: Any, files: Path) -> Any:
    """Replace the placeholders of the folders."""
    if isinstance(value, str):
        return value.replace("{keys}", str(KEYS)).replace("{files}", str(files))
    return value


def merged(row: InvalidConfig, files: Path) -> dict[str, Any]:
    both = {**row.base, **row.changes}
    return {name: fill_placeholders(value, files) for name, value in both.items() if value is not None}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check(row: InvalidConfig | InvalidArguments, error: ConfigurationError, files: Path) -> None:
    assert type(error) is ConfigurationError
    day = datetime.timedelta(days=1)
    today = datetime.datetime.now(datetime.UTC)
    expected = fill_placeholders(row.message, files).replace("{ended}", f"{today - 2 * day:%Y-%m-%d}")
    assert str(error) == expected.replace("{begins}", f"{today + 2 * day:%Y-%m-%d}")
    assert canaries(error) == []


def canaries(error: BaseException) -> list[str]:
    """Secrets that are visible in any representation of an error."""
    output = "".join(traceback.format_exception(error))
    for each in chain(error):
        output += f"{each} {each!r} {each.args!r} {vars(each)!r}"
    output += pickle.dumps(error).decode("latin-1")
    return [each for each in ("c4n4ry", SECRET, "YzRuNHJ5", TOKEN, P12_PASSWORD, PEM_PASSWORD) if each in output]


def names(rows: Iterable[InvalidConfig | InvalidArguments]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", ENVIRONMENT, ids=names(ENVIRONMENT))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_errors_of_from_env(row: InvalidConfig, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_env(merged(row, files))
    check(row, caught.value, files)


@pytest.mark.parametrize("row", DICTIONARY, ids=names(DICTIONARY))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature", "ignore:.* ignored:UserWarning")
def test_errors_of_from_merchant_config(row: InvalidConfig, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_merchant_config(merged(row, files))
    check(row, caught.value, files)


@pytest.mark.parametrize("row", EXPLICIT, ids=names(EXPLICIT))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_errors_of_arguments(row: InvalidArguments, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        row.make(files)
    check(row, caught.value, files)


def test_there_are_more_than_100_rows() -> None:
    rows = [*names(ENVIRONMENT), *names(DICTIONARY), *names(EXPLICIT)]
    assert len(rows) > 100


def test_a_canary_would_be_detected() -> None:
    try:
        raise ValueError(CANARY)
    except ValueError as cause:
        for error in (ConfigurationError("x"), ConfigurationError(SECRET)):
            error.__context__ = cause
            assert "c4n4ry" in canaries(error)
    assert canaries(ConfigurationError(SECRET)) == [SECRET, "YzRuNHJ5"]
