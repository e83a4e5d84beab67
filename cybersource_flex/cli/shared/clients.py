"""Create the client of a command from the environment variables and the options ``--environment`` and ``--host``."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ...client import FlexClient

if TYPE_CHECKING:
    from typing import Unpack

    from ...client.config.client_options import FlexClientOptions

__all__ = ["client_from_options", "selected_host"]


@contextlib.contextmanager
def client_from_options(
    environment: str | None, host: str | None, /, **overrides: Unpack[FlexClientOptions]
) -> Iterator[FlexClient]:
    """Create a client from the environment variables, for the host given by ``--environment`` or ``--host``.

    Args:
        environment: the value of ``--environment``.
        host: the value of ``--host``.
        overrides: arguments of the client that replace those from the variables.

    Raises:
        click.UsageError: both options are given.
        ConfigurationError: the configuration is invalid.
    """
    selected = selected_host(environment, host)
    if selected is not None:
        overrides["environment"] = selected
    with warnings.catch_warnings():
        # `doctor` reports deprecated schemes. A Python warning would only clutter the output.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = FlexClient.from_env(**overrides)
    with client:
        yield client


def selected_host(environment: str | None, host: str | None) -> str | None:
    """Return the value of ``--environment`` or ``--host``. None if neither option is given.

    Raises:
        click.UsageError: both options are given.
    """
    if environment is not None and host is not None:
        raise click.UsageError("give either --host or --environment, not both")
    return environment if host is None else host
