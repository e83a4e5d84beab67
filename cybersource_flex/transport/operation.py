"""An operation of the specification: from arguments to a request, from an answer to data or an exception. No I/O.

The generated API classes hold one ``Operation`` for each method; sync and async share all of this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote

from .. import errors
from .._model import Model, converter
from .message import Request, Response
from .problems import problem

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["ApiResponse", "Operation"]

_T = TypeVar("_T")

# RFC 3986 section 2.3; everything else in a path segment or a query value is percent-encoded.
_UNRESERVED: Final = "-._~"


class ApiResponse(Generic[_T]):
    """A successful answer with everything that came with it.

    Attributes:
        status_code: HTTP status code, 200 to 299.
        headers: headers of the answer; look-up ignores case.
        data: the body as the method's return type says.
        raw_data: the body's bytes as they came, decompressed.
        attempts: the attempts that it took, the last one last.
    """

    __slots__ = ("attempts", "data", "headers", "raw_data", "status_code")

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str],
        data: _T,
        raw_data: bytes,
        attempts: tuple[errors.Attempt, ...] = (),
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self.data = data
        self.raw_data = raw_data
        self.attempts = attempts

    def __repr__(self) -> str:
        return f"<ApiResponse {self.status_code} with {len(self.raw_data)}-byte body>"


class Operation:
    """One operation of the specification.

    Args:
        name: name of the Python method.
        method: HTTP method, upper case.
        path: path template, for example ``/flex/v2/public-keys/{kid}``.
        signed: whether the specification's ``security`` asks for a signature.
        accept: media types of the answers, in the order of preference.
        content_type: media type of the body, or None where there is none.
        responses: type of the body by status (``"201"``, ``"4XX"``, ``"default"``), as ``_model.converter`` names
            types; ``"str"`` is the body's text as it is, ``None`` no body.
        models: name of the package that holds the generated models.
        repeatable: whether the call can be made twice and nothing happens twice.
    """

    __slots__ = ("accept", "content_type", "method", "models", "name", "path", "repeatable", "responses", "signed")

    def __init__(
        self,
        *,
        name: str,
        method: str,
        path: str,
        signed: bool,
        accept: tuple[str, ...] = (),
        content_type: str | None = None,
        responses: Mapping[str, str | None],
        models: str,
        repeatable: bool = False,
    ) -> None:
        self.name = name
        self.method = method
        self.path = path
        self.signed = signed
        # Two answers of one media type name it once.
        self.accept = tuple(dict.fromkeys(accept))
        self.content_type = content_type
        self.responses = responses
        self.models = models
        self.repeatable = repeatable

    def __repr__(self) -> str:
        return f"<Operation {self.name}: {self.method} {self.path}>"

    def request(
        self,
        settings: Settings,
        *,
        path: Mapping[str, Any] | None = None,
        query: Iterable[tuple[str, Any]] = (),
        headers: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Request:
        """The request for a call with these arguments; the body is turned into bytes here, once.

        Args:
            settings: where to send.
            path: values of the parameters in the path, by their names in the template.
            query: query parameters in their order; None leaves one out, a list repeats it.
            headers: header parameters; None leaves one out.
            body: a model or JSON types, or the text of a body that is not JSON; bytes are sent as they are.

        Raises:
            ConfigurationError: the operation must be signed and the settings have no signer.
            TypeError: a value has a type that cannot be sent.
            ValueError: a path parameter is empty or a dot segment, or a header value has a line break in it.
        """
        if self.signed and settings.auth is None:
            raise errors.ConfigurationError(
                f"{self.name} must be signed and the client has no auth; give it a signer such as JwtSharedSecret(...)"
            )
        target = _fill(self.path, path or {}) + _query(query)
        out: dict[str, str] = {}
        if self.accept:
            out["Accept"] = ", ".join(self.accept)
        content = None if self.content_type is None else self._encode(body)
        if content is not None and self.content_type is not None:
            out["Content-Type"] = self.content_type
        for name, value in (headers or {}).items():
            if value is not None:
                out[name] = _header(name, value)
        return Request(
            self,
            method=self.method,
            url=settings.base_url + target,
            host=settings.signed_host,
            target=target,
            headers=out,
            body=content,
        )

    def result(self, response: Response) -> ApiResponse[Any]:
        """The data of a successful answer.

        Raises:
            ResponseDecodingError: the answer is a success whose body cannot be read.
            ApiException: the answer is anything else; one of its subclasses where one fits.
        """
        if not 200 <= response.status < 300:
            raise problem(self, response, data=self._error_model(response))
        kind = self._type_for(response.status)
        try:
            data = None if kind is None else self._decode(kind, response)
        except (ValueError, TypeError, RecursionError) as cause:
            raise problem(
                self, response, message=f"the call was accepted, but its answer cannot be read: {_why(cause)}"
            ) from None
        return ApiResponse(response.status, response.headers, data, response.body, response.attempts)

    def _encode(self, body: Any) -> bytes | None:
        if body is None:
            return None
        if isinstance(body, (bytes, bytearray)):
            return bytes(body)
        if is_json(self.content_type or ""):
            return _json(body)
        if isinstance(body, str):
            return body.encode("utf-8")
        raise TypeError(f"the body of {self.name} must be str or bytes, not {type(body).__name__}")

    def _type_for(self, status: int) -> str | None:
        for key in (str(status), f"{status // 100}XX"):
            if key in self.responses:
                return self.responses[key]
        if 200 <= status < 300:
            # Any other success is read like the one that the specification names.
            return next((kind for key, kind in self.responses.items() if key.startswith("2")), None)
        return self.responses.get("default")

    def _decode(self, kind: str, response: Response) -> Any:
        # A token is bare text even where its media type says JSON; a JSON text begins with a quotation mark.
        quoted = is_json(response.headers.get("Content-Type", "")) and response.body.lstrip()[:1] == b'"'
        if kind == "str" and not quoted:
            return _text(response.body)
        data = json.loads(response.body)
        return converter(kind, self.models).decode(data, "the answer")

    def _error_model(self, response: Response) -> Any:
        kind = self._type_for(response.status)
        if kind is None or kind == "str":
            return None
        try:
            return converter(kind, self.models).decode(json.loads(response.body), "the answer")
        except (ValueError, TypeError, RecursionError):
            # A gateway answered in its own words; the exception still has the bytes.
            return None


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON: ``application/json`` or a ``+json`` type (RFC 6839 section 3.1)."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence == "application/json" or essence.endswith("+json")


def _json(body: Any) -> bytes:
    if isinstance(body, Model):
        return body.to_json().encode("utf-8")
    if isinstance(body, (list, tuple)):
        body = [entry.to_dict() if isinstance(entry, Model) else entry for entry in body]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _text(body: bytes) -> str:
    # Some gateways quote the JWT as a JSON string; wire formats in use have no quotation marks of their own.
    text = body.decode("utf-8").strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text


def _why(cause: Exception) -> str:
    if isinstance(cause, (UnicodeDecodeError, json.JSONDecodeError, RecursionError)):
        # Their own texts quote the content.
        return "it is not the text or JSON that it has to be"
    return str(cause)


def _fill(template: str, values: Mapping[str, Any]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        text = _plain(values[name], name)
        if not text:
            raise ValueError(f"path parameter {name!r} must not be empty")
        if text in (".", ".."):
            # Percent-encoding cannot protect these: RFC 3986 section 5.2.4 removes them on the way.
            raise ValueError(f"path parameter {name!r} must not be a dot segment")
        return quote(text, safe=_UNRESERVED)

    return re.sub(r"\{([^{}]+)\}", value_of, template)


def _query(parameters: Iterable[tuple[str, Any]]) -> str:
    pairs = []
    for name, value in parameters:
        if value is None:
            continue
        for entry in value if isinstance(value, (list, tuple)) else (value,):
            pairs.append(f"{quote(name, safe=_UNRESERVED)}={quote(_plain(entry, name), safe=_UNRESERVED)}")
    return "?" + "&".join(pairs) if pairs else ""


def _header(name: str, value: Any) -> str:
    text = ",".join(_plain(entry, name) for entry in value) if isinstance(value, (list, tuple)) else _plain(value, name)
    if any(char in text for char in "\r\n\0"):
        raise ValueError(f"header {name!r} must not have a line break or a null character in its value")
    return text


def _plain(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    raise TypeError(f"parameter {name!r} cannot be of type {type(value).__name__}")
