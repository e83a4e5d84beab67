"""A verified capture context as a text, to keep between the two steps: in a session, in Redis, in a signed cookie.

What is safe where:

- **Sealed** (with a key), the text may be kept anywhere, the browser included: a changed one, one that was not sealed
  here, and one that was sealed for another session (``bind``) are refused. It is not secret; there is nothing secret
  in it.
- **Unsealed**, the text belongs into a store that the client cannot write to. Its signature is verified again when it
  is restored, so nobody can invent one; but whoever can write to the store can put in another genuine context, one
  they asked for themselves, and then have any card of theirs accepted in this place.
"""

from __future__ import annotations

import base64
import hmac
import zlib
from typing import TYPE_CHECKING, Final

from .._sealed import sealed
from ..errors import ConfigurationError, InvalidSignatureError, MalformedTokenError
from .capture_context import CaptureContext, UnverifiedContext
from .compact import DEFAULT_LIMITS, TokenLimits
from .keys import KeySource, PublicKey, with_key
from .verified import DEFAULT_LEEWAY

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["StoredContext", "restore_capture_context", "store_capture_context"]

_PREFIX: Final = "fc1."
_MIN_KEY_BYTES: Final = 16
# A transient token made in a context's last second lives for this long, in seconds; after that the context is useless.
TOKEN_LIFETIME: Final = 900


@sealed
def store_capture_context(context: CaptureContext, key: str | bytes | None = None, *, bind: str = "") -> str:
    """A context as a text of letters, digits, ``.``, ``-`` and ``_``; about four fifths as long as its JWT.

    Args:
        context: the verified capture context.
        key: seals the text: 16 bytes at least, secret, the same on all servers. None leaves it unsealed.
        bind: whom it is for, a session's id; restoring takes the same. Needs a key.

    Raises:
        ConfigurationError: the key is too short, or ``bind`` comes without one.
    """
    if not isinstance(context, CaptureContext):
        raise ConfigurationError(f"context must be a verified CaptureContext, not {type(context).__name__}")
    header, payload, signature = (base64.urlsafe_b64decode(part + "==") for part in context.jwt.split("."))
    packed = zlib.compress(len(header).to_bytes(2, "big") + header + payload, 9)
    body = len(signature).to_bytes(2, "big") + signature + packed
    return f"{_PREFIX}{_text(body)}.{_text(_mac(key, bind, body))}"


@sealed
def restore_capture_context(
    text: str,
    keys: KeySource,
    key: str | bytes | None = None,
    *,
    bind: str = "",
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
) -> CaptureContext:
    """The context that was stored. Sealed, it is believed for the seal; unsealed, its signature is verified again.

    Args:
        text: what ``store_capture_context`` gave.
        keys: where the long-term key comes from; not asked where there is a seal.
        key: what it was sealed with. Where it is given, an unsealed text is refused.
        bind: whom it was for.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        limits: how large the context may be.
        host_time: the host's clock compared with this machine's: ``client.clock.host_time()``. The context came from
            the host, so it is "not yet valid" only where both clocks say so; a sealed one is not unless ``now`` is
            given, because it was verified before it was sealed.

    Raises:
        MalformedTokenError: not such a text.
        InvalidSignatureError: the seal, or the signature, does not fit.
        ExpiredTokenError: no transient token of this context can be valid any more.
        TokenError: the context in it is not acceptable.
    """
    stored = StoredContext(text, key, bind=bind, limits=limits)
    if stored.sealed:
        return stored.accept(now=now, leeway=leeway, host_time=host_time)
    return with_key(keys, stored.kid, lambda key: stored.verify(key, now=now, leeway=leeway, host_time=host_time))


class StoredContext:
    """A stored context that was read, and its seal checked where it has one. Arguments and errors are those of
    ``restore_capture_context``.

    Attributes:
        kid: name of the long-term key.
        sealed: whether it is believed for its seal, with ``accept``; else it is verified again, with ``verify``.
    """

    __slots__ = ("_unverified", "kid", "sealed")

    def __init__(
        self, text: str, key: str | bytes | None = None, *, bind: str = "", limits: TokenLimits = DEFAULT_LIMITS
    ) -> None:
        body, seal = _split(text, limits)
        if key is None and seal:
            raise ConfigurationError("the stored context is sealed; restoring it takes the sealing key")
        if not hmac.compare_digest(seal, _mac(key, bind, body)):
            raise InvalidSignatureError(
                "the seal of the stored context does not fit: changed, or sealed for something else"
            )
        self._unverified = UnverifiedContext(_token(body, limits), limits)
        self.kid = self._unverified.kid
        self.sealed = key is not None

    def accept(
        self, *, now: float | None = None, leeway: float = DEFAULT_LEEWAY, host_time: HostTime | None = None
    ) -> CaptureContext:
        """The context, for its seal."""
        if not self.sealed:
            raise InvalidSignatureError("the stored context has no seal to believe it for")
        return self._unverified.accept(now=now, leeway=leeway, grace=TOKEN_LIFETIME, host_time=host_time)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        host_time: HostTime | None = None,
    ) -> CaptureContext:
        """The context, for its signature under the long-term key named ``kid``."""
        return self._unverified.verify(
            key, now=now, leeway=leeway, grace=TOKEN_LIFETIME, host_time=host_time, from_host=True
        )


def _mac(key: str | bytes | None, bind: str, body: bytes) -> bytes:
    if not isinstance(bind, str):
        raise ConfigurationError(f"bind must be a string, not {type(bind).__name__}")
    if key is None:
        if bind:
            raise ConfigurationError("bind needs a sealing key: without one anybody could bind anew")
        return b""
    if not isinstance(key, (str, bytes)):
        raise ConfigurationError(f"the sealing key must be a string or bytes, not {type(key).__name__}")
    secret = key.encode("utf-8") if isinstance(key, str) else key
    if len(secret) < _MIN_KEY_BYTES:
        raise ConfigurationError(f"the sealing key is too short; at least {_MIN_KEY_BYTES} bytes are needed")
    owner = bind.encode("utf-8")
    return hmac.digest(secret, _PREFIX.encode("ascii") + len(owner).to_bytes(4, "big") + owner + body, "sha256")


def _split(text: str, limits: TokenLimits) -> tuple[bytes, bytes]:
    if not isinstance(text, str) or not text.startswith(_PREFIX) or len(text) > limits.max_length:
        raise MalformedTokenError("this is not a stored capture context")
    body, dot, seal = text.removeprefix(_PREFIX).partition(".")
    try:
        if not dot:
            raise ValueError
        return _bytes(body), _bytes(seal)
    except ValueError:
        raise MalformedTokenError("the stored capture context is damaged") from None


def _token(body: bytes, limits: TokenLimits) -> str:
    """The JWT, put together again to the letter."""
    size = int.from_bytes(body[:2], "big")
    signature, packed = body[2 : 2 + size], body[2 + size :]
    unpacker = zlib.decompressobj()
    try:
        # To a limit: a few bytes can unpack to gigabytes.
        content = unpacker.decompress(packed, limits.max_length)
    except zlib.error:
        raise MalformedTokenError("the stored capture context is damaged") from None
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedTokenError("the stored capture context is damaged or too large")
    end = 2 + int.from_bytes(content[:2], "big")
    return ".".join(_text(part) for part in (content[2:end], content[end:], signature))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    if not text.isascii() or _text(data := base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) != text:
        raise ValueError("not base64url in the one way that it can be written")
    return data
