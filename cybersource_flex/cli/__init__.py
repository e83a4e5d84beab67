"""The command line: ``cybersource-flex``. Needs the extra ``cli``; what starts the emulator needs ``emulator`` too."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code: 0 fine, 1 it did not work, 2 wrong usage."""
    try:
        from .commands import cli
    except ModuleNotFoundError as cause:
        if cause.name not in ("click", "rich"):
            raise
        sys.stderr.write(f"cybersource-flex needs {cause.name}: pip install 'cybersource-flex[cli]'\n")
        sys.exit(2)
    cli(prog_name="cybersource-flex")
