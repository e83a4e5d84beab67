"""Rules that score each cause of a 401 from the facts."""

from __future__ import annotations

from typing import Final

from .facts import OURS, Facts

__all__ = [
    "Scale",
    "clock",
    "credentials",
    "digest",
    "ended",
    "environment",
    "host",
    "key_id",
    "lifetime",
    "path",
    "retired",
    "secret",
    "signed_lines",
]

# Seconds. The service's tolerance is unpublished; more than a minute is a known cause, and a JWT lives for 120.
_CLOSE: Final = 5
_APART: Final = 30
_FAR: Final = 60
_LIFETIME: Final = 120
_HOUR: Final = 3600
_SECRET_BYTES: Final = 32
# The deadlines for leaving HTTP Signature: the one first announced, and the one in the release notes of 2026-10-23.
_FIRST_END: Final = "2026-09-01"
_END: Final = "2027-03-01"
_BY_SECRET: Final = ("jwt_shared_secret", "http_signature")


class Scale:
    """Score of a cause, with the facts for and against it."""

    def __init__(self, base: int) -> None:
        self._points = base
        self._ruled_out = False
        self.speaks_for: list[str] = []
        self.speaks_against: list[str] = []

    @property
    def score(self) -> int:
        return 0 if self._ruled_out else max(0, min(99, self._points))

    def pro(self, points: int, text: str) -> None:
        self._points += points
        self.speaks_for.append(text)

    def con(self, points: int, text: str) -> None:
        self._points -= points
        self.speaks_against.append(text)

    def never(self, text: str) -> None:
        self._ruled_out = True
        self.speaks_against.append(text)


def environment(f: Facts, s: Scale) -> None:
    if f.accepted and f.scheme in OURS:
        s.never(f"{_calls(f.accepted)} accepted here with the same credentials")
        return
    if f.accepted:
        s.con(25, f"{_calls(f.accepted)} accepted here")
    elif f.accepted == 0:
        s.pro(10, "no signed call of this client has been accepted so far")
    if f.host == "loopback":
        s.con(20, "the host is a loopback one, neither test nor production; it knows its own keys alone")
    elif f.host in ("test", "test_regional", "production", "production_regional"):
        which, other = ("test", "production") if f.host.startswith("test") else ("production", "test")
        s.pro(5, f"the host is a {which} one, and keys of {other} give 401 there")


def secret(f: Facts, s: Scale) -> None:
    if f.scheme in ("jwt_p12", "bearer") or (f.algorithm is not None and not f.algorithm.startswith("HS")):
        s.never("there is no shared secret with this scheme")
    elif f.accepted and f.scheme in OURS:
        s.never(f"{_calls(f.accepted)} accepted with the same secret")
    elif f.scheme in _BY_SECRET:
        if f.secret_bytes is None or f.secret_bytes == _SECRET_BYTES:
            s.never("this package always decodes the secret" + (", to 32 bytes here" if f.secret_bytes else ""))
        else:
            text = f"the secret has {f.secret_bytes} bytes once decoded, those of the Business Center have 32"
            s.pro(55, f"{text}: it was cut, encoded twice, or is something else")
    else:
        s.pro(15, "the signature is made elsewhere: whether the secret is decoded there cannot be seen from here")


def digest(f: Facts, s: Scale) -> None:
    if f.has_body is False:
        s.never("the request has no body, and so no digest")
        return
    if f.scheme == "bearer":
        s.never("an access token says nothing of the body")
        return
    if f.scheme in OURS:
        what = "the encrypted bytes" if f.body_encrypted else "the very bytes"
        s.con(20, f"the digest is taken of {what} that are sent")
    if f.accepted_with_body:
        s.con(15, f"{_calls(f.accepted_with_body, ' with a body')} accepted before")
    elif f.accepted:
        s.pro(45, f"{_calls(f.accepted, ' without a body')} accepted, none with one")
    if _between(f):
        s.pro(10, f"{_between(f)} could change the body on the way")


