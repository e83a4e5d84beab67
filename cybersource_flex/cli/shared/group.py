"""The click classes of the commands. ``Group.main`` is the outermost boundary: it turns any exception into one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click
from click.shell_completion import shell_complete

from .errors import PROGRAM, ErrorReport, describe, to_safe_line
from .exit_codes import MEANINGS, ExitCode
from .streams import allow_any_character, discard_output, stderr_or_null
from .terminal import use_color
from .tracebacks import format_traceback

__all__ = ["COMPLETION_VARIABLE", "DEBUG_VARIABLE", "Command", "Group"]

#: The variable in which the scripts of shells ask for suggestions.
COMPLETION_VARIABLE: Final = "_CYBERSOURCE_FLEX_COMPLETE"
DEBUG_VARIABLE: Final = "CYBERSOURCE_FLEX_DEBUG"


class _HelpFormatter(click.HelpFormatter):
    """Formats help with styles. click removes them where colours are not wanted."""

    def write_heading(self, heading: str) -> None:
        super().write_heading(click.style(heading, bold=True))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **options: Any) -> None:
        super().write_dl([(click.style(first, fg="cyan"), second) for first, second in rows], *args, **options)


class _Context(click.Context):
    formatter_class = _HelpFormatter


def _debug_option() -> click.Option:
    # The value is not used: `Group.main` looks for the option itself, because errors can occur before it is parsed.
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of errors, without data."
    )


@contextlib.contextmanager
def _names_command(ctx: click.Context) -> Iterator[None]:
    """Add the command to usage errors that do not name it, for the hint."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or ctx
        raise


class Command(click.Command):
    """A command that takes the options of the group too."""

    context_class = _Context

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(_debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _names_command(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _names_command(ctx):
            return super().invoke(ctx)


class Group(click.Group):
    """A group of commands. A command returns its exit code, or None for success."""

    context_class = _Context
    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(_debug_option())

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its exit code. No exception leaves this method except ``SystemExit``."""
        arguments = list(sys.argv[1:] if args is None else args)
        program = prog_name or PROGRAM
        allow_any_character(sys.stdout, sys.stderr)
        # These options decide how errors are reported, also errors that occur before click has parsed the arguments.
        # Arguments after "--" are not options.
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        as_json = "--json" in options
        debug = "--debug" in options or os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")
        try:
            with stderr_or_null(), _one_line_warnings(as_json=as_json):
                exit_code = self._run(arguments, program, extra)
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:
            report = describe(error, program)
            with contextlib.suppress(OSError), stderr_or_null():
                _print_report(report, format_traceback(error) if debug else "", as_json=as_json)
            discard_output()
            raise SystemExit(int(report.exit_code)) from error
        raise SystemExit(exit_code)

    def _run(self, arguments: list[str], program: str, extra: dict[str, Any]) -> int:
        instruction = os.environ.get(COMPLETION_VARIABLE)
        if instruction:
            return shell_complete(self, extra, program, COMPLETION_VARIABLE, instruction)
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        try:
            with self.make_context(program, arguments, color=use_color(sys.stdout), **extra) as ctx:
                return int(self.invoke(ctx) or 0)
        except click.exceptions.Exit as exit_:
            return exit_.exit_code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click shortens summaries that do not fit on one line.
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


def _print_report(report: ErrorReport, traceback: str, *, as_json: bool) -> None:
    """Print the report to standard error. An interrupt and a closed pipe need no message for people."""
    if as_json:
        click.echo(json.dumps({**report.to_json(), **({"traceback": traceback} if traceback else {})}), err=True)
        return
    color = use_color(sys.stderr)
    if traceback:
        click.echo(traceback, err=True, nl=False, color=color)
    if report.exit_code in (ExitCode.INTERRUPTED, ExitCode.PIPE_CLOSED):
        return
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {report.to_line()}", err=True, color=color)
    if report.hint:
        click.echo(f"{click.style('Hint:', bold=True)} {report.hint}", err=True, color=color)


@contextlib.contextmanager
def _one_line_warnings(*, as_json: bool) -> Iterator[None]:
    """Print Python warnings as one line on standard error, without the line of code."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        line = to_safe_line(str(message))
        if as_json:
            click.echo(json.dumps({"warning": category.__name__, "message": line}), err=True)
        else:
            label = click.style("Warning:", fg="yellow", bold=True)
            click.echo(f"{label} {line}", err=True, color=use_color(sys.stderr))

    with warnings.catch_warnings():
        # Warnings for users, such as origins that browsers may not accept. Others follow the filters of Python.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
