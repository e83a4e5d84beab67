"""Resolve host names with a time limit."""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from ..._runtime.lock import ForkSafeLock
from ..._runtime.monotonic import monotonic
from ..._runtime.threads import start_in_thread, wait_for_result

__all__ = ["Address", "resolve", "start_lookup"]

#: One entry of ``socket.getaddrinfo``.
Address: TypeAlias = tuple[Any, Any, int, str, Any]

_lock: Final = ForkSafeLock()
_lookups: dict[tuple[int, str, int], Future[list[Address]]] = {}


def resolve(host: str, port: int, deadline: float) -> list[Address]:
    """Resolve a host to its addresses, as ``socket.getaddrinfo`` does, but with a deadline.

    ``getaddrinfo`` has no timeout and cannot be interrupted, so it runs in a thread. Concurrent lookups of the same
    name share one thread, so that a stalled resolver blocks only one thread for each name.

    Args:
        host: host name or IP address, without brackets.
        port: port number.
        deadline: when to stop waiting, on the monotonic clock.

    Raises:
        WaitTimeoutError: the name was not resolved before the deadline.
        TooManyThreadsError: no thread can be started.
        OSError: the lookup failed; ``socket.gaierror`` for a name that does not exist.
    """
    if _is_address(host):
        return _look_up(host, port)
    return wait_for_result(start_lookup(host, port), max(0.0, deadline - monotonic()))


def start_lookup(host: str, port: int) -> Future[list[Address]]:
    """Resolve a name in a thread, or join the running lookup of the same name.

    Raises:
        TooManyThreadsError: no thread can be started.
    """
    key = os.getpid(), host, port
    with _lock:
        lookup = _lookups.get(key)
        # A finished lookup can still be in the dictionary, if an exception interrupted the caller that started it.
        if lookup is None or lookup.done():
            lookup = _lookups[key] = start_in_thread(lambda: _look_up(host, port))
            lookup.add_done_callback(lambda _: _lookups.pop(key, None))
    return lookup


def _look_up(host: str, port: int) -> list[Address]:
    addresses = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not addresses:
        # The system never does this, but programs replace the function, for example to leave out IPv6 addresses.
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    return addresses


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
