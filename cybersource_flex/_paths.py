"""Check file paths, describe them in messages without showing a secret, and decode text files."""

from __future__ import annotations

import os
from typing import Any, Final

from ._credential_detection import is_encoded_secret
from .errors import ConfigurationError

__all__ = ["NOT_TEXT", "check_path", "decode_text", "describe_path", "describe_wrapping", "read_file", "without_bom"]

#: Why ``decode_text`` returned None, for messages.
NOT_TEXT: Final = "is not a text file in UTF-8, or in UTF-16 with a byte order mark"

_MAX_PATH_LENGTH: Final = 1024
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
# Extensions of files with keys, certificates, tokens and secrets.
_EXTENSIONS: Final = frozenset(
    (".cer", ".crt", ".der", ".json", ".jwk", ".jwt", ".key", ".p12", ".p7b", ".p8", ".pem", ".pfx", ".secret", ".txt")
)


def check_path(name: str, value: Any) -> str:
    """Check a path, and return it as a string. A value that is the content of a file is rejected and never shown.

    Args:
        name: name of the setting, for messages.
        value: a string or a path object.

    Raises:
        ConfigurationError: the value cannot be a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigurationError(f"{name} must be the path of a file, not {type(value).__name__}")
    path = os.fspath(value)
    if isinstance(path, str) and "\0" in path:
        raise ConfigurationError(f"{name}: the path contains a null character")
    if not isinstance(path, str) or len(path) > _MAX_PATH_LENGTH or any(ord(char) < 32 for char in path):
        raise ConfigurationError(f"{name} must be the path of a file, not its content")
    if "-----BEGIN" in path or (is_encoded_secret(path, min_length=64) and not os.path.exists(path)):
        raise ConfigurationError(f"{name} must be the path of a file, not its content")
    return path


def describe_path(name: str, path: str | os.PathLike[str]) -> str:
    """Return the name and the path of a setting, for a message.

    A string that does not look like a path is left out, because it may be a password or a key.
    """
    return f"{name} {os.fspath(path)!r}" if _looks_like_a_path(path) else name


def read_file(name: str, path: str | os.PathLike[str], size: int) -> bytes:
    """Read the first ``size`` bytes of a file.

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
        reason = "the file name is invalid on this system"
    # The error is raised outside of the handlers, because the exceptions above contain the path.
    if _looks_like_a_path(path):
        raise ConfigurationError(f"{name}: cannot read {checked!r}: {reason}")
    raise ConfigurationError(
        f"{name}: cannot read the file: {reason}; expected a path (the value is not shown, because it does not look "
        "like a path)"
    )


def decode_text(data: bytes) -> str | None:
    """Decode the content of a text file: UTF-8, or UTF-16 with a byte order mark, as Windows PowerShell writes.

    The byte order mark is removed. Returns None if the data is in neither encoding, or contains null characters.
    """
    try:
        string = data.decode("utf-16" if data.startswith(_UTF16_BOMS) else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in string else string


def without_bom(data: bytes) -> bytes:
    """Convert a text file with a byte order mark to UTF-8 without one. Other content is returned unchanged."""
    if not data.startswith((_UTF8_BOM, *_UTF16_BOMS)):
        return data
    string = decode_text(data)
    return data if string is None else string.encode("utf-8")


def describe_wrapping(value: str) -> str | None:
    """Describe quotation marks or a byte order mark around a value, for a message. None if there are none.

    ``docker run --env-file`` keeps quotation marks, and some editors begin a file with a byte order mark.
    """
    if value.startswith("\ufeff"):
        return "begins with a byte order mark (BOM); save the file that contains it in UTF-8 without BOM"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return (
            "is in quotation marks, which are part of the value: docker --env-file and similar readers keep them; "
            "remove them"
        )
    return None


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
