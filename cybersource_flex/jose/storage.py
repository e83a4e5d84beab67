"""Store a verified capture context as a string between two requests: in a session, in Redis, in a signed cookie.

A stored context contains no secret, but an attacker must not be able to replace it:

- **With a key**, the string has a MAC (message authentication code) and can be stored anywhere, also in the browser.
  Restoring rejects a string that was modified, or that was stored with a different key or ``session_id``.
- **Without a key**, store the string where the browser cannot write. Restoring verifies the signature of the context
  again, so a forged context is rejected. But an attacker who can write to the store can insert a genuine context of
  their own, and the server then accepts the tokens that they create with it.
"""

from __future__ import annotations

import base64
import hmac
import zlib
from typing import TYPE_CHECKING, Final

from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError, InvalidSignatureError, MalformedTokenError
from .capture_context import CaptureContext, UnverifiedContext
from .compact import DEFAULT_LIMITS, TokenLimits, check_limits, encode_part
from .keys import KeySource, PublicKey, check_key_source, verify_with_key_source
from .verified import DEFAULT_LEEWAY, check_options

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["StoredContext", "restore_capture_context", "store_capture_context"]

_PREFIX: Final = "fc1."
_MIN_KEY_BYTES: Final = 16
# Seconds for which a transient token is valid. A token that was created in the last second of its context expires this
# long after the context. Therefore an expired context can still be restored for this long.
TOKEN_LIFETIME: Final = 900


@clear_locals_on_error
def store_capture_context(context: CaptureContext, key: str | bytes | None = None, *, session_id: str = "") -> str:
    """Convert a context to a string of letters, digits, ``.``, ``-`` and ``_``, about 20 % shorter than the JWT.

    Args:
        context: the verified capture context.
        key: secret key of the MAC, at least 16 bytes, the same on all servers. None stores the context without a MAC.
        session_id: id of the session that the context belongs to. Pass the same id to restore the context. Requires
            ``key``. With the empty string, the context is not bound to a session.

    Raises:
        ConfigurationError: ``context`` is not a verified context, the key is too short, or ``session_id`` was passed
            without a key.
    """
    if not isinstance(context, CaptureContext):
        raise ConfigurationError(f"context must be a verified CaptureContext, not {type(context).__name__}")
    secret, session = _mac_arguments(key, session_id)
    header, payload, signature = (base64.urlsafe_b64decode(part + "==") for part in context.jwt.split("."))
    packed = zlib.compress(len(header).to_bytes(2, "big") + header + payload, 9)
    body = len(signature).to_bytes(2, "big") + signature + packed
    mac = b"" if secret is None else _mac(secret, session, body)
    return f"{_PREFIX}{encode_part(body)}.{encode_part(mac)}"


@clear_locals_on_error
def restore_capture_context(
    stored: str,
    keys: KeySource,
    key: str | bytes | None = None,
    *,
    session_id: str = "",
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
) -> CaptureContext:
    """Restore a stored context. Verify its MAC if a key is passed, otherwise its signature.

    Args:
        stored: the string that ``store_capture_context`` returned.
        keys: source of the long-term keys. Not used if ``key`` is passed.
        key: the key that was passed to ``store_capture_context``. None if the context was stored without a key. If a
            key is passed, a context without a MAC is rejected.
        session_id: the session id that was passed to ``store_capture_context``.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        limits: maximum size of the context.
        host_time: the difference between the host's clock and this machine's: ``client.clock.host_time()``. None if
            unknown. A context without a MAC is rejected as "not yet valid" only if both clocks say so, because it came
            from the host. A context with a MAC was verified before it was stored. It is checked for "not yet valid"
            only if ``now`` is passed.

    Raises:
        MalformedTokenError: the string is not a stored context.
        InvalidSignatureError: the MAC or the signature does not match.
        ExpiredTokenError: the context and all transient tokens created with it have expired.
        TokenError: verification rejects the context; see ``verify_capture_context``.
        ConfigurationError: an argument besides ``stored`` is wrong.
    """
    check_options(now=now, leeway=leeway, host_time=host_time)
    if key is None:
        check_key_source("keys", keys)
    context = StoredContext(stored, key, session_id=session_id, limits=limits)
    if context.authenticated:
        return context.trust_mac(now=now, leeway=leeway, host_time=host_time)
    return verify_with_key_source(
        keys, context.kid, lambda key: context.verify(key, now=now, leeway=leeway, host_time=host_time)
    )


