"""The names of the operations that are signed: what message-level encryption can be switched for."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from functools import cache

from .. import api
from ..errors import ConfigurationError
from ..transport import Operation

__all__ = ["check_operations", "signed_operations"]


@cache
def _operations() -> dict[str, bool]:
    """Whether it is signed, for each operation of the generated API classes by the name of its method."""
    modules = {getattr(api, name).__module__ for name in api.__all__}
    found = (value for module in modules for value in vars(sys.modules[module]).values())
    return {each.name: each.signed for each in found if isinstance(each, Operation)}


def signed_operations() -> frozenset[str]:
    """Names of the methods of the generated API classes whose requests are signed."""
    return frozenset(name for name, signed in _operations().items() if signed)


def check_operations(names: Iterable[str], setting: str) -> None:
    """Raise unless each is the name of a signed operation.

    Args:
        names: names of operations.
        setting: where they were given, for the message.

    Raises:
        ConfigurationError: one does not exist, or is not signed and therefore never encrypted.
    """
    known = signed_operations()
    for name in sorted(set(names) - known):
        if name in _operations():
            raise ConfigurationError(
                f"{setting} names the operation {name!r}, which is not signed: only signed ones can be encrypted"
            )
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
        raise ConfigurationError(f"{setting} names the operation {name!r}, which does not exist; {hint}")
