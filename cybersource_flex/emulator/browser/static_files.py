"""Read the files of the folder `static`, and calculate their integrity for browsers."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from ..server.messages import Response

# Used by the frames and by the studio. It is served next to the other files of each.
JOSE_SCRIPT = "jose.js"

_FOLDER = Path(__file__).with_name("static")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def read(path: str) -> bytes:
    """The content of a file of this package, by its path below `static`. Never call it with a path from a request."""
    return (_FOLDER / path).read_bytes()


@cache
def integrity(path: str) -> str:
    """The value for the attribute `integrity` of an element that loads this file."""
    return "sha256-" + base64.b64encode(hashlib.sha256(read(path)).digest()).decode("ascii")


def file_response(path: str, *headers: tuple[str, str]) -> Response:
    """The response with a file. Browsers ask again each time, because another version of this package may be next."""
    # Pages with Cross-Origin-Embedder-Policy load only files with the last header.
    common = (
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
    )
    return Response(200, _MEDIA_TYPES[Path(path).suffix], read(path), (*common, *headers), from_flex=False)


def file_of(folder: str, name: str) -> Response:
    """The response with a file of this folder of `static`, or with the script that the folders share."""
    return file_response(name if name == JOSE_SCRIPT else f"{folder}/{name}")
