"""``RestOperation``: any operation of CyberSource's REST API, for ``client.request``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from .. import errors
from .._credential_detection import contains_card_number, describe_non_id, find_credential
from .._model import Model
from .encoding import HEADER_VALUE, encode_json, is_json
from .messages import Response
from .operation import Operation, parse_body

__all__ = ["RestOperation", "check_headers", "check_query", "is_rest_operation"]

# Whether a request with the method has a body, by method. CyberSource signs bodies of these three methods only.
_METHODS: Final = {"GET": False, "POST": True, "PUT": True, "PATCH": True, "DELETE": False}
_EXPECTED: Final = "expected a path such as '/pts/v2/payments'"
_MAX_PATH: Final = 1024
# The characters that every server and proxy forwards unchanged (RFC 3986 section 2.3), and "+", which names of reports
# can contain. Percent-encoding is not accepted, because encoded credentials would not be recognised.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~+-]{1,128}")
# Segments of a path that name a resource or a version. Others may be ids, which telemetry must not contain.
_RESOURCE: Final = re.compile(r"[a-z]{1,32}(?:-[a-z]{1,32}){0,7}|v[0-9]{1,3}")
_ID: Final = "{id}"
_QUERY_NAME: Final = re.compile(r"[A-Za-z0-9._~$\[\]-]{1,128}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# Headers that the client, the signer or the HTTP library sets.
_RESERVED: Final = frozenset(
    {
        *("accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type"),
        *("date", "digest", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "signature"),
        *("te", "trailer", "transfer-encoding", "upgrade", "user-agent", "v-c-merchant-id"),
    }
)


class RestOperation(Operation):
    """An operation with a method and a path that the caller chooses, and a JSON body.

    Its name is the method and the path, with ``{id}`` instead of each segment that may be an id:
    ``POST /pts/v2/payments/{id}/captures``. Telemetry, errors and ``MessageLevelEncryption`` use this name.

    Args:
        method: HTTP method in any case.
        path: path on the configured host, without a query.
        accept: media type of the response that the caller asked for. None for JSON.
        retry_safe: whether the call can be repeated without taking effect twice.

    Raises:
        InvalidArgumentError: the method is not supported, or the path is not a plain path, or contains a credential.
        InvalidArgumentTypeError: an argument has a wrong type.
    """

    __slots__ = ("_accepts_other_types",)

    def __init__(self, method: str, path: str, *, accept: str | None = None, retry_safe: bool = False) -> None:
        method = _check_method(method)
        _check_path(path)
        if not isinstance(retry_safe, bool):
            raise errors.InvalidArgumentTypeError(
                f"retry_safe must be True or False, not {type(retry_safe).__name__}", argument="retry_safe"
            )
        self._accepts_other_types = accept is not None and not is_json(accept)
        template = "/".join(part if _RESOURCE.fullmatch(part) else _ID for part in path.split("/")[1:])
        super().__init__(
            name=f"{method} /{template}",
            method=method,
            path=f"/{template}",
            requires_auth=True,
            accept=("application/json", "application/hal+json") if accept is None else (accept,),
            content_type="application/json;charset=utf-8" if _METHODS[method] else None,
            responses={},
            models="",
            retry_safe=retry_safe,
        )
        self._target = path

    def check_body(self, body: Any) -> None:
        """Check the body: a JSON object or array for a method with a body, and None for a method without a body.

        Raises:
            InvalidArgumentError: the body is missing, or a body was passed for a method without one.
            InvalidArgumentTypeError: the body has a wrong type.
        """
        if not _METHODS[self.method]:
            if body is not None:
                raise errors.InvalidArgumentError(
                    f"json was passed, but a {self.method} request has no body; expected params for a query",
                    argument="json",
                )
        elif body is None:
            raise errors.InvalidArgumentError(
                f"json is missing; expected the body of the {self.method} request, or json={{}} if it has no data",
                argument="json",
            )
        elif not isinstance(body, (dict, list, tuple, Model)):
            # A string would become a JSON string: a common mistake is to pass `json.dumps(body)`.
            raise errors.InvalidArgumentTypeError(
                f"json must be a dictionary, a list or a model, not {type(body).__name__}", argument="json"
            )

    def _encode(self, body: Any, content_type: str) -> bytes | None:
        return None if body is None else encode_json(body)

    def _parse_data(self, response: Response) -> Any:
        if not response.body:
            return None
        if self._accepts_other_types and not is_json(response.headers.get("Content-Type", "")):
            return response.body
        return parse_body(response.body, json.loads, "JSON")


def is_rest_operation(name: str) -> bool:
    """Whether a string has the form of a ``RestOperation``'s name, such as ``POST /pts/v2/payments``."""
    method, _, path = name.partition(" ")
    first, *segments = path.split("/")
    return (
        method in _METHODS
        and not first
        and bool(segments)
        and all(segment == _ID or _RESOURCE.fullmatch(segment) for segment in segments)
    )


