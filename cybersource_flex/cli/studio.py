"""``cybersource-flex studio``: start an emulator and open its page in the browser."""

from __future__ import annotations

import contextlib
import json
import threading
import webbrowser

import click

from ..emulator import Emulator
from ..errors import ConfigurationError
from .shared.console import Console
from .shared.errors import ConfigurationExit
from .shared.progress import waiting

__all__ = ["serve"]


def serve(port: int, scenario: str | None, *, open_browser: bool, as_json: bool) -> None:
    """Serve the studio until interrupted, and print its address.

    Args:
        port: the port to listen on. 0 for a free one.
        scenario: the fault to inject into every request, or None.
        open_browser: whether to open the page in the browser.
        as_json: print the address as JSON.

    Raises:
        ConfigurationExit: the scenario is unknown.
        AddressError: the port is in use.
    """
    try:
        emulator = Emulator(port=port, scenario=scenario)
    except ConfigurationError as cause:
        raise ConfigurationExit(str(cause)) from cause

    def ready(emulator: Emulator) -> None:
        # Browsers treat `localhost` as a secure origin, and Microform accepts no other loopback name.
        url = emulator.url.replace("127.0.0.1", "localhost") + "/"
        starting.close()
        if as_json:
            click.echo(json.dumps({"url": url}))
        else:
            Console().title(f"Flex studio at {url} (for tests only). Ctrl-C ends it.")
        if open_browser:
            # A browser that runs in the terminal returns only when the user closes it.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    with contextlib.ExitStack() as starting:
        starting.enter_context(waiting("starting the emulator"))
        emulator.serve(ready)
