"""Shell completion: the scripts for bash, zsh and fish, and the values that they suggest for arguments and options."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from ..errors import MissingDependencyError
from .shared.errors import PROGRAM
from .shared.group import COMPLETION_VARIABLE

__all__ = ["SHELLS", "complete_scenario", "complete_token", "script"]

SHELLS = ("bash", "zsh", "fish")


def script(shell: str, command: click.Command) -> str:
    """The script that a shell has to run. It calls the program for each suggestion."""
    shell_class = get_completion_class(shell)
    assert shell_class is not None  # noqa: S101 - click checks the argument, which must be one of SHELLS
    # Not the method of the subclass, because that of bash runs bash to find out its version.
    return ShellComplete.source(shell_class(command, {}, PROGRAM, COMPLETION_VARIABLE))


def complete_token(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Suggest files, because an argument that takes a token also takes the path of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_scenario(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Suggest the names of scenarios. None if the extra ``emulator`` is not installed."""
    try:
        from ..emulator import SCENARIOS
    except MissingDependencyError:
        return []
    return [
        CompletionItem(name, help=kind.description) for name, kind in SCENARIOS.items() if name.startswith(incomplete)
    ]
