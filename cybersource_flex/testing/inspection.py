"""Render objects, exceptions and log records in every way in which logs and error reporters can show them."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple

__all__ = ["Rendering", "is_emulator_record", "render_exception", "render_log_record", "render_object"]

_PACKAGE: Final = __name__.partition(".")[0]
_TESTING: Final = __name__.rpartition(".")[0]
_EMULATOR_THREAD: Final = "flex-emulator"

# Attributes that every log record has. The caller that logs added all others.
_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({})))


class Rendering(NamedTuple):
    """A string that shows an object, and a description of where it appeared."""

    where: str
    content: str


def render_object(value: Any, allow: Collection[str], where: str = "") -> Iterator[Rendering]:
    """Yield ``str``, ``repr``, attributes, pickles and JSON of an object, if it has them."""
    where = where or f"a watched {type(value).__name__}"
    yield from _render(f"str() of {where}", value, str)
    yield from _render(f"repr() of {where}", value, repr)
    if isinstance(value, (bytes, bytearray)):
        yield Rendering(where, value.decode("latin-1"))
    for name, attribute in list(getattr(value, "__dict__", {}).items()):
        if name not in allow:
            yield from _render(f"attribute {name} of {where}", attribute, repr)
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        yield from _render(f"pickle of {where}", value, lambda obj: pickle.dumps(obj, protocol).decode("latin-1"))  # noqa: B023
    yield from _render(f"JSON of {where}", value, lambda obj: json.dumps(obj, ensure_ascii=False))


def render_exception(error: BaseException, where: str = "") -> Iterator[Rendering]:
    """Yield an exception and those that caused it, with their notes and the local variables of their frames."""
    visited: set[int] = set()
    pending: list[BaseException | None] = [error]
    callers = _callers(error)
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        type_name = type(current).__name__
        cause = f"{type_name}, the cause of {type(error).__name__}"
        place = where or (f"a watched {type_name}" if current is error else cause)
        yield from _render(f"str() of {place}", current, str)
        yield from _render(f"repr() of {place}", current, repr)
        yield from _render(f"notes of {place}", getattr(current, "__notes__", ()), repr)
        for frame, line in _frames(current, callers):
            code = frame.f_code
            folder, file = os.path.split(code.co_filename)
            location = f"{code.co_name} ({os.path.basename(folder)}/{file}:{line})"
            for name, value in frame.f_locals.items():
                yield from _render(f"variable {name} of {location} in the traceback of {place}", value, repr)
        pending += (current.__cause__, current.__context__, *getattr(current, "exceptions", ()))


def is_emulator_record(record: logging.LogRecord) -> bool:
    """Whether a log record comes from the emulator or from the server in its thread."""
    return record.name.startswith(f"{_PACKAGE}.emulator") or record.threadName == _EMULATOR_THREAD


def render_log_record(record: logging.LogRecord) -> Iterator[Rendering]:
    """Yield the message of a log record, its arguments, its extra attributes and its exception."""
    where = f"the log, {record.levelname} of {record.name} ({record.module}:{record.lineno})"
    yield from _render(where, record, logging.LogRecord.getMessage)
    yield from _render(f"{where}, format", record.msg, str)
    yield from _render(f"{where}, arguments", record.args, repr)
    for name, value in vars(record).items():
        if name not in _STANDARD_ATTRIBUTES or name in ("exc_text", "stack_info"):
            yield from _render(f"{where}, {name}", value, str)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        yield from render_exception(error, f"the exception in {where}")


def _frames(error: BaseException, callers: Collection[FrameType]) -> list[tuple[FrameType, int]]:
    """Return the frames of a traceback from the first frame of this package on.

    If the traceback has no frame of this package, all frames are returned. But if ``callers`` is empty, or contains the
    first frame of the traceback, no frames are returned.
    """
    frames = list(_walk(error))
    inside = [index for index, (frame, _) in enumerate(frames) if _is_package_frame(frame)]
    if inside:
        return frames[inside[0] :]
    return [] if not callers or (frames and frames[0][0] in callers) else frames


def _callers(error: BaseException) -> list[FrameType]:
    callers: list[FrameType] = []
    for frame, _ in _walk(error):
        if _is_package_frame(frame):
            break
        callers.append(frame)
    return callers


def _walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_package_frame(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] == _PACKAGE and not name.startswith(_TESTING)


def _render(where: str, value: Any, render: Callable[[Any], str]) -> Iterator[Rendering]:
    try:
        content = render(value)
    except Exception:
        # The object has no such representation, so nothing can leak through it.
        return
    yield Rendering(where, content)
