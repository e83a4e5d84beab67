"""A Python program in a subprocess, which reads a command per line and answers with a line."""

from __future__ import annotations

import subprocess
import sys


class LineProcess:
    """The subprocess.

    Attributes:
        first_line: what it wrote before the first command.
    """

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.first_line = self._line()

    def send(self, command: str) -> str:
        """Send a command and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """End the input, so that the program exits, and wait for it."""
        self._process.communicate(timeout=60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process exited"
        return line.strip()
