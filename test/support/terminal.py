"""``Terminal``: run a program in a pseudo-terminal, as a user does. POSIX only."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
import time
from fcntl import ioctl
from typing import Any


class Terminal:
    """A process whose streams are a terminal of 80 columns. A context manager, which ends the process.

    Args:
        command: the command and its arguments.
        environment: the variables of the process. ``TERM`` is ``xterm`` unless it is set.
        stdin, stdout, stderr: as for ``subprocess.Popen``. None is the terminal.

    Attributes:
        process: the process.
        output: what the terminal has received so far.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
    ) -> None:
        self.output = ""
        self._reader, writer = pty.openpty()
        termios.tcsetwinsize(writer, (24, 80))
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm", **environment},
            stdin=writer if stdin is None else stdin,
            stdout=writer if stdout is None else stdout,
            stderr=writer if stderr is None else stderr,
            start_new_session=True,
            # Makes it the terminal of the process, so that Ctrl-C sends a signal.
            preexec_fn=lambda: ioctl(writer, termios.TIOCSCTTY, 0),
        )
        os.close(writer)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._reader)

    def press(self, keys: str) -> None:
        """Type characters, such as ``\\x03`` for Ctrl-C."""
        os.write(self._reader, keys.encode())

    def wait_for(self, pattern: str, timeout: float = 60) -> str:
        """Wait until the terminal has received a string that matches a regular expression. Returns all received."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.output):
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} is not in {self.output!r}")
        return self.output

    def finish(self, timeout: float = 60) -> int:
        """Wait until the process ends, and return its exit code. A signal gives a negative number."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._reader], [], [], max(0, deadline - time.monotonic()))
        try:
            data = os.read(self._reader, 65_536) if ready else b""
        except OSError:
            # Linux reports an error when the last program has closed the terminal.
            data = b""
        self.output += data.decode("utf-8", "replace")
        return data != b""
