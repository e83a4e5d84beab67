"""Describe any exception for the user of a command: one line, a hint and the exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from ... import errors
from ..._credential_detection import mask_credentials
from .exit_codes import ExitCode
from .tracebacks import is_safe_message

__all__ = ["PROGRAM", "ConfigurationExit", "ErrorReport", "WriteError", "describe", "to_safe_line"]

#: The name of the script.
PROGRAM: Final = "cybersource-flex"

_PACKAGE: Final = Path(__file__).parents[2]

_NOT_THE_HOST: Final = "does something else respond instead of the host, such as a proxy or a login page?"
_CLOCK: Final = "'cybersource-flex doctor' compares this machine's clock with the host's"
_SUPPORT: Final = "try again later; CyberSource's support asks for the v-c-correlation-id"

# The first matching class decides about the exit code and the hint.
_RULES: Final[tuple[tuple[type[errors.FlexError], ExitCode, str], ...]] = (
    (errors.MissingDependencyError, ExitCode.USAGE, ""),
    (
        errors.ConfigurationError,
        ExitCode.USAGE,
        "'cybersource-flex doctor' checks the configuration; the page 'Configuration' of the documentation lists all "
        "settings",
    ),
    (errors.InvalidArgumentError, ExitCode.USAGE, ""),
    (errors.InvalidDataError, ExitCode.USAGE, ""),
    (errors.AddressError, ExitCode.LOCAL, "--host and --port select the address; port 0 takes a free one"),
    (errors.EmulatorError, ExitCode.LOCAL, ""),
    (errors.ResponseDecodingError, ExitCode.INVALID_RESPONSE, _NOT_THE_HOST),
    (errors.RateLimitError, ExitCode.NO_RESPONSE, "wait a minute, and run the command again"),
    (errors.ServerError, ExitCode.NO_RESPONSE, _SUPPORT),
    (
        errors.AuthenticationError,
        ExitCode.REJECTED,
        "'cybersource-flex doctor' checks the credentials and the clock, and lists the usual causes",
    ),
    (
        errors.PermissionDeniedError,
        ExitCode.REJECTED,
        "the signature is valid, but this merchant or key has no permission; ask CyberSource for it",
    ),
    (errors.RedirectError, ExitCode.REJECTED, "is the host correct? Redirects are not followed"),
    (errors.NotFoundError, ExitCode.REJECTED, "is the host correct?"),
    (errors.ApiException, ExitCode.REJECTED, ""),
    (
        errors.TransportError,
        ExitCode.NO_RESPONSE,
        "'cybersource-flex doctor' checks the connection; behind a firewall, set CYBERSOURCE_PROXY",
    ),
    (errors.ExpiredTokenError, ExitCode.INVALID_RESPONSE, _CLOCK),
    (errors.TokenNotYetValidError, ExitCode.INVALID_RESPONSE, _CLOCK),
    (errors.TokenError, ExitCode.INVALID_RESPONSE, _NOT_THE_HOST),
)


class ConfigurationExit(click.ClickException):
    """Invalid options or configuration, found by a command itself."""

    exit_code = ExitCode.USAGE


class WriteError(click.ClickException):
    """A file cannot be written."""

    exit_code = ExitCode.LOCAL


class ErrorReport(NamedTuple):
    """The report of an exception to the user.

    Attributes:
        error: name of the exception class: of ``cybersource_flex.errors``, ``UsageError``, ``OSError`` or
            ``KeyboardInterrupt``; any other class for a bug.
        message: what is wrong, in one line.
        hint: what to do, in one line, or empty.
        exit_code: the exit code of the process.
        call: facts about the call to the host: ``method``, ``path``, ``outcome``, ``safe_to_retry``, ``status``,
            ``correlation_id``. None if the error is not about a call.
    """

    error: str
    message: str
    hint: str
    exit_code: ExitCode
    call: dict[str, Any] | None = None

    def to_line(self) -> str:
        """The message, after the name of an exception class of the package, which the documentation describes."""
        return f"{self.error}: {self.message}" if self.error in errors.__all__ else self.message

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object with stable keys."""
        return {**self._asdict(), "hint": self.hint or None, "exit_code": int(self.exit_code)}


def describe(error: BaseException, program: str = PROGRAM) -> ErrorReport:
    """Describe an exception. The message contains no secret, token, card number or control character.

    Args:
        error: any exception.
        program: how the user calls the program, for the hint.
    """
    report = _describe(error)
    hint = report.hint.replace(f"'{PROGRAM} ", f"'{program} ")
    return report._replace(message=to_safe_line(report.message), hint=to_safe_line(hint))


def _describe(error: BaseException) -> ErrorReport:
    name = type(error).__name__
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return ErrorReport("KeyboardInterrupt", "interrupted", "", ExitCode.INTERRUPTED)
    if isinstance(error, click.ClickException):
        return ErrorReport(
            "UsageError" if error.exit_code == ExitCode.USAGE else "OSError",
            error.format_message(),
            _usage_hint(error) if isinstance(error, click.UsageError) else "",
            ExitCode(error.exit_code),
        )
    for error_class, exit_code, hint in _RULES:
        if isinstance(error, error_class):
            return ErrorReport(name, str(error), hint, exit_code, _call(error))
    if isinstance(error, OSError) and error.errno is not None:
        if _is_closed_pipe(error):
            return ErrorReport(name, "the program that reads the output has ended", "", ExitCode.PIPE_CLOSED)
        subject = "the output cannot be written" if error.filename is None else str(error.filename)
        return ErrorReport("OSError", f"{subject}: {error.strerror or name}", "", ExitCode.LOCAL)
    # Messages of other exceptions are only shown if they cannot contain data of the user.
    message = f": {error}" if is_safe_message(error) else ""
    return ErrorReport(
        name,
        f"this is a bug in cybersource-flex: {name}{message} {_location(error)}",
        "--debug shows the traceback; please report it to the project with the command and the version",
        ExitCode.BUG,
    )


def _usage_hint(error: click.UsageError) -> str:
    command = PROGRAM if error.ctx is None else error.ctx.command_path
    return f"'{command} --help' shows the usage"


def _call(error: errors.FlexError) -> dict[str, Any] | None:
    if not isinstance(error, errors.CallError):
        return None
    return {
        "method": error.method,
        "path": error.path,
        "outcome": error.outcome,
        "safe_to_retry": error.safe_to_retry,
        "status": getattr(error, "status", None),
        "correlation_id": getattr(error, "correlation_id", None),
    }


def _is_closed_pipe(error: OSError) -> bool:
    # Windows reports EINVAL for a closed pipe.
    return error.errno in (errno.EPIPE, errno.ESHUTDOWN) or (
        sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    )


def _location(error: BaseException) -> str:
    """Return the innermost place in the package at which an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f"(in {path.relative_to(_PACKAGE.parent).as_posix()}, line {frame.lineno})"
    return "(outside the package)"


def to_safe_line(message: str) -> str:
    """Return a message as one line, without credentials and characters that control a terminal.

    Messages about arguments and paths quote them.
    """
    line = " ".join(mask_credentials(message).split())
    return "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in line)
