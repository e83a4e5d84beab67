"""What can be seen of things from outside: by logs, by tools that report exceptions, by whoever writes them down."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple

__all__ = ["Rendered", "is_the_hosts", "of_exception", "of_object", "of_record"]

_PACKAGE: Final = __name__.partition(".")[0]
_OWN: Final = __name__.rpartition(".")[0]
_HOST_THREAD: Final = "flex-emulator"

# What every record has. All else in one was given by whoever logged.
_RECORD: Final = frozenset(vars(logging.makeLogRecord({})))


class Rendered(NamedTuple):
    """A text, and where it was seen."""

    where: str
    text: str


def of_object(thing: Any, allow: Collection[str], where: str = "") -> Iterator[Rendered]:
    """``str``, ``repr``, attributes, pickle and JSON of a thing, as far as it has them."""
    where = where or f"a watched {type(thing).__name__}"
    yield from _text(f"str() of {where}", thing, str)
    yield from _text(f"repr() of {where}", thing, repr)
    if isinstance(thing, (bytes, bytearray)):
        yield Rendered(where, thing.decode("latin-1"))
    for name, value in list(getattr(thing, "__dict__", {}).items()):
        if name not in allow:
            yield from _text(f"attribute {name} of {where}", value, repr)
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        yield from _text(f"pickle of {where}", thing, lambda each: pickle.dumps(each, protocol).decode("latin-1"))  # noqa: B023
    yield from _text(f"JSON of {where}", thing, lambda each: json.dumps(each, ensure_ascii=False))


def of_exception(error: BaseException, where: str = "") -> Iterator[Rendered]:
    """The frames of an exception and of those that it came from: what they are called, and their variables."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    callers = _callers(error)
    while left:
        each = left.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        kind = type(each).__name__
        place = where or (f"a watched {kind}" if each is error else f"{kind}, which {type(error).__name__} came from")
        yield from _text(f"str() of {place}", each, str)
        yield from _text(f"repr() of {place}", each, repr)
        yield from _text(f"notes of {place}", getattr(each, "__notes__", ()), repr)
        for frame, line in _frames(each, callers):
            code = frame.f_code
            spot = f"{os.path.basename(os.path.dirname(code.co_filename))}/{os.path.basename(code.co_filename)}:{line}"
            for name, value in frame.f_locals.items():
                yield from _text(f"variable {name} of {code.co_name} ({spot}) in the traceback of {place}", value, repr)
        left += (each.__cause__, each.__context__, *getattr(each, "exceptions", ()))


def is_the_hosts(record: logging.LogRecord) -> bool:
    """Whether a record comes from the emulator, or the server that it runs in its thread."""
    return record.name.startswith(f"{_PACKAGE}.emulator") or record.threadName == _HOST_THREAD


def of_record(record: logging.LogRecord) -> Iterator[Rendered]:
    """The message of a log record, its arguments, whatever was added to it, and its exception."""
    where = f"the log, {record.levelname} of {record.name} ({record.module}:{record.lineno})"
    yield from _text(where, record, logging.LogRecord.getMessage)
    yield from _text(f"{where}, format", record.msg, str)
    yield from _text(f"{where}, arguments", record.args, repr)
    for name, value in vars(record).items():
        if name not in _RECORD or name in ("exc_text", "stack_info"):
            yield from _text(f"{where}, {name}", value, str)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        yield from of_exception(error, f"the exception in {where}")


def _frames(error: BaseException, callers: Collection[FrameType]) -> list[tuple[FrameType, int]]:
    """Frames from the first one of this package on. All, where there is none and it did not begin with a caller."""
    found = list(_walk(error))
    inside = [index for index, (frame, _) in enumerate(found) if _is_ours(frame)]
    if inside:
        return found[inside[0] :]
    return [] if not callers or (found and found[0][0] in callers) else found


def _callers(error: BaseException) -> list[FrameType]:
    found: list[FrameType] = []
    for frame, _ in _walk(error):
        if _is_ours(frame):
            break
        found.append(frame)
    return found


def _walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] == _PACKAGE and not name.startswith(_OWN)


def _text(where: str, thing: Any, render: Callable[[Any], str]) -> Iterator[Rendered]:
    try:
        text = render(thing)
    except Exception:
        # It has no such form, and so nothing to show in it.
        return
    yield Rendered(where, text)
