"""The ``cybersource-flex`` command line. Requires the extra ``cli``; the emulator also requires ``emulator``."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec

from .shared.exit_codes import ExitCode

__all__ = ["main"]


def main(program: str | None = None) -> None:
    """Run the command line and exit. ``cli.shared.exit_codes`` lists the exit codes.

    Args:
        program: how the user calls the program. The default is ``cybersource-flex``.
    """
    try:
        # Most commands import rich only when they print.
        for name in ("click", "rich"):
            if find_spec(name) is None:
                sys.stderr.write(f"Error: cybersource-flex needs {name}: pip install 'cybersource-flex[cli]'\n")
                sys.exit(ExitCode.USAGE)
        from .commands import cli

        cli(prog_name=program)
    except KeyboardInterrupt:
        _exit_interrupted()
    except SystemExit as exit_:
        if exit_.code == ExitCode.INTERRUPTED:
            _exit_interrupted()
        raise


def _exit_interrupted() -> None:
    """End the process by the signal of Ctrl-C, so that a shell script that called it ends too."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            pass
    if os.name == "posix":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(ExitCode.INTERRUPTED)
