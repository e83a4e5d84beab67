"""OAuth: an access token that somebody else fetched (CyberSource REST guide, OAuth; RFC 6750)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from .._callables import check_function, check_result
from .._lock import Lock
from .._sealed import sealed
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..transport.message import Request

__all__ = ["BearerToken"]

# RFC 6750 section 2.1: b64token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@sealed
class BearerToken:
    """Sends an access token. Getting one from CyberSource's token endpoint, over mutual TLS, is the caller's affair.

    Args:
        token: the token, or a function that returns one. The function is asked on the first call, its answer is kept,
            and it is asked again, once for a call, when the service answers 401. It may be called from any thread, and
            must not be async.

    Raises:
        ConfigurationError: neither, or a text that cannot be a token.
    """

    __slots__ = ("_current", "_lock", "_source")

    supports_mle = False

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._lock = Lock()
        self._current: str | None = None
        self._source: Callable[[], str] | None = None
        if callable(token):
            check_function("token", token, "an access token, or a function that returns one")
            self._source = token
        else:
            self._current = _checked(token)

    def __repr__(self) -> str:
        return f"BearerToken(<{'text' if self._source is None else 'function'}>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BearerToken holds a token and cannot be pickled")

    @property
    def blocks(self) -> bool:
        """Whether a function is asked for tokens: on an event loop that is done in a thread."""
        return self._source is not None

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """``Authorization`` with the token. See ``cybersource_flex.transport.Signer``."""
        with self._lock:
            token = self._current
            if token is None and self._source is not None:
                token = self._current = _checked(check_result("token", self._source()))
        return {"Authorization": f"Bearer {token}"}

    def facts(self) -> dict[str, str | int | bool | None]:
        """What is safe to tell of the credentials. See ``cybersource_flex.transport.Signer``."""
        return {"scheme": "bearer", "renewable": self._source is not None}

    def renew(self) -> bool:
        """Forget the token, after a 401. Returns whether another can be had."""
        if self._source is None:
            return False
        # Without the lock: whoever holds it is being given a new one, and an event loop must not wait for that.
        self._current = None
        return True


def _checked(token: str) -> str:
    if not isinstance(token, str) or not token.strip():
        raise ConfigurationError("the access token is empty or not a text")
    if not _TOKEN.fullmatch(token.strip()):
        raise ConfigurationError("the access token has characters in it that a bearer token cannot have")
    return token.strip()
