"""Check paths of files, and describe them in messages without showing a key or password given instead of one."""

from __future__ import annotations

import os
from typing import Any, Final

from ._credentials import is_encoded_secret
from .errors import ConfigurationError

__all__ = ["check_path", "described", "read_file"]

_LONGEST_PATH: Final = 1024
# Of files with keys, certificates, tokens and secrets.
_EXTENSIONS: Final = frozenset(
    (".cer", ".crt", ".der", ".json", ".jwk", ".jwt", ".key", ".p12", ".p7b", ".p8", ".pem", ".pfx", ".secret", ".txt")
)


def check_path(name: str, value: Any) -> str:
    """The path, checked. The content of a file given instead is refused before it gets into a message.

    Args:
        name: name of the setting, for the message.
        value: a string or a path object.

    Raises:
        ConfigurationError: it cannot be a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigurationError(f"{name} must be the path of a file, not {type(value).__name__}")
    path = os.fspath(value)
    if isinstance(path, str) and "\0" in path:
        raise ConfigurationError(f"{name}: the path has a null character in it")
    if not isinstance(path, str) or len(path) > _LONGEST_PATH or any(ord(char) < 32 for char in path):
        raise ConfigurationError(f"{name} must be the path of a file, not its content")
    if "-----BEGIN" in path or (is_encoded_secret(path, at_least=64) and not os.path.exists(path)):
        raise ConfigurationError(f"{name} must be the path of a file, not its content")
    return path


def described(name: str, path: str | os.PathLike[str]) -> str:
    """The name of a setting and the path that it was given, for a message.

    A string that does not look like a path is left out: it may be a password or a key, given in the wrong place.
    """
    return f"{name} {os.fspath(path)!r}" if _looks_like_a_path(path) else name


def read_file(name: str, path: str | os.PathLike[str], size: int) -> bytes:
    """The first ``size`` bytes of a file.

    Raises:
        ConfigurationError: the value cannot be a path, or the file cannot be read.
    """
    checked = check_path(name, path)
    try:
        with open(checked, "rb") as file:
            return file.read(size)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
    except ValueError:
        reason = "this system cannot have a file of that name"
    # Outside of the handler: the exceptions above contain the path, and would be part of the traceback.
    if _looks_like_a_path(path):
        raise ConfigurationError(f"{name}: cannot read {checked!r}: {reason}")
    raise ConfigurationError(
        f"{name}: cannot read the file: {reason}; expected a path, and the value does not look like one, so it is not "
        "shown"
    )


def _looks_like_a_path(path: str | os.PathLike[str]) -> bool:
    if not isinstance(path, str):
        return True
    folder = os.path.dirname(path)
    return (
        os.path.splitext(path)[1].lower() in _EXTENSIONS
        # "/" is a folder too, and part of the base64 alphabet.
        or (folder.strip("/") != "" and os.path.isdir(folder))
        or os.path.exists(path)
    )