def check_query(params: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Check the names of query parameters, and return names and values. ``Operation`` checks the values.

    Raises:
        InvalidArgumentError: a name has characters that names do not have, or is a credential.
        InvalidArgumentTypeError: ``params`` is not a mapping with strings as keys.
    """
    if params is None:
        return []
    if not isinstance(params, Mapping):
        raise errors.InvalidArgumentTypeError(
            f"params must be a mapping of names and values, not {type(params).__name__}", argument="params"
        )
    for name in params:
        if not isinstance(name, str):
            raise errors.InvalidArgumentTypeError("a name in params is not a string", argument="params")
        if not _QUERY_NAME.fullmatch(name) or describe_non_id(name) is not None:
            raise errors.InvalidArgumentError(
                "a name in params contains a character that is not allowed, or looks like a credential; nothing was "
                "sent",
                argument="params",
            )
    return list(params.items())


def check_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Check the headers that a caller adds to a request, and return them.

    Raises:
        InvalidArgumentError: a name or value cannot be sent, or a header is one that the client sets itself.
        InvalidArgumentTypeError: ``headers`` is not a mapping of strings.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise errors.InvalidArgumentTypeError(
            f"headers must be a mapping of strings, not {type(headers).__name__}", argument="headers"
        )
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise errors.InvalidArgumentTypeError("headers must contain only strings", argument="headers")
        if not _HEADER_NAME.fullmatch(name) or find_credential(name) is not None:
            raise errors.InvalidArgumentError(
                "headers contains an invalid name; expected letters, digits, '-' and '_'", argument="headers"
            )
        lower = name.lower()
        if lower in _RESERVED:
            raise errors.InvalidArgumentError(
                f"headers contains {name!r}, which the client sets itself", argument="headers"
            )
        if not HEADER_VALUE.fullmatch(value) or contains_card_number(value):
            # Without the name: a caller may have swapped name and value.
            raise errors.InvalidArgumentError(
                "headers contains a value that cannot be sent; expected Latin-1 characters without line breaks, "
                "control characters and card numbers",
                argument="headers",
            )
        if lower in checked:
            raise errors.InvalidArgumentError("headers contains a name twice, in different case", argument="headers")
        checked[lower] = value
    return checked


def _check_method(method: str) -> str:
    if not isinstance(method, str):
        raise errors.InvalidArgumentTypeError(
            f"method must be a string, not {type(method).__name__}", argument="method"
        )
    upper = method.upper()
    if not method.isascii() or upper not in _METHODS:
        raise errors.InvalidArgumentError(f"method must be one of {', '.join(_METHODS)}", argument="method")
    return upper


def _check_path(path: str) -> None:
    """Check a path. No message contains the path, which may be or contain a credential."""
    if not isinstance(path, str):
        raise errors.InvalidArgumentTypeError(f"path must be a string, not {type(path).__name__}", argument="path")
    problem = _describe_path_problem(path)
    if problem is not None:
        raise errors.InvalidArgumentError(f"path {problem}", argument="path")
    credential = find_credential(path) or next(filter(None, map(describe_non_id, path.split("/"))), None)
    if credential is not None:
        raise errors.InvalidArgumentError(
            f"path contains {credential}, which must not be part of a URL, because access logs keep URLs; nothing was "
            "sent",
            argument="path",
        )


def _describe_path_problem(path: str) -> str | None:
    """Describe what is wrong with the form of a path, as the end of a sentence. None if nothing is."""
    if "://" in path[:16] or path.startswith("//"):
        return f"is a URL, but requests are sent to the configured host only; {_EXPECTED}"
    if not path.startswith("/"):
        return f"does not begin with '/'; {_EXPECTED}"
    if len(path) > _MAX_PATH:
        return f"has more than {_MAX_PATH} characters; {_EXPECTED}"
    if "?" in path:
        return "contains '?'; expected the query as params={...}"
    if "#" in path:
        return f"contains a fragment ('#'), which is never sent; {_EXPECTED}"
    segments = path.split("/")[1:]
    # A path with and one without "/" at the end are different resources. CyberSource's paths have none.
    if "" in segments:
        return f"contains an empty segment, or ends with '/'; {_EXPECTED}"
    if any(segment in (".", "..") for segment in segments):
        return f"contains a segment '.' or '..'; {_EXPECTED}"
    if "%" in path:
        return f"contains percent-encoding, which is not accepted; {_EXPECTED}"
    if not all(map(_SEGMENT.fullmatch, segments)):
        return (
            "contains a segment of more than 128 characters, or with characters other than letters, digits and "
            f"'-', '.', '_', '~', '+'; {_EXPECTED}"
        )
    return None