class StoredContext:
    """A stored context after parsing. If a key was passed, the MAC was verified too.

    Arguments and errors are those of ``restore_capture_context``.

    Attributes:
        kid: id of the long-term key that signed the context.
        authenticated: whether the MAC was verified. If so, call ``trust_mac``, otherwise ``verify``.
    """

    __slots__ = ("_unverified", "authenticated", "kid")

    def __init__(
        self, stored: str, key: str | bytes | None = None, *, session_id: str = "", limits: TokenLimits = DEFAULT_LIMITS
    ) -> None:
        # The caller's own arguments are checked before the string, which may come from an attacker.
        check_limits(limits)
        secret, session = _mac_arguments(key, session_id)
        body, mac = _split(stored, limits)
        if secret is None:
            if mac:
                raise InvalidSignatureError(
                    "the stored context has a MAC, but no key was passed; pass the key that it was stored with"
                )
        elif not hmac.compare_digest(mac, _mac(secret, session, body)):
            raise InvalidSignatureError(
                "the MAC of the stored context does not match: the string was modified, or stored with a different "
                "key or session_id"
            )
        self._unverified = UnverifiedContext(_unpack_jwt(body, limits), limits)
        self.kid = self._unverified.kid
        self.authenticated = key is not None

    def trust_mac(
        self, *, now: float | None = None, leeway: float = DEFAULT_LEEWAY, host_time: HostTime | None = None
    ) -> CaptureContext:
        """Return the context without verifying its signature again, because its MAC was verified."""
        if not self.authenticated:
            raise InvalidSignatureError(
                "trust_mac needs a stored context whose MAC was verified; this one has no MAC, so call verify"
            )
        return self._unverified.verify_claims(now=now, leeway=leeway, grace=TOKEN_LIFETIME, host_time=host_time)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        host_time: HostTime | None = None,
    ) -> CaptureContext:
        """Verify the signature with the long-term key whose id is ``kid``, and return the context."""
        return self._unverified.verify(
            key, now=now, leeway=leeway, grace=TOKEN_LIFETIME, host_time=host_time, received_from_host=True
        )


def _mac_arguments(key: str | bytes | None, session_id: str) -> tuple[bytes | None, bytes]:
    """Check the key and the session id, and return them as bytes. Raises ``ConfigurationError``."""
    if not isinstance(session_id, str):
        raise ConfigurationError(f"session_id must be a string, not {type(session_id).__name__}")
    if key is None:
        if session_id:
            raise ConfigurationError(
                "session_id was passed without a key; pass both, because only a MAC can bind a context to a session"
            )
        return None, b""
    if not isinstance(key, (str, bytes)):
        raise ConfigurationError(f"the key of stored contexts must be a string or bytes, not {type(key).__name__}")
    secret = _encode(key, "the key of stored contexts") if isinstance(key, str) else key
    if len(secret) < _MIN_KEY_BYTES:
        raise ConfigurationError(
            f"the key of stored contexts has {len(secret)} bytes; expected at least {_MIN_KEY_BYTES} bytes"
        )
    return secret, _encode(session_id, "session_id")


def _encode(value: str, name: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        pass
    # Raised outside the `except` block, because a UnicodeEncodeError contains the whole string.
    raise ConfigurationError(f"{name} contains a lone surrogate, which is not a character")


def _mac(secret: bytes, session: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, _PREFIX.encode("ascii") + len(session).to_bytes(4, "big") + session + body, "sha256")


def _split(stored: str, limits: TokenLimits) -> tuple[bytes, bytes]:
    if not isinstance(stored, str):
        raise MalformedTokenError(f"the stored capture context must be a string, not {type(stored).__name__}")
    if not stored.startswith(_PREFIX) or len(stored) > limits.max_length:
        raise MalformedTokenError(f"the string is not a stored capture context{_explain_start(stored)}")
    body, dot, mac = stored.removeprefix(_PREFIX).partition(".")
    try:
        if not dot:
            raise ValueError
        return _decode(body), _decode(mac)
    except ValueError:
        raise MalformedTokenError("the stored capture context is damaged") from None


def _explain_start(stored: str) -> str:
    """Return what a string that is not a stored context probably is, to append to an error message."""
    if not stored:
        return ": it is empty"
    if stored.startswith("ey"):
        return ": it is a JWT or JWE; pass a JWT to verify_capture_context"
    if stored.lstrip("\"' \t\r\n").startswith(_PREFIX):
        return ": it starts with white space or a quotation mark; pass the string that store_capture_context returned"
    return ""


def _unpack_jwt(body: bytes, limits: TokenLimits) -> str:
    """Return the JWT exactly as it was stored."""
    size = int.from_bytes(body[:2], "big")
    signature, packed = body[2 : 2 + size], body[2 + size :]
    decompressor = zlib.decompressobj()
    try:
        # The output is limited, because a few bytes can decompress to gigabytes.
        content = decompressor.decompress(packed, limits.max_length)
    except zlib.error:
        raise MalformedTokenError("the stored capture context is damaged") from None
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedTokenError("the stored capture context is damaged or too large")
    end = 2 + int.from_bytes(content[:2], "big")
    return ".".join(encode_part(part) for part in (content[2:end], content[end:], signature))


def _decode(encoded: str) -> bytes:
    if not encoded.isascii():
        raise ValueError("base64url has only ASCII characters")
    data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    if encode_part(data) != encoded:
        raise ValueError("not the canonical base64url encoding of these bytes")
    return data
