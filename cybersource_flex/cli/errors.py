"""Errors that end a command with one line on standard error."""

from __future__ import annotations

import click

__all__ = ["ConfigurationExit"]


class ConfigurationExit(click.ClickException):
    """Invalid options or configuration: prints the message and exits with code 2."""

    exit_code = 2
