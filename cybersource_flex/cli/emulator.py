"""The emulator in the foreground."""

from __future__ import annotations

import click

from ..emulator import Emulator
from .show import Screen

__all__ = ["serve"]


def serve(host: str, port: int) -> None:
    """Serve until interrupted, after saying how to reach it."""
    screen = Screen()

    def ready(emulator: Emulator) -> None:
        screen.title(f"Flex emulator at {emulator.url}, in memory, for tests only. Ctrl-C ends it.")
        for name, value in emulator.environ.items():
            screen.say(f"export {name}={value}")

    try:
        Emulator(host=host, port=port).serve(ready)
    except (RuntimeError, ValueError) as cause:
        # A port that is taken, an address that is not loopback: the emulator knows no FlexError.
        raise click.ClickException(str(cause)) from cause
