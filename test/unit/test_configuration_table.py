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
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from cybersource_flex import FlexClient
from cybersource_flex.auth import BearerToken, HttpSignature, JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.errors import ConfigurationError
from cybersource_flex.transport import Tls

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
MERCHANT = "acme_flex_test_001"
KID = "1795262400777777777777"
P12_PASSWORD = "Fake-P12-passw0rd"
PEM_PASSWORD = "Fake-key-passw0rd"
# The canaries: none of these may be in an error.
SECRET = base64.b64encode(b"c4n4ry-of-32-bytes-in-the-secret").decode()
TOKEN = "c4n4ry-token.of.oauth"
CANARY = "c4n4ry-passw0rd"

SHARED = {
    "CYBERSOURCE_MERCHANT_ID": MERCHANT,
    "CYBERSOURCE_KEY_ID": "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
    "CYBERSOURCE_SECRET_KEY": SECRET,
}
P12 = {
    "CYBERSOURCE_AUTH": "jwt_p12",
    "CYBERSOURCE_MERCHANT_ID": MERCHANT,
    "CYBERSOURCE_P12_PATH": "{keys}/merchant.p12",
    "CYBERSOURCE_P12_PASSWORD": P12_PASSWORD,
}
OFFICIAL = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": MERCHANT,
    "run_environment": "apitest.cybersource.com",
    "merchant_keyid": "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
    "merchant_secretkey": SECRET,
}
OFFICIAL_P12 = {
    "authentication_type": "jwt",
    "merchantid": MERCHANT,
    "run_environment": "apitest.cybersource.com",
    "keys_directory": "{keys}",
    "key_file_name": "merchant",
    "key_password": P12_PASSWORD,
}
RESPONSE = {"enableResponseMleGlobally": True, "responseMlePrivateKeyFilePath": "{keys}/response_mle.p12"}
CLIENT_CERT = {"enable_client_cert": "True", "client_cert_dir": "{files}", "ssl_client_cert": "client.crt.pem"}
PROXY = {"use_proxy": True, "proxy_address": "http://proxy.example", "proxy_username": "me", "proxy_password": CANARY}


class Wrong(NamedTuple):
    """A row: where it starts from, what is different (None: left out), and the message."""

    name: str
    base: Mapping[str, Any]
    changes: Mapping[str, Any]
    message: str


def env(**values: str | None) -> dict[str, str | None]:
    return {f"CYBERSOURCE_{name}": value for name, value in values.items()}


