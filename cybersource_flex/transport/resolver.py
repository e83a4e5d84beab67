"""Resolve host names with a time limit."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from .._lock import Lock
from .._threads import result_in_time, start_in_thread

__all__ = ["Address", "resolve", "start_lookup"]

#: One entry of ``socket.getaddrinfo``.
Address: TypeAlias = tuple[Any, Any, int, str, Any]

_lock: Final = Lock()
_lookups: dict[tuple[int, str, int], Future[list[Address]]] = {}


def resolve(host: str, port: int, deadline: float) -> list[Address]:
    """The addresses of a host, as ``socket.getaddrinfo`` returns them.

    ``getaddrinfo`` takes no timeout and cannot be interrupted, so it runs in a thread. Callers that ask for a name
    while it is being looked up share one lookup: a resolver that stalls holds one thread for each name and no more.

    Args:
        host: host name or IP address, without brackets.
        port: port number.
        deadline: when to stop waiting, on the monotonic clock.

    Raises:
        NotInTimeError: the name was not resolved before the deadline.
        TooManyThreadsError: no thread can be started.
        OSError: the lookup failed; ``socket.gaierror`` for a name that does not exist.
    """
    if _is_address(host):
        return _look_up(host, port)
    return result_in_time(start_lookup(host, port), max(0.0, deadline - time.monotonic()))


def start_lookup(host: str, port: int) -> Future[list[Address]]:
    """Start to resolve a name in a thread, or join the lookup of the same name that is under way.

    Raises:
        TooManyThreadsError: no thread can be started.
    """
    key = os.getpid(), host, port
    with _lock:
        lookup = _lookups.get(key)
        # One that is done was not taken out, because an exception interrupted the caller that started it.
        if lookup is None or lookup.done():
            lookup = _lookups[key] = start_in_thread(lambda: _look_up(host, port))
            lookup.add_done_callback(lambda _: _lookups.pop(key, None))
    return lookup


def _look_up(host: str, port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
