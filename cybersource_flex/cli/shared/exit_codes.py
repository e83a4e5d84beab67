"""``ExitCode``: the exit codes of all commands, and their meanings for ``--help`` and ``docs/cli.md``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

__all__ = ["MEANINGS", "ExitCode"]


class ExitCode(IntEnum):
    """An exit code of a command."""

    SUCCESS = 0
    NEGATIVE = 1
    USAGE = 2
    NO_RESPONSE = 3
    REJECTED = 4
    INVALID_RESPONSE = 5
    LOCAL = 6
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


#: The meaning of each exit code. ``docs/cli.md`` has the same table.
MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.SUCCESS: "Success.",
    ExitCode.NEGATIVE: "The command ran, but what it checked or created is not all right.",
    ExitCode.USAGE: "Wrong usage or configuration, or an extra is not installed.",
    ExitCode.NO_RESPONSE: "The host cannot be reached, is overloaded or fails (429, 5xx). Try again later.",
    ExitCode.REJECTED: "The host rejected the request or the credentials.",
    ExitCode.INVALID_RESPONSE: "The response of the host is malformed or cannot be verified.",
    ExitCode.LOCAL: "Output or a file cannot be written, or the emulator cannot use the port.",
    ExitCode.BUG: "A bug in cybersource-flex.",
    ExitCode.INTERRUPTED: "Interrupted by Ctrl-C.",
    ExitCode.PIPE_CLOSED: "The program that reads the output ended first, such as head.",
    ExitCode.TERMINATED: "Ended by SIGTERM.",
}
