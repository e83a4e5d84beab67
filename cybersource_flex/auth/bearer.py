"""``BearerToken``: a signer that sends an OAuth access token (CyberSource REST guide, OAuth; RFC 6750)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from .._callables import check_function, check_result
from .._runtime.lock import ForkSafeLock
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..transport.messages import Request

__all__ = ["BearerToken"]

# RFC 6750 section 2.1: b64token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@clear_locals_on_error
class BearerToken:
    """Sends an OAuth access token. The caller gets the token from CyberSource's token endpoint, over mutual TLS.

    Args:
        token: the token, or a function that returns one. The client calls the function before the first request. After
            a 401 response, the client calls it again, at most once per API call, unless another call has got a new
            token in the meantime. The function can be called from any thread, and must not be async.

    Raises:
        ConfigurationError: ``token`` is neither a string nor a function, or the token is malformed.
    """

    __slots__ = ("_current", "_lock", "_source")

    supports_mle = False

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._lock = ForkSafeLock()
        self._current: str | None = None
        self._source: Callable[[], str] | None = None
        if callable(token):
            check_function("token", token, "an access token, or a function that returns one")
            self._source = token
        else:
            self._current = _check_token(token)

    def __repr__(self) -> str:
        return f"BearerToken(<{'token' if self._source is None else 'function'}>)"

    def __reduce__(self) -> NoReturn:
        content = "an access token" if self._source is None else "a function that returns access tokens"
        raise TypeError(f"a BearerToken cannot be pickled or copied: it holds {content}")

    @property
    def may_block(self) -> bool:
        """Whether tokens come from a function. The async client calls the function in a thread."""
        return self._source is not None

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """Return the ``Authorization`` header with the token. See ``cybersource_flex.transport.Signer``."""
        with self._lock:
            token = self._current
            if token is None and self._source is not None:
                token = self._current = _check_token(check_result("token", self._source()))
        return {"Authorization": _authorization(token)}

    def diagnostic_facts(self) -> dict[str, str | int | bool | None]:
        """Non-secret facts about the credentials. See ``cybersource_flex.transport.Signer``."""
        return {"scheme": "bearer", "refreshable": self._source is not None}

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        """Discard the token after a 401, if it is the rejected one. Returns whether there is or can be a new token.

        If many calls are rejected because the token has expired, only the first of them must discard it. The others
        would discard the new token, and some authorization servers accept only the last token that they issued.

        Args:
            rejected: the headers that ``sign`` returned for the rejected request.
        """
        if self._source is None:
            return False
        # The lock is not taken here. A thread that holds the lock is already fetching a new token, and the event loop
        # must not wait for that thread.
        if rejected.get("Authorization") == _authorization(self._current):
            self._current = None
        return True


def _authorization(token: str | None) -> str:
    return f"Bearer {token}"


def _check_token(token: str) -> str:
    if not isinstance(token, str) or not token.strip():
        raise ConfigurationError("the access token must be a string that is not empty")
    if not _TOKEN.fullmatch(token.strip()):
        raise ConfigurationError(
            "the access token contains characters that are not allowed; expected letters, digits and -._~+/, and = "
            "only at the end"
        )
    return token.strip()
