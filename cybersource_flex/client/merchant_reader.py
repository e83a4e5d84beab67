"""Values out of the official SDK's dictionary, by the types that it is known to hold."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .._credentials import is_encoded_secret
from .._paths import check_path
from ..errors import ConfigurationError
from .merchant_keys import IGNORED, KEYS, REFUSED

__all__ = ["Reader"]

_NAME = re.compile(r"[A-Za-z_]+[0-9]{0,2}[A-Za-z_]*")

# Ignored in some cases only, which are found elsewhere.
_SOMETIMES = frozenset({"key_alias"})


class Reader:
    """Reads one dictionary. None and the empty text count as a key that is left out.

    Args:
        config: the dictionary.

    Attributes:
        notes: what is ignored, and why.
        names: the key that an argument was read from.

    Raises:
        ConfigurationError: not a dictionary, or with a key that is unknown or refused.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config, Mapping):
            raise ConfigurationError(f"the merchant configuration must be a dictionary, not {type(config).__name__}")
        for key in config:
            if key not in KEYS:
                raise ConfigurationError(_unknown(key))
        self._config = {key: value for key, value in config.items() if value is not None and value != ""}
        self.notes: list[str] = []
        self.names: dict[str, str] = {}
        for key, value in self._config.items():
            # Without members it asks for nothing.
            if KEYS[key].how == REFUSED and value != {}:
                raise ConfigurationError(f"{key} is refused: {KEYS[key].what}")

    def __repr__(self) -> str:
        return "<Reader>"

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def value(self, key: str) -> Any:
        """The value, or None."""
        return self._config.get(key)

    def text(self, key: str, argument: str | None = None, *, number: bool = False) -> str | None:
        """A text, or None; with ``number`` also a whole number, as text. ``argument`` is what it is read for."""
        value = self._config.get(key)
        if argument is not None:
            self.names[argument] = key
        if value is None:
            return None
        if number and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise ConfigurationError(f"{key} must be a text, not {type(value).__name__}")
        return value

    def needed(self, key: str, reason: str, argument: str | None = None) -> str:
        """A text that must be there."""
        value = self.text(key, argument)
        if value is None:
            raise ConfigurationError(f"{key} is missing: {reason}")
        return value

    def path(self, key: str, argument: str | None = None) -> str | None:
        """The path of a file or a folder, or None."""
        value = self._config.get(key)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
            self._config[key] = value
        text = self.text(key, argument)
        return None if text is None else check_path(key, text)

    def flag(self, key: str, *, absent: bool = False) -> bool:
        """True or False, 1 or 0, or the text ``true``.

        The original takes every text that is not empty for True, also ``"false"``, in some keys and not in others. That
        text can be read in two ways and is refused.
        """
        value = self._config.get(key)
        if value is None:
            return absent
        if isinstance(value, str) and value.strip().lower() == "true":
            return True
        if isinstance(value, str) and value.strip().lower() == "false":
            raise ConfigurationError(
                f"{key} is the text {value!r}, which the official SDK may take for True; write True or False, no text"
            )
        if isinstance(value, (bool, int)) and value in (0, 1):
            return bool(value)
        raise ConfigurationError(f"{key} must be True or False")

    def note(self, key: str) -> None:
        """Say that a key is ignored, for the reason in the table."""
        self.notes.append(f"{key} is ignored: {KEYS[key].what}")

    def note_ignored(self) -> None:
        """Say so of all that are there and always ignored. False asks for nothing, so there is nothing to ignore."""
        for key, value in self._config.items():
            if KEYS[key].how == IGNORED and key not in _SOMETIMES and value is not False:
                self.note(key)

    def note_unused(self, keys: Iterable[str], reason: str) -> None:
        """Say in one sentence that those of these keys that are there do not count."""
        found = [key for key in keys if key in self._config]
        if found:
            self.notes.append(f"ignored, since {reason}: {', '.join(found)}")


def _unknown(key: Any) -> str:
    if not isinstance(key, str):
        return f"the merchant configuration has a key of type {type(key).__name__}; keys are texts"
    # Where two keys differ in this only, the first is the one that is read.
    alike = {known.lower().replace("_", ""): known for known in reversed(KEYS)}
    close = difflib.get_close_matches(key.lower().replace("_", ""), alike, 1)
    hint = f"; did you mean {alike[close[0]]!r}?" if close else ""
    # A key that is not written as a name may be a value in the wrong place.
    name = (
        f"an unknown key {key!r}"
        if _NAME.fullmatch(key) and not is_encoded_secret(key, at_least=22)
        else "an unknown key, which is not shown"
    )
    return f"the merchant configuration has {name}{hint}"
