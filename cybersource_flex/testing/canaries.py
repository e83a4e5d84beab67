"""Secrets that are planted, and looked for wherever none may be."""

from __future__ import annotations

import logging
import secrets
import sys
import warnings
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from .encodings import forms
from .inspection import Rendered, is_the_hosts, of_exception, of_object, of_record

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Canaries", "CanaryFound"]

_T = TypeVar("_T")
_Value = TypeVar("_Value", str, bytes)


class CanaryFound(AssertionError):
    """A planted value turned up. The message says which one, where and in which form, and not the value."""


class _Canary(NamedTuple):
    name: str
    forms: dict[str, str]


class Canaries:
    """Plants values and searches for them, in plain and encoded: base64, base64url, hex, percent-encoded, escaped.

    A context manager. While it is open, every logger is at DEBUG, and what is logged, warned of and written to
    ``sys.stdout`` and ``sys.stderr`` is kept, and passed on as before. ``check`` searches it; so does the end of the
    block, unless an exception ends it.

    What the emulator logs does not count: it is the host, and sees what a host sees.

    Warnings that are caught (``pytest.warns``) or turned into exceptions do not come by here: hand them to ``watch``.
    """

    def __init__(self) -> None:
        self._planted: list[_Canary] = []
        self._seen: list[Rendered] = []
        self._streams: list[Any] = []
        self._undo: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Canaries {len(self._planted)} planted, {len(self._seen)} texts seen>"

    def __enter__(self) -> Self:
        self._listen_to_logs()
        self._listen_to_warnings()
        self.capture_output()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        __tracebackhide__ = True
        while self._undo:
            self._undo.pop()()
        if error is None:
            self.check()

    def plant(self, name: str, value: _Value) -> _Value:
        """Look for a value from now on, also in what was seen before.

        Args:
            name: what it is called where it is found.
            value: a text or bytes. One of less than six characters is looked for in quotation marks alone.

        Returns:
            The value, to hand it to whatever must keep it to itself.
        """
        if not value:
            raise ValueError(f"{name} is empty: it would be found everywhere")
        self._planted.append(_Canary(name, forms(value)))
        return value

    def secret(self, name: str = "secret", size: int = 32) -> str:
        """Plant a random secret of so many bytes. Returns its base64, which is the form of a shared secret."""
        import base64

        data = secrets.token_bytes(size)
        self.plant(f"{name}, decoded", data)
        return self.plant(name, base64.b64encode(data).decode("ascii"))

    def watch(self, thing: _T, *, allow: Collection[str] = ()) -> _T:
        """Search a thing too: its ``str``, ``repr``, attributes, pickle and JSON, as far as it has them.

        Of an exception also those that it came from, and the variables of all frames from the first one of this
        package on. Frames before it are the caller's, which has the values because it must.

        Args:
            thing: anything. It is looked at now, not later.
            allow: names of attributes that may hold a planted value, such as the ``body`` of an ``ApiException``.

        Returns:
            The thing.
        """
        self._seen += of_object(thing, frozenset(allow))
        if isinstance(thing, BaseException):
            self._seen += of_exception(thing)
        return thing

    def search(self, text: str | bytes, where: str) -> None:
        """Search a text of the caller's own: a file that was written, an answer that was given.

        Args:
            text: what to search.
            where: what it is called where something is found in it.
        """
        self._seen.append(Rendered(where, text if isinstance(text, str) else text.decode("latin-1")))

    def capture_output(self) -> None:
        """Listen to the streams that are in place now; needed where they were replaced after the block began."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not any(stream is each for each in self._streams):
                self._listen_to_stream(stream, f"sys.{name}")

    def check(self) -> None:
        """Search everything that was seen so far.

        Raises:
            CanaryFound: something was found; it names all of it.
        """
        # Tools show the variables of frames. In this one there are none that could hold a value.
        __tracebackhide__ = True
        found = self._found()
        if found:
            more = [] if len(found) <= 20 else [f"  and {len(found) - 20} more"]
            raise CanaryFound("\n".join(["planted values were found:", *found[:20], *more]))

    def _found(self) -> list[str]:
        lines: dict[str, None] = {}
        for where, text in self._seen:
            for canary in self._planted:
                form = next((form for needle, form in canary.forms.items() if needle in text), None)
                if form is not None:
                    lines[f"  {canary.name}: {where} ({form})"] = None
        return list(lines)

    def _listen_to_logs(self) -> None:
        handler = _Handler(self._seen)
        root = logging.getLogger()
        self._set(logging.root.manager, "disable", 0)
        loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
        for logger in (root, *loggers):
            if logger is root or logger.level != logging.NOTSET:
                self._undo.append(_leveling(logger, logger.level))
                logger.setLevel(min(logger.level or logging.DEBUG, logging.DEBUG))
            if logger is root or not logger.propagate:
                logger.addHandler(handler)
                self._undo.append(_removing(logger, handler))

    def _listen_to_warnings(self) -> None:
        before: Any = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            self._seen.extend(of_object(message, frozenset(), f"a warning, {category.__name__}"))
            before(message, category, filename, lineno, file, line)

        self._set(warnings, "showwarning", show)

    def _listen_to_stream(self, stream: Any, where: str) -> None:
        # The method and not the stream is replaced: who captures output puts streams of its own there time and again.
        write, line = stream.write, ""
        self._streams.append(stream)

        def keep(text: str) -> Any:
            # What is written in one line may come in many pieces.
            nonlocal line
            line = (line + text)[-65536:]
            self._seen.append(Rendered(where, line))
            if "\n" in text:
                line = text.rpartition("\n")[2]
            return write(text)

        stream.write = keep
        self._undo.append(lambda: delattr(stream, "write"))

    def _set(self, owner: Any, name: str, value: object) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))


class _Handler(logging.Handler):
    def __init__(self, seen: list[Rendered]) -> None:
        super().__init__(logging.NOTSET)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not is_the_hosts(record):
                self._seen += of_record(record)
        except Exception:
            # As in every handler: the call that logs goes on, and the error is shown on standard error.
            self.handleError(record)


def _leveling(logger: logging.Logger, level: int) -> Callable[[], object]:
    return lambda: logger.setLevel(level)


def _removing(logger: logging.Logger, handler: logging.Handler) -> Callable[[], object]:
    return lambda: logger.removeHandler(handler)
