"""``Canaries``: plant secrets and detect them in logs, warnings, output and exceptions."""

from __future__ import annotations

import logging
import secrets
import sys
import warnings
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from ..errors import InvalidArgumentError
from .encodings import encodings
from .inspection import Rendering, is_emulator_record, render_exception, render_log_record, render_object

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Canaries", "CanaryFound"]

_T = TypeVar("_T")
_Value = TypeVar("_Value", str, bytes)


class CanaryFound(AssertionError):
    """A planted value leaked. The message names the value, the place and the encoding, and never contains the value."""


class _Canary(NamedTuple):
    name: str
    encodings: dict[str, str]


class Canaries:
    """Plants values and searches output for them: plain, base64, base64url, hex, percent-encoded and escaped.

    A context manager. Inside the block every logger is set to DEBUG, and log records, warnings, ``sys.stdout`` and
    ``sys.stderr`` are recorded and passed on unchanged. ``check`` searches the recorded output. It is also
    searched at the end of the block, unless the block ends with an exception.

    Log records of the emulator are ignored, because it acts as the host and receives the secrets.

    Warnings that are caught (``pytest.warns``) or turned into exceptions are not recorded; pass them to ``watch``.
    """

    def __init__(self) -> None:
        self._planted: list[_Canary] = []
        self._recorded: list[Rendering] = []
        self._streams: list[Any] = []
        self._undo: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Canaries {len(self._planted)} planted, {len(self._recorded)} strings recorded>"

    def __enter__(self) -> Self:
        self._capture_logs()
        self._capture_warnings()
        self.capture_output()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        __tracebackhide__ = True
        while self._undo:
            self._undo.pop()()
        if error is None:
            self.check()

    def plant(self, name: str, value: _Value) -> _Value:
        """Search for a value, also in output that was recorded before.

        Args:
            name: name of the value in the error message.
            value: string or bytes. If it has fewer than six characters, only quoted occurrences count.

        Returns:
            The value, to be passed to the code under test.
        """
        if not value:
            raise InvalidArgumentError(f"{name} must not be empty: an empty value occurs everywhere", argument="value")
        self._planted.append(_Canary(name, encodings(value)))
        return value

    def secret(self, name: str = "secret", size: int = 32) -> str:
        """Plant a random secret of ``size`` bytes and return it in base64, the format of a shared secret."""
        import base64

        data = secrets.token_bytes(size)
        self.plant(f"{name}, decoded", data)
        return self.plant(name, base64.b64encode(data).decode("ascii"))

    def watch(self, value: _T, *, allow: Collection[str] = ()) -> _T:
        """Also search an object: its ``str``, ``repr``, attributes, pickle and JSON, if it has them.

        If the object is an exception, the exceptions that caused it are searched too, and the local variables in the
        traceback. Only frames of this package and those they called are searched, because the caller of this package
        legitimately holds the values.

        Args:
            value: any object. It is rendered now, not when ``check`` runs.
            allow: names of attributes that may hold a planted value, such as the ``body`` of an ``ApiException``.

        Returns:
            The object.
        """
        self._recorded += render_object(value, frozenset(allow))
        if isinstance(value, BaseException):
            self._recorded += render_exception(value)
        return value

    def search(self, content: str | bytes, where: str) -> None:
        """Also search a string or bytes, for example a file that was written or a response that was sent.

        Args:
            content: the content to search.
            where: name of the content in the error message.
        """
        self._recorded.append(Rendering(where, content if isinstance(content, str) else content.decode("latin-1")))

    def capture_output(self) -> None:
        """Record the current ``sys.stdout`` and ``sys.stderr``. Call it if they were replaced inside the block."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not any(stream is captured for captured in self._streams):
                self._capture_stream(stream, f"sys.{name}")

    def check(self) -> None:
        """Search all output that was recorded so far.

        Raises:
            CanaryFound: planted values were found; the message lists them.
        """
        # Hides this frame in pytest, which shows local variables. None of them contains a planted value.
        __tracebackhide__ = True
        leaks = self._leaks()
        if leaks:
            more = [] if len(leaks) <= 20 else [f"  and {len(leaks) - 20} more"]
            raise CanaryFound("\n".join(["planted values were found:", *leaks[:20], *more]))

    def check_once(self) -> None:
        """The same as ``check``, but later checks do not raise the same leaks again. For the pytest plugin."""
        __tracebackhide__ = True
        try:
            self.check()
        finally:
            self._recorded.clear()

    def _leaks(self) -> list[str]:
        lines: dict[str, None] = {}
        for where, content in self._recorded:
            for canary in self._planted:
                encoding = next((name for needle, name in canary.encodings.items() if needle in content), None)
                if encoding is not None:
                    lines[f"  {canary.name}: {where} ({encoding})"] = None
        return list(lines)

    def _capture_logs(self) -> None:
        handler = _Handler(self._recorded)
        root = logging.getLogger()
        self._set(logging.root.manager, "disable", 0)
        loggers = [entry for entry in logging.root.manager.loggerDict.values() if isinstance(entry, logging.Logger)]
        for logger in (root, *loggers):
            if logger is root or logger.level != logging.NOTSET:
                self._undo.append(_restore_level(logger, logger.level))
                logger.setLevel(min(logger.level or logging.DEBUG, logging.DEBUG))
            if logger is root or not logger.propagate:
                logger.addHandler(handler)
                self._undo.append(_remove_handler(logger, handler))

    def _capture_warnings(self) -> None:
        before: Any = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            self._recorded.extend(render_object(message, frozenset(), f"a warning, {category.__name__}"))
            before(message, category, filename, lineno, file, line)

        self._set(warnings, "showwarning", show)

    def _capture_stream(self, stream: Any, where: str) -> None:
        # The method is replaced, not the stream, because tools that capture output replace the stream repeatedly.
        write, line = stream.write, ""
        self._streams.append(stream)

        def record(written: str) -> Any:
            # One line may be written in several pieces.
            nonlocal line
            line = (line + written)[-65536:]
            self._recorded.append(Rendering(where, line))
            if "\n" in written:
                line = written.rpartition("\n")[2]
            return write(written)

        stream.write = record
        self._undo.append(lambda: delattr(stream, "write"))

    def _set(self, owner: Any, name: str, value: object) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))


class _Handler(logging.Handler):
    def __init__(self, recorded: list[Rendering]) -> None:
        super().__init__(logging.NOTSET)
        self._recorded = recorded

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not is_emulator_record(record):
                self._recorded += render_log_record(record)
        except Exception:
            # As in every handler, the call that logs continues and the error is reported on standard error.
            self.handleError(record)


def _restore_level(logger: logging.Logger, level: int) -> Callable[[], object]:
    return lambda: logger.setLevel(level)


def _remove_handler(logger: logging.Logger, handler: logging.Handler) -> Callable[[], object]:
    return lambda: logger.removeHandler(handler)
