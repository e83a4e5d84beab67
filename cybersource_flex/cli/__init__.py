"""The ``cybersource-flex`` command line. Requires the extra ``cli``; the emulator also requires ``emulator``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 for success, 1 for failure, 2 for wrong usage."""
    try:
        from .commands import cli
    except ModuleNotFoundError as cause:
        if cause.name not in ("click", "rich"):
            raise
        sys.stderr.write(f"cybersource-flex needs {cause.name}: pip install 'cybersource-flex[cli]'\n")
        sys.exit(2)
    cli(prog_name="cybersource-flex")