def clock(f: Facts, s: Scale) -> None:
    if f.scheme == "bearer":
        s.never("an access token is not signed with this machine's time")
        return
    if f.clock_measured is None:
        s.con(0, "the host did not say what time it is")
        return
    correction = f.clock_correction or 0.0
    off = f.clock_measured - correction
    direction = "ahead of" if f.clock_measured > 0 else "behind"
    text = f"the host's clock is {abs(f.clock_measured):.0f} s {direction} this machine's"
    if correction:
        text += f", and the last attempt was signed with {abs(off):.0f} s left of that"
    if abs(off) >= _APART:
        points = 80 if abs(off) >= _LIFETIME else 75 if abs(off) >= _FAR else 25
        s.pro(points, text)
        if off >= _LIFETIME and f.scheme != "http_signature":
            s.pro(0, "a token of ours lives for 120 s: it had ended on arrival")
        if f.clock_correctable is False:
            s.pro(0, "signing with the host's time is switched off")
    elif abs(off) >= _CLOSE:
        s.con(8, text + ", which is not much")
    elif correction:
        s.con(15, text + "; it was refused none the less")
    else:
        s.con(15, "this machine's clock agrees with the host's to a few seconds")


def path(f: Facts, s: Scale) -> None:
    if f.scheme == "bearer":
        s.never("an access token says nothing of the path")
        return
    if f.scheme in OURS:
        s.con(12, "the path that is signed is the one that is sent, with query and percent-encoding")
    if f.accepted_same and not f.path_parameters:
        s.con(15, f"{_calls(f.accepted_same, ' of this operation')} accepted before")
    elif f.accepted and not f.accepted_same:
        # What differs may as well be the body.
        s.pro(10 if f.has_body and not f.accepted_with_body else 35, "other operations were accepted, this one was not")
    if _between(f):
        s.pro(12, f"{_between(f)} could change the path on the way")
        if f.path_query or f.path_encoded:
            s.pro(10, "it has a query or percent-encoding in it, which is what gets changed")


def host(f: Facts, s: Scale) -> None:
    if f.signed is False:
        s.pro(70, "the operation needs no credentials: who asks for some is not the service, or another host of it")
    if f.host == "cybersource_other":
        s.pro(60, "the host is one of CyberSource's, but not one of its REST API: those begin with api or apitest")
    elif f.host == "other":
        s.pro(10, "the host is not one of CyberSource's")
    if f.intermediate_host:
        s.pro(50, "the connection goes to an intermediate host, which has to pass on the Host header unchanged")
    if f.proxy == "forward" or f.own_trust:
        s.pro(20, f"{_between(f._replace(intermediate_host=None))} could change the Host header on the way")
    elif f.proxy == "tunnel":
        s.con(0, "the proxy passes on an encrypted connection, which it cannot look into")
    if f.host_port and f.host != "loopback":
        s.pro(15, "the Host header has a port in it, which gateways like to drop")
    if f.answer_shape in ("html", "text", "empty") and f.answer_correlated is False:
        s.pro(
            60, "the answer has neither the service's form nor a correlation id: it may come from something on the way"
        )
    if f.accepted:
        s.con(40, f"{_calls(f.accepted)} accepted by the same way")
    if f.scheme in OURS and not _between(f) and f.intermediate_host is False:
        s.con(8, "what is signed is the Host header that is sent, and the connection goes straight there")


def credentials(f: Facts, s: Scale) -> None:
    if f.scheme == "bearer":
        s.never("an access token is not made from a merchant id and a key")
        return
    if f.accepted and f.scheme in OURS:
        s.never(f"{_calls(f.accepted)} accepted with the same merchant id and key")
        return
    if f.portfolio_is_merchant:
        s.pro(45, "portfolio id and merchant id are the same, which they never are with a meta key")
    elif f.portfolio:
        s.pro(15, "with a meta key there are two ids that can be exchanged: the portfolio made the key")
    elif f.portfolio is False:
        s.pro(0, "no portfolio id is set, which a meta key needs")
    if f.scheme == "jwt_p12":
        s.con(25, "the certificate in the file bears the id that is used, and fits the key")
    elif f.scheme in _BY_SECRET:
        s.pro(0, "nothing in a shared secret says to which key id and merchant it belongs")