ENVIRONMENT = [
    Wrong(
        "nothing at all",
        {},
        {},
        "CYBERSOURCE_AUTH=jwt_shared_secret requires variables that are not set: CYBERSOURCE_MERCHANT_ID, "
        "CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY (or CYBERSOURCE_SECRET_KEY_FILE)",
    ),
    Wrong(
        "no secret",
        SHARED,
        env(SECRET_KEY=""),
        "CYBERSOURCE_AUTH=jwt_shared_secret requires variables that are not set: CYBERSOURCE_SECRET_KEY (or "
        "CYBERSOURCE_SECRET_KEY_FILE)",
    ),
    Wrong(
        "unknown auth",
        SHARED,
        env(AUTH="jwt-shared-secret"),
        "CYBERSOURCE_AUTH must be one of jwt_shared_secret, jwt_p12, http_signature, bearer; did you mean "
        "jwt_shared_secret?",
    ),
    Wrong(
        "auth of another world",
        SHARED,
        env(AUTH="kerberos"),
        "CYBERSOURCE_AUTH must be one of jwt_shared_secret, jwt_p12, http_signature, bearer",
    ),
    Wrong(
        "bad base64",
        SHARED,
        env(SECRET_KEY="c4n4ry*not*base64!!"),
        "CYBERSOURCE_SECRET_KEY is not base64 (letters, digits, '+', '/', and '=' at the end); expected the "
        "text that the Business Center shows, unchanged",
    ),
    Wrong(
        "url-safe base64",
        SHARED,
        env(SECRET_KEY="c4n4ry-_" * 5 + "AAA="),
        "CYBERSOURCE_SECRET_KEY is not base64 (letters, digits, '+', '/', and '=' at the end); expected the "
        "text that the Business Center shows, unchanged",
    ),
    Wrong(
        "half a secret",
        SHARED,
        env(SECRET_KEY="YzRuNHJ5"),
        "CYBERSOURCE_SECRET_KEY is too short: 6 bytes once decoded, expected 32; was a part lost in copying?",
    ),
    Wrong(
        "key id with a line break",
        SHARED,
        env(KEY_ID="a\nb"),
        "CYBERSOURCE_KEY_ID has white space, quotation marks or other characters in it that an id cannot "
        "have, or is longer than 255 characters",
    ),
    Wrong(
        "unknown environment",
        SHARED,
        env(ENVIRONMENT="sandbox"),
        "CYBERSOURCE_ENVIRONMENT must be one of 'test', 'production', 'production-india', "
        "'test-saudi-arabia', 'production-saudi-arabia', or a host such as 'https://apitest.cybersource.com'",
    ),
    Wrong(
        "production by http",
        SHARED,
        env(ENVIRONMENT="http://api.cybersource.com"),
        "CYBERSOURCE_ENVIRONMENT 'api.cybersource.com' with http://: signed requests leave this machine by "
        "https:// only; http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    Wrong(
        "host with a path",
        SHARED,
        env(ENVIRONMENT="https://api.cybersource.com/flex"),
        "CYBERSOURCE_ENVIRONMENT has a path, query or fragment after it; expected a "
        "host such as 'https://apitest.cybersource.com'",
    ),
    Wrong(
        "host with a password",
        SHARED,
        env(ENVIRONMENT=f"https://me:{CANARY}@api.cybersource.com"),
        "CYBERSOURCE_ENVIRONMENT has a user name or password in it; expected a host such as "
        "'https://apitest.cybersource.com'",
    ),
    Wrong(
        "intermediate host by http",
        SHARED,
        env(INTERMEDIATE_HOST="http://gateway.example"),
        "CYBERSOURCE_INTERMEDIATE_HOST 'gateway.example' with http://: signed requests leave this machine by "
        "https:// only; http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    Wrong(
        "algorithm of the other kind",
        SHARED,
        env(JWT_ALGORITHM="RS256"),
        "CYBERSOURCE_JWT_ALGORITHM must be one of HS256, HS384, HS512 for JwtSharedSecret",
    ),
    Wrong(
        "algorithm none",
        P12,
        env(JWT_ALGORITHM="none"),
        "CYBERSOURCE_JWT_ALGORITHM must be one of RS256, RS384, RS512, PS256, PS384, PS512 for JwtP12",
    ),
    Wrong(
        "misspelled variable",
        SHARED,
        env(PORTFOLO_ID="acme"),
        "there is no variable CYBERSOURCE_PORTFOLO_ID; did you mean CYBERSOURCE_PORTFOLIO_ID?",
    ),
    Wrong(
        "underscore too few",
        SHARED,
        env(MERCHANTID="acme"),
        "there is no variable CYBERSOURCE_MERCHANTID; did you mean CYBERSOURCE_MERCHANT_ID?",
    ),
    Wrong(
        "lower case",
        SHARED,
        {"cybersource_portfolio_id": "acme"},
        "there is no variable cybersource_portfolio_id; did you mean CYBERSOURCE_PORTFOLIO_ID?",
    ),
    Wrong(
        "secret with p12",
        P12,
        env(SECRET_KEY=SECRET),
        "CYBERSOURCE_SECRET_KEY is set, but CYBERSOURCE_AUTH is jwt_p12; it is only used with jwt_shared_secret "
        "and http_signature",
    ),
    Wrong(
        "p12 with a secret",
        SHARED,
        env(P12_PATH="{keys}/merchant.p12"),
        "CYBERSOURCE_P12_PATH is set, but CYBERSOURCE_AUTH is not set, which means jwt_shared_secret; it is "
        "only used with jwt_p12",
    ),
    Wrong(
        "token with http signature",
        SHARED,
        env(AUTH="http_signature", ACCESS_TOKEN=TOKEN),
        "CYBERSOURCE_ACCESS_TOKEN is set, but CYBERSOURCE_AUTH is http_signature; it is only used with bearer",
    ),
    Wrong(
        "no token",
        {},
        env(AUTH="bearer"),
        "CYBERSOURCE_AUTH=bearer requires variables that are not set: CYBERSOURCE_ACCESS_TOKEN (or "
        "CYBERSOURCE_ACCESS_TOKEN_FILE)",
    ),
    Wrong(
        "token with blanks",
        {},
        env(AUTH="bearer", ACCESS_TOKEN=f"{CANARY} {TOKEN}"),
        "CYBERSOURCE_ACCESS_TOKEN has characters in it that a bearer token cannot have",
    ),
    Wrong(
        "secret twice",
        SHARED,
        env(SECRET_KEY_FILE="{files}/empty"),
        "CYBERSOURCE_SECRET_KEY and CYBERSOURCE_SECRET_KEY_FILE are both set; set only one",
    ),
    Wrong(
        "secret file missing",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/none"),
        "CYBERSOURCE_SECRET_KEY_FILE: cannot read '{files}/none': No such file or directory",
    ),
    Wrong(
        "secret file empty",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/empty"),
        "CYBERSOURCE_SECRET_KEY_FILE: the file '{files}/empty' is empty, not UTF-8 text, or larger than 65536 bytes",
    ),
    Wrong(
        "secret file binary",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE="{files}/garbage"),
        "CYBERSOURCE_SECRET_KEY_FILE: the file '{files}/garbage' is empty, not UTF-8 text, or larger than 65536 bytes",
    ),
    Wrong(
        "secret instead of its file",
        SHARED,
        env(SECRET_KEY=None, SECRET_KEY_FILE=f"{CANARY}\n"),
        "CYBERSOURCE_SECRET_KEY_FILE must be the path of a file, not its content",
    ),
    Wrong(
        "p12 missing",
        P12,
        env(P12_PATH="{files}/none.p12"),
        "CYBERSOURCE_P12_PATH: cannot read '{files}/none.p12': No such file or directory",
    ),
    Wrong(
        "p12 is a directory",
        P12,
        env(P12_PATH="{files}"),
        "CYBERSOURCE_P12_PATH: cannot read '{files}': Is a directory",
    ),
    Wrong("p12 is empty", P12, env(P12_PATH="{files}/empty"), "CYBERSOURCE_P12_PATH is empty"),
    Wrong(
        "p12 is garbage",
        P12,
        env(P12_PATH="{files}/garbage"),
        "CYBERSOURCE_P12_PATH is not a PKCS #12 (.p12, .pfx) file",
    ),
    Wrong(
        "pem instead of p12",
        P12,
        env(P12_PATH="{keys}/merchant.key.pem"),
        "CYBERSOURCE_P12_PATH is not a PKCS #12 (.p12, .pfx) file",
    ),
    Wrong(
        "content instead of p12",
        P12,
        env(P12_PATH=f"-----BEGIN PRIVATE KEY----- {CANARY}"),
        "CYBERSOURCE_P12_PATH must be the path of a file, not its content",
    ),
    Wrong(
        "p12 without password",
        P12,
        env(P12_PASSWORD=None),
        "CYBERSOURCE_AUTH=jwt_p12 requires variables that are not set: CYBERSOURCE_P12_PASSWORD (or "
        "CYBERSOURCE_P12_PASSWORD_FILE)",
    ),
    Wrong(
        "p12 password wrong",
        P12,
        env(P12_PASSWORD=CANARY),
        "CYBERSOURCE_P12_PATH: the password is wrong, or the file is damaged",
    ),
    Wrong(
        "p12 of another merchant",
        P12,
        env(MERCHANT_ID="someone_else"),
        "CYBERSOURCE_P12_PATH: no certificate with CN 'someone_else' in it; there is 'acme_flex_test_001', "
        "'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    Wrong(
        "p12 of the merchant, with a meta key",
        P12,
        env(PORTFOLIO_ID="acme_flex_portfolio"),
        "CYBERSOURCE_P12_PATH: no certificate with CN 'acme_flex_portfolio' in it; there is "
        "'acme_flex_test_001', 'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    Wrong(
        "p12 expired",
        P12,
        env(P12_PATH="{files}/expired.p12"),
        "CYBERSOURCE_P12_PATH: the certificate 'acme_flex_test_001' expired on {ended}",
    ),
    Wrong(
        "p12 not yet valid",
        P12,
        env(P12_PATH="{files}/future.p12"),
        "CYBERSOURCE_P12_PATH: the certificate 'acme_flex_test_001' is not valid before {begins}",
    ),
    Wrong(
        "p12 without a key id",
        P12,
        env(P12_PATH="{files}/no_serial.p12"),
        "CYBERSOURCE_P12_PATH: the subject of the certificate 'acme_flex_test_001' has no serialNumber "
        "attribute, which is the key id",
    ),
    Wrong(
        "p12 with an EC key",
        P12,
        env(P12_PATH="{files}/ec.p12"),
        "CYBERSOURCE_P12_PATH: the key in it is not an RSA key",
    ),
    Wrong(
        "p12 with a short key",
        P12,
        env(P12_PATH="{files}/short.p12"),
        "CYBERSOURCE_P12_PATH: the RSA key has 1024 bits; at least 2048 are needed",
    ),
    Wrong(
        "mle with http signature",
        SHARED,
        env(AUTH="http_signature", MLE_RESPONSE_KEY="{keys}/response_mle.p12"),
        "CYBERSOURCE_MLE_RESPONSE_KEY is set, but CYBERSOURCE_AUTH is http_signature; it is only used with "
        "jwt_shared_secret and jwt_p12",
    ),
    Wrong(
        "nothing to encrypt to",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS is set without CYBERSOURCE_MLE_REQUEST_CERTIFICATE, which it requires",
    ),
    Wrong(
        "nothing to encrypt",
        SHARED,
        env(MLE_REQUEST_CERTIFICATE="{keys}/sjc.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE is set without CYBERSOURCE_MLE_ENCRYPT_REQUESTS, which it requires",
    ),
    Wrong(
        "misspelled operation",
        P12,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_contxt"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS names the operation 'generate_capture_contxt', which does not "
        "exist; did you mean 'generate_capture_context'?",
    ),
    Wrong(
        "operation that is not signed",
        P12,
        env(MLE_ENCRYPT_REQUESTS="create_transient_token"),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS names the operation 'create_transient_token', which is not signed: "
        "only signed ones can be encrypted",
    ),
    Wrong(
        "certificate to encrypt to of another name",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context", MLE_REQUEST_CERTIFICATE="{keys}/merchant.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE: no certificate with CN 'CyberSource_SJC_US' in it; there is "
        "'acme_flex_test_001'",
    ),
    Wrong(
        "certificate to encrypt to is expired",
        SHARED,
        env(MLE_ENCRYPT_REQUESTS="generate_capture_context", MLE_REQUEST_CERTIFICATE="{files}/sjc_expired.crt.pem"),
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE: the certificate 'CyberSource_SJC_US' expired on {ended}",
    ),
    Wrong(
        "response kid without key",
        SHARED,
        env(MLE_RESPONSE_KID=KID),
        "CYBERSOURCE_MLE_RESPONSE_KID is set without CYBERSOURCE_MLE_RESPONSE_KEY, which it requires",
    ),
    Wrong(
        "response key without kid",
        SHARED,
        env(MLE_RESPONSE_KEY="{keys}/response_mle.key.pem"),
        "CYBERSOURCE_MLE_RESPONSE_KID is missing: only a P12 with a certificate of merchant_id in it names "
        "its key itself",
    ),
    Wrong(
        "response key missing",
        SHARED,
        env(MLE_RESPONSE_KEY="{files}/none.pem", MLE_RESPONSE_KID=KID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: cannot read '{files}/none.pem': No such file or directory",
    ),
    Wrong(
        "response key encrypted, no password",
        SHARED,
        env(MLE_RESPONSE_KEY="{keys}/response_mle.key.encrypted.pem", MLE_RESPONSE_KID=KID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: the key is encrypted and needs a password",
    ),
    Wrong(
        "response key encrypted, wrong password",
        SHARED,
        env(
            MLE_RESPONSE_KEY="{keys}/response_mle.key.encrypted.pem",
            MLE_RESPONSE_KID=KID,
            MLE_RESPONSE_KEY_PASSWORD=CANARY,
        ),
        "CYBERSOURCE_MLE_RESPONSE_KEY: there is no private key in it that can be read, or the password is wrong",
    ),
    Wrong(
        "response key is EC",
        SHARED,
        env(MLE_RESPONSE_KEY="{files}/ec.key.pem", MLE_RESPONSE_KID=KID),
        "CYBERSOURCE_MLE_RESPONSE_KEY: the key in it is not an RSA key",
    ),
    Wrong(
        "response key of another merchant",
        {**SHARED, "CYBERSOURCE_MERCHANT_ID": "someone_else"},
        env(MLE_RESPONSE_KEY="{keys}/response_mle.p12", MLE_RESPONSE_KEY_PASSWORD=P12_PASSWORD),
        "CYBERSOURCE_MLE_RESPONSE_KEY: no certificate with CN 'someone_else' in it; there is "
        "'acme_flex_test_001', 'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    Wrong(
        "ca file missing",
        SHARED,
        env(CA_FILE="{files}/none.pem"),
        "CYBERSOURCE_CA_FILE '{files}/none.pem' cannot be read: No such file or directory",
    ),
    Wrong(
        "ca file is a key",
        SHARED,
        env(CA_FILE="{keys}/merchant.key.pem"),
        "CYBERSOURCE_CA_FILE '{keys}/merchant.key.pem' has no certificate in PEM form (-----BEGIN ...-----) in it",
    ),
    Wrong(
        "client key alone",
        SHARED,
        env(CLIENT_KEY="{files}/client.key.pem"),
        "CYBERSOURCE_CLIENT_KEY is set without CYBERSOURCE_CLIENT_CERTIFICATE, which it requires",
    ),
    Wrong(
        "client key of another certificate",
        SHARED,
        env(CLIENT_CERTIFICATE="{files}/client.crt.pem", CLIENT_KEY="{keys}/merchant.key.pem"),
        "CYBERSOURCE_CLIENT_KEY '{keys}/merchant.key.pem' has a key that is not that of the client certificate",
    ),
    Wrong(
        "client key password wrong",
        SHARED,
        env(
            CLIENT_CERTIFICATE="{keys}/response_mle.crt.pem",
            CLIENT_KEY="{keys}/response_mle.key.encrypted.pem",
            CLIENT_KEY_PASSWORD=CANARY,
        ),
        "CYBERSOURCE_CLIENT_KEY_PASSWORD does not open the key in client_key '{keys}/response_mle.key.encrypted.pem'",
    ),
    Wrong(
        "proxy by socks",
        SHARED,
        env(PROXY=f"socks5://me:{CANARY}@proxy.example:1080"),
        "CYBERSOURCE_PROXY is a SOCKS proxy, which is not supported; expected 'http://host:port' or "
        "'https://host:port', with 'user:password@' before the host where it asks for one",
    ),
    Wrong(
        "proxy with a path",
        SHARED,
        env(PROXY=f"http://me:{CANARY}/x@proxy.example:8080"),
        "CYBERSOURCE_PROXY is not a URL that can be read; expected 'http://host:port' or 'https://host:port',"
        " with 'user:password@' before the host where it asks for one",
    ),
    Wrong(
        "proxy without a scheme",
        SHARED,
        env(PROXY=f"me:{CANARY}@proxy.example:8080"),
        "CYBERSOURCE_PROXY does not begin with http:// or https://; expected 'http://host:port' or "
        "'https://host:port', with 'user:password@' before the host where it asks for one",
    ),
    Wrong(
        "timeout is a word",
        SHARED,
        env(READ_TIMEOUT="soon"),
        "CYBERSOURCE_READ_TIMEOUT must be a number of seconds, for example 5 or 2.5",
    ),
    Wrong(
        "timeout is not finite",
        SHARED,
        env(CONNECT_TIMEOUT="inf"),
        "CYBERSOURCE_CONNECT_TIMEOUT must be a number of seconds, for example 5 or 2.5",
    ),
    Wrong(
        "timeout is zero",
        SHARED,
        env(CONNECT_TIMEOUT="0"),
        "CYBERSOURCE_CONNECT_TIMEOUT must be a positive number of seconds",
    ),
    Wrong(
        "leeway too large", SHARED, env(LEEWAY="601"), "CYBERSOURCE_LEEWAY must be a number of seconds from 0 to 600"
    ),
    Wrong(
        "user agent with a line break",
        SHARED,
        env(USER_AGENT_SUFFIX="shop/1\r\nx: y"),
        "CYBERSOURCE_USER_AGENT_SUFFIX must be words of printable ASCII with one space between them, at most "
        "200 characters, for example 'shop/1.2'",
    ),
]

DICTIONARY = [
    Wrong(
        "unknown key",
        OFFICIAL,
        {"merchantId": MERCHANT},
        "the merchant configuration has an unknown key 'merchantId'; did you mean 'merchantid'?",
    ),
    Wrong(
        "key of another world",
        OFFICIAL,
        {"sslmode": "require"},
        "the merchant configuration has an unknown key 'sslmode'",
    ),
    Wrong(
        "no scheme",
        OFFICIAL,
        {"authentication_type": None},
        "authentication_type is missing: it selects how requests are signed",
    ),
    Wrong(
        "unknown scheme",
        OFFICIAL,
        {"authentication_type": "Basic"},
        "authentication_type must be HTTP_Signature, JWT or OAUTH",
    ),
    Wrong(
        "mutual tls alone",
        OFFICIAL,
        {"authentication_type": "MUTUAL_AUTH"},
        "authentication_type MUTUAL_AUTH is refused: it sends no credentials with a request, and CyberSource "
        "documents it for the OAuth token endpoint only; use JWT, with enable_client_cert for a client "
        "certificate",
    ),
    Wrong("unknown kind of key", OFFICIAL, {"jwt_key_type": "PEM"}, "jwt_key_type must be P12 or SHARED_SECRET"),
    Wrong("no host", OFFICIAL, {"run_environment": ""}, "run_environment is missing: it names the host"),
    Wrong(
        "old constant",
        OFFICIAL,
        {"run_environment": "CyberSource.Environment.SANDBOX"},
        "run_environment 'CyberSource.Environment.SANDBOX' is a constant of early SDKs, not a host; use "
        "apitest.cybersource.com or api.cybersource.com",
    ),
    Wrong(
        "production by http",
        OFFICIAL,
        {"run_environment": "http://api.cybersource.com"},
        "run_environment 'api.cybersource.com' with http://: signed requests leave this machine by https:// "
        "only; http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    Wrong("no merchant", OFFICIAL, {"merchantid": None}, "merchantid is missing: it names the merchant"),
    Wrong(
        "merchant by the wrong name",
        OFFICIAL,
        {"merchantid": None, "merchant_id": MERCHANT},
        "merchantid is missing: it names the merchant; the key is not called merchant_id",
    ),
    Wrong(
        "two merchants",
        OFFICIAL,
        {"merchant_id": "someone_else"},
        "merchantid and merchant_id are both set and differ; remove merchant_id",
    ),
    Wrong(
        "bad base64",
        OFFICIAL,
        {"merchant_secretkey": "c4n4ry*not*base64!!"},
        "merchant_secretkey is not base64 (letters, digits, '+', '/', and '=' at the end); expected the text "
        "that the Business Center shows, unchanged",
    ),
    Wrong(
        "secret as bytes",
        OFFICIAL,
        {"merchant_secretkey": SECRET.encode()},
        "merchant_secretkey must be a string, not bytes",
    ),
    Wrong("no portfolio", OFFICIAL, {"use_metakey": True}, "portfolio_id is missing: use_metakey is on"),
    Wrong(
        "false as string",
        OFFICIAL,
        {"use_metakey": "false", "portfolio_id": "acme"},
        "use_metakey is the string 'false', which the official SDK may treat as True; use a boolean",
    ),
    Wrong("maybe", OFFICIAL, {"use_metakey": "perhaps"}, "use_metakey must be True or False"),
    Wrong(
        "no token", OFFICIAL, {"authentication_type": "OAuth"}, "access_token is missing: authentication_type is OAUTH"
    ),
    Wrong(
        "p12 missing",
        OFFICIAL_P12,
        {"key_file_name": "nobody"},
        "key_file_name: cannot read '{keys}/nobody.p12': No such file or directory",
    ),
    Wrong(
        "p12 with its ending",
        OFFICIAL_P12,
        {"key_file_name": "merchant.p12"},
        "key_file_name: cannot read '{keys}/merchant.p12.p12': No such file or directory",
    ),
    Wrong(
        "p12 password is the merchant id",
        OFFICIAL_P12,
        {"key_password": None},
        "key_file_name: the password is wrong, or the file is damaged",
    ),
    Wrong(
        "p12 password wrong",
        OFFICIAL_P12,
        {"key_password": CANARY},
        "key_file_name: the password is wrong, or the file is damaged",
    ),
    Wrong(
        "p12 expired",
        OFFICIAL_P12,
        {"keys_directory": "{files}", "key_file_name": "expired"},
        "key_file_name: the certificate 'acme_flex_test_001' expired on {ended}",
    ),
    Wrong(
        "headers of one's own",
        OFFICIAL,
        {"default_headers": {"X-Key": CANARY}},
        "default_headers is refused: requests would be sent without them; a custom signer can return additional "
        "headers",
    ),
    Wrong(
        "no verification",
        OFFICIAL,
        {"ssl_verify": False},
        "ssl_verify False is refused: an attacker on the network could read and change all traffic; if a proxy "
        "replaces certificates, pass tls=Tls(ca_file=...) with its authority, and for a test host on a private "
        "network tls=Tls(insecure_skip_verification=True)",
    ),
    Wrong(
        "no verification, as string",
        OFFICIAL,
        {"ssl_verify": "False"},
        "ssl_verify is the string 'False', which the official SDK may treat as True; use a boolean",
    ),
    Wrong("client certificate without key", OFFICIAL, CLIENT_CERT, "private_key is missing: enable_client_cert is on"),
    Wrong(
        "client certificate missing",
        OFFICIAL,
        {**CLIENT_CERT, "private_key": "none.pem"},
        "private_key '{files}/none.pem' cannot be read: No such file or directory",
    ),
    Wrong(
        "proxy without a scheme",
        OFFICIAL,
        {**PROXY, "proxy_address": f"me:{CANARY}@proxy.example"},
        "proxy_address must begin with http:// or https://",
    ),
    Wrong(
        "proxy without an address",
        OFFICIAL,
        {**PROXY, "proxy_address": None},
        "proxy_address is missing: use_proxy is on",
    ),
    Wrong("proxy port is a word", OFFICIAL, {**PROXY, "proxy_port": "http"}, "proxy_port must be a number"),
    Wrong(
        "proxy port twice",
        OFFICIAL,
        {**PROXY, "proxy_address": "http://proxy.example:1", "proxy_port": 80},
        "proxy_address contains a port, and proxy_port is set as well",
    ),
    Wrong(
        "proxy password alone",
        OFFICIAL,
        {**PROXY, "proxy_username": None},
        "proxy_password is set without proxy_username",
    ),
    Wrong(
        "proxy user twice",
        OFFICIAL,
        {**PROXY, "proxy_address": f"http://me:{CANARY}@proxy.example"},
        "proxy_address contains a user name, and proxy_username is set as well",
    ),
    Wrong(
        "mle and http signature",
        {**OFFICIAL, "authentication_type": "HTTP_Signature"},
        RESPONSE,
        "message-level encryption needs authentication_type JWT",
    ),
    Wrong(
        "mle for all and http signature",
        {**OFFICIAL, "authentication_type": "HTTP_Signature"},
        {"enableRequestMLEForOptionalApisGlobally": True},
        "enableRequestMLEForOptionalApisGlobally needs authentication_type JWT",
    ),
    Wrong(
        "mle for all, in two ways",
        OFFICIAL,
        {"enableRequestMLEForOptionalApisGlobally": True, "useMLEGlobally": False},
        "enableRequestMLEForOptionalApisGlobally and useMLEGlobally are both set and differ; remove useMLEGlobally",
    ),
    Wrong(
        "mle map is a list",
        OFFICIAL,
        {"mapToControlMLEonAPI": ["generate_capture_context"]},
        "mapToControlMLEonAPI must be a dictionary, not list",
    ),
    Wrong(
        "mle map with a typo",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_contxt": True}},
        "mapToControlMLEonAPI names 'generate_capture_contxt'; did you mean 'generate_capture_context'?",
    ),
    Wrong(
        "mle map with nonsense",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_context": "yes"}},
        "mapToControlMLEonAPI['generate_capture_context'] must be True, False or a string such as 'true::false'",
    ),
    Wrong(
        "nothing to encrypt to",
        OFFICIAL,
        {"mapToControlMLEonAPI": {"generate_capture_context": True}},
        "mleForRequestPublicCertPath is missing: mapToControlMLEonAPI names a request to encrypt, and no P12 "
        "with the certificate is configured",
    ),
    Wrong(
        "two names of a certificate",
        OFFICIAL_P12,
        {
            "mapToControlMLEonAPI": {"generate_capture_context": True},
            "requestMleKeyAlias": "one",
            "mleKeyAlias": "other",
        },
        "requestMleKeyAlias and mleKeyAlias are both set and differ; remove mleKeyAlias",
    ),
    Wrong(
        "no certificate of the name",
        OFFICIAL_P12,
        {"mapToControlMLEonAPI": {"generate_capture_context": True}, "mleKeyAlias": "other"},
        "key_file_name: no certificate with CN 'other' in it; there is 'acme_flex_test_001', "
        "'CyberSource_SJC_US', 'CyberSourceCertAuth'",
    ),
    Wrong(
        "no response key",
        OFFICIAL,
        {"enableResponseMleGlobally": "True"},
        "responseMlePrivateKeyFilePath is missing: encrypted responses are requested",
    ),
    Wrong(
        "response key and path",
        OFFICIAL,
        {**RESPONSE, "responseMlePrivateKey": object()},
        "responseMlePrivateKeyFilePath and responseMlePrivateKey are both set; set only one",
    ),
    Wrong(
        "response key of no kind",
        OFFICIAL,
        {"enableResponseMleGlobally": True, "responseMlePrivateKey": object()},
        "responseMlePrivateKey must be an RSAPrivateKey or a private RSA JWK of jwcrypto",
    ),
    Wrong(
        "response key without kid",
        OFFICIAL,
        {"enableResponseMleGlobally": True, "responseMlePrivateKeyFilePath": "{keys}/response_mle.key.pem"},
        "responseMleKID is missing: only a P12 with a certificate of merchant_id in it names its key itself",
    ),
    Wrong(
        "response password wrong",
        OFFICIAL,
        {**RESPONSE, "responseMlePrivateKeyFilePassword": CANARY},
        "responseMlePrivateKeyFilePath: the password is wrong, or the file is damaged",
    ),
]


class Explicit(NamedTuple):
    """A row of arguments: what makes the client, and the message."""

    name: str
    make: Callable[[Path], object]
    message: str


def shared(**settings: Any) -> FlexClient:
    return FlexClient(JwtSharedSecret(MERCHANT, "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f", SECRET), **settings)


def response_key(**settings: Any) -> MessageLevelEncryption:
    settings = {"response_key": KEYS / "response_mle.key.pem", "response_kid": KID, **settings}
    return MessageLevelEncryption(**settings)


EXPLICIT = [
    Explicit(
        "no signer",
        lambda files: FlexClient("me"),
        "auth must be a signer such as JwtSharedSecret(...), not an object of type str",
    ),  # type: ignore[arg-type]
    Explicit(
        "a name that is no host",
        lambda files: shared(environment="prod"),
        "environment must be one of 'test', 'production', 'production-india', 'test-saudi-arabia', "
        "'production-saudi-arabia', or a host such as 'https://apitest.cybersource.com'",
    ),
    Explicit(
        "production by http",
        lambda files: shared(environment="http://api.cybersource.com"),
        "host 'api.cybersource.com' with http://: signed requests leave this machine by https:// only; "
        "http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])",
    ),
    Explicit(
        "mle with http signature",
        lambda files: FlexClient(HttpSignature(MERCHANT, "key", SECRET), mle=response_key()),
        "mle does not go with HttpSignature: HTTP Signature and others cannot carry message-level encryption;"
        " use JwtSharedSecret or JwtP12",
    ),
    Explicit(
        "mle with a token",
        lambda files: FlexClient(BearerToken(TOKEN), mle=response_key()),
        "mle does not go with BearerToken: HTTP Signature and others cannot carry message-level encryption; "
        "use JwtSharedSecret or JwtP12",
    ),
    Explicit(
        "mle without a signer",
        lambda files: FlexClient(None, mle=response_key()),
        "mle needs auth: it asks for encryption in a signed token; use JwtSharedSecret or JwtP12",
    ),
    Explicit(
        "mle of another kind",
        lambda files: shared(mle={"response_key": CANARY}),
        "mle must be MessageLevelEncryption(...), not an object of type dict",
    ),
    Explicit(
        "misspelled operation",
        lambda files: shared(mle=response_key(unencrypted_responses=["get_payment_detail"])),
        "mle names the operation 'get_payment_detail', which does not exist; did you mean 'get_payment_details'?",
    ),
    Explicit(
        "operation that is not signed",
        lambda files: shared(mle=response_key(unencrypted_responses=["get_public_key"])),
        "mle names the operation 'get_public_key', which is not signed: only signed ones can be encrypted",
    ),
    Explicit(
        "mle without anything",
        lambda files: MessageLevelEncryption(),
        "mle has nothing to do: it needs a request_certificate, a response_key, or both",
    ),
    Explicit(
        "mle with a kid alone",
        lambda files: response_key(response_key=None),
        "mle has nothing to do: it needs a request_certificate, a response_key, or both",
    ),
    Explicit(
        "mle without a kid",
        lambda files: response_key(response_kid=None),
        "response_kid is missing: only a P12 with a certificate of merchant_id in it names its key itself",
    ),
    Explicit(
        "mle with a password too many",
        lambda files: response_key(response_key_password=CANARY),
        "response_key: the key is not encrypted, but a password was given",
    ),
    Explicit(
        "p12 as string",
        lambda files: JwtP12(MERCHANT, f"{CANARY}\0", CANARY),
        "p12: the path has a null character in it",
    ),
    Explicit(
        "p12 with another password",
        lambda files: JwtP12(MERCHANT, KEYS / "merchant.p12", CANARY),
        "p12: the password is wrong, or the file is damaged",
    ),
    Explicit(
        "tls of another kind",
        lambda files: shared(tls=False),
        "tls must be Tls(...), not an object of type bool; a context of your own is Tls(ssl_context=...)",
    ),
    Explicit(
        "production without verification",
        lambda files: shared(environment="production", tls=Tls(insecure_skip_verification=True)),
        "insecure_skip_verification is not for the production host 'api.cybersource.com': every system trusts"
        " its certificate; where something on the way replaces certificates, give its authority as ca_file",
    ),
    Explicit(
        "client key alone",
        lambda files: Tls(client_key=files / "client.key.pem"),
        "client_key and client_key_password need a client_certificate",
    ),
    Explicit("leeway as string", lambda files: shared(leeway="30"), "leeway must be a number of seconds from 0 to 600"),
    Explicit(
        "timeout as Boolean",
        lambda files: shared(read_timeout=True),
        "read_timeout must be a positive number of seconds",
    ),
]


def certificate(
    key: Any, name: str = MERCHANT, *, serial: bool = True, begins: int = -10, ends: int = 10
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if serial:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, "1795262400123456789012"))
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name(attributes))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins * day)
        .not_valid_after(now + ends * day)
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    pem = serialization.Encoding.PEM
    sound = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
    locked = serialization.BestAvailableEncryption(P12_PASSWORD.encode())
    for name, key, own_certificate in (
        ("expired", sound, certificate(sound, begins=-10, ends=-2)),
        ("future", sound, certificate(sound, begins=2)),
        ("no_serial", sound, certificate(sound, serial=False)),
        ("ec", curve, certificate(curve)),
        ("short", short, certificate(short)),
    ):
        content = pkcs12.serialize_key_and_certificates(None, key, own_certificate, None, locked)
        (folder / f"{name}.p12").write_bytes(content)
    expired = certificate(sound, "CyberSource_SJC_US", begins=-10, ends=-2)
    (folder / "sjc_expired.crt.pem").write_bytes(expired.public_bytes(pem))
    (folder / "client.crt.pem").write_bytes(certificate(sound).public_bytes(pem))
    plain = serialization.NoEncryption()
    for name, key in (("client", sound), ("ec", curve)):
        content = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        (folder / f"{name}.key.pem").write_bytes(content)
    (folder / "empty").touch()
    (folder / "garbage").write_bytes(b"\xff\x00c4n4ry" * 50)
    return folder


def fill_placeholders(value: Any, files: Path) -> Any:
    """Replace the placeholders of the folders."""
    if isinstance(value, str):
        return value.replace("{keys}", str(KEYS)).replace("{files}", str(files))
    return value


def merged(row: Wrong, files: Path) -> dict[str, Any]:
    both = {**row.base, **row.changes}
    return {name: fill_placeholders(value, files) for name, value in both.items() if value is not None}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check(row: Wrong | Explicit, error: ConfigurationError, files: Path) -> None:
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


def names(rows: Iterable[Wrong | Explicit]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", ENVIRONMENT, ids=names(ENVIRONMENT))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_errors_of_from_env(row: Wrong, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_env(merged(row, files))
    check(row, caught.value, files)


@pytest.mark.parametrize("row", DICTIONARY, ids=names(DICTIONARY))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature", "ignore:.* ignored:UserWarning")
def test_errors_of_from_merchant_config(row: Wrong, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_merchant_config(merged(row, files))
    check(row, caught.value, files)


@pytest.mark.parametrize("row", EXPLICIT, ids=names(EXPLICIT))
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_errors_of_arguments(row: Explicit, files: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        row.make(files)
    check(row, caught.value, files)


def test_there_are_enough() -> None:
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