def key_id(f: Facts, s: Scale) -> None:
    if f.scheme == "bearer":
        s.never("an access token has no key id")
        return
    if f.accepted and f.scheme in OURS:
        s.never(f"{_calls(f.accepted)} accepted with the same key id")
        return
    if f.scheme is None or f.scheme == "custom" or f.key_id_shape is None:
        s.con(0, "the key id cannot be seen from here")
        return
    certificate = f.scheme == "jwt_p12" or (f.scheme == "external_key" and not (f.algorithm or "RS").startswith("HS"))
    expected, what = ("22 digits", "certificates") if certificate else ("uuid", "shared secrets")
    shape = {"uuid": "a UUID", "22 digits": "22 digits"}
    if f.key_id_shape == expected:
        text = f"the key id is {shape[expected]}, as those of {what} are"
        if f.scheme == "jwt_p12":
            s.never(f"{text}; this package takes it from the subject's serialNumber, never the X.509 serial number")
        else:
            s.con(8, text)
    else:
        seen = shape.get(f.key_id_shape, "neither a UUID nor 22 digits")
        s.pro(65, f"the key id is {seen}; those of {what} are {shape[expected]}")


def lifetime(f: Facts, s: Scale) -> None:
    if f.scheme in ("http_signature", "bearer"):
        s.never("no token is made with this scheme")
    elif f.scheme in OURS:
        s.never("this package always ends its tokens 120 s after they begin")
    else:
        s.con(0, "the signer is not of this package: how long its tokens live cannot be seen from here")


def signed_lines(f: Facts, s: Scale) -> None:
    if f.scheme == "http_signature":
        s.never("this package signs request-target without parentheses, and lists the lines in the service's order")
    elif f.scheme in (*OURS, "bearer"):
        s.never("only HTTP Signature has such lines")
    else:
        s.con(0, "the signer is not of this package: what it signs cannot be seen from here")


def ended(f: Facts, s: Scale) -> None:
    if f.scheme == "bearer":
        s.pro(45, "access tokens end after a short while")
        if f.renewable and (f.refusals or 0) > 1:
            s.con(30, "a new one was fetched after the first refusal, and was refused as well")
    if f.accepted_same:
        s.pro(50, f"{_calls(f.accepted_same, ' of this operation')} accepted before{_ago(f)}")
    elif f.accepted:
        s.pro(15, f"{_calls(f.accepted)} accepted before{_ago(f)}")
    elif f.accepted == 0 and f.scheme != "bearer":
        s.con(0, "no signed call of this client has been accepted: whether the key ever worked is not known")
    days = f.certificate_days_left
    if days is not None and days < 0:
        s.pro(80, f"the certificate ended {_days(-days)} ago")
    elif days is not None:
        s.con(5, f"the certificate is valid for {_days(days)} more, though it can have been deactivated before")


def retired(f: Facts, s: Scale) -> None:
    if f.scheme in ("jwt_shared_secret", "jwt_p12", "external_key"):
        s.never("the tokens of this package are of version 2, which stays")
    elif f.scheme == "bearer":
        s.never("OAuth is not retired")
    elif f.scheme != "http_signature" or f.date is None:
        s.con(0, "whether it is one of the schemes that end cannot be seen from here")
    elif f.date >= _END:
        s.pro(85, "CyberSource retires HTTP Signature in March 2027, and that has come")
    elif f.date >= _FIRST_END:
        s.pro(20, "September 2026 was the first date for the end of HTTP Signature, March 2027 is the one named since")
    else:
        s.con(0, "HTTP Signature ends in March 2027, and that has not come yet")
    if f.scheme == "http_signature" and f.accepted and (f.accepted_seconds_ago or 0) < _HOUR:
        s.con(60, f"{_calls(f.accepted)} accepted with it before{_ago(f)}")


def _between(f: Facts) -> str:
    """What can change a request on its way, or nothing."""
    found = []
    if f.intermediate_host:
        found.append("the intermediate host")
    if f.proxy == "forward":
        found.append("the proxy")
    if f.own_trust:
        found.append("whoever the certificates that are trusted here belong to")
    return " or ".join(found)


def _calls(number: int, which: str = "") -> str:
    return f"{number} signed call{which} was" if number == 1 else f"{number} signed calls{which} were"


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def _ago(f: Facts) -> str:
    seconds = f.accepted_seconds_ago
    if seconds is None:
        return ""
    if seconds < 2 * _FAR:
        return f", the last one {seconds:.0f} s ago"
    return f", the last one {seconds / _FAR:.0f} minutes ago"
