"""Operations of the API: build a request from arguments, and parse a response into data or an exception. No I/O.

The generated API classes hold one ``Operation`` for each method; sync and async share all of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from .. import errors
from .._converters import FieldTypeError, FieldValueError, converter, load_types
from .._deprecated import warn_deprecated
from .encoding import compact_token, fill, header_value, is_json, json_body, query_string, text_of
from .message import Request, Response
from .problems import problem

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["ApiResponse", "Operation"]

_T = TypeVar("_T")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

# Type of a body, or types by media type if the specification defines several.
_Body = str | Mapping[str, str] | None


class ApiResponse(Generic[_T]):
    """A successful response: status, headers, body and parsed data.

    Attributes:
        status_code: HTTP status code, 200 to 299.
        headers: headers of the response; names are case-insensitive.
        data: the body, parsed into the method's return type.
        raw_data: the body as bytes, decompressed.
        attempts: the attempts of the call, in order.
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
        signed: whether the specification's ``security`` requires a signature.
        accept: media types of the responses, in order of preference.
        content_type: media type of the body; None if there is none, or if ``bodies`` has several.
        body_type: type of the body, if it has one media type; None if any JSON type may be sent.
        bodies: types of the body by media type, if the type of the argument selects which is sent.
        responses: type of the body by status (``"201"``, ``"4XX"``, ``"default"``), or types by media type, as
            ``_converters.converter`` names types; ``"str"`` is the body as a string, ``None`` no body.
        models: name of the package that holds the generated models.
        repeatable: whether the call can be repeated without taking effect twice.
        encrypted_body: whether the body must be a JWE.
        styles: styles of the query parameters whose lists are joined, by name, as in ``encoding.SEPARATORS``; any other
            list repeats the parameter.
        servers: base URLs of the hosts that serve this operation instead of the configured one, by environment.
        deprecated: whether a call issues a deprecation warning.
        deprecated_parameters: names of the parameters that issue a warning if they are passed.
    """

    __slots__ = (
        "_loaded",
        *("accept", "bodies", "body_type", "content_type", "deprecated", "deprecated_parameters", "encrypted_body"),
        *("method", "models", "name", "path", "repeatable", "responses", "servers", "signed", "styles"),
    )

    def __init__(
        self,
        *,
        name: str,
        method: str,
        path: str,
        signed: bool,
        accept: tuple[str, ...] = (),
        content_type: str | None = None,
        body_type: str | None = None,
        bodies: Mapping[str, str] = _NOTHING,
        responses: Mapping[str, _Body],
        models: str,
        repeatable: bool = False,
        encrypted_body: bool = False,
        styles: Mapping[str, str] = _NOTHING,
        servers: Mapping[str, str] = _NOTHING,
        deprecated: bool = False,
        deprecated_parameters: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.method = method
        self.path = path
        self.signed = signed
        # Several responses may have the same media type.
        self.accept = tuple(dict.fromkeys(accept))
        self.content_type = content_type
        self.body_type = body_type
        self.bodies = bodies
        self.responses = responses
        self.models = models
        self.repeatable = repeatable
        self.encrypted_body = encrypted_body
        self.styles = styles
        self.servers = servers
        self.deprecated = deprecated
        self.deprecated_parameters = deprecated_parameters
        self._loaded = False

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
        """Build the request for a call with these arguments. The body is serialised here, once.

        Args:
            settings: where to send.
            path: values of the parameters in the path, by their names in the template; entries of a list are separated
                by commas.
            query: query parameters in their order; None leaves one out, a list repeats it or is joined.
            headers: header parameters; None leaves one out, entries of a list are separated by commas.
            body: a model or JSON types, or a string for a body that is not JSON; bytes are sent unchanged. One of the
                types of ``bodies`` if there are several.

        Raises:
            ConfigurationError: the operation must be signed and the settings have no signer; or it has its own servers,
                and none for the environment of the settings.
            InvalidArgumentError: a path parameter is empty or a dot segment, a header value has a line break in it, a
                parameter is NaN or infinite, or a token, key or card number would become part of the URL; or the body
                is not the token that its media type requires.
            TypeError: a value has a type that cannot be sent.
        """
        if self.signed and settings.auth is None:
            raise errors.ConfigurationError(
                f"{self.name} must be signed and the client has no auth; give it a signer such as JwtSharedSecret(...)"
            )
        if not self._loaded:
            self._load_error_models()
        base_url, host = self._place(settings)
        query = tuple(query)
        if self.deprecated or self.deprecated_parameters:
            self._warn({**(path or {}), **dict(query), **(headers or {})})
        target = fill(self.path, path or {}) + query_string(query, self.styles)
        out: dict[str, str] = {}
        if self.accept:
            out["Accept"] = ", ".join(self.accept)
        content_type = self._content_type(body)
        content = None if content_type is None else self._encode(body, content_type)
        if content is not None and content_type is not None:
            out["Content-Type"] = content_type
        for name, value in (headers or {}).items():
            if value is not None:
                out[name] = header_value(name, value)
        return Request(
            self,
            method=self.method,
            url=base_url + target,
            host=host,
            target=target,
            headers=out,
            body=content,
        )

    def _load_error_models(self) -> None:
        # Loaded before sending: later, the process may have no file descriptor left to read a module.
        try:
            for status, kind in self.responses.items():
                if kind is not None and not status.startswith("2"):
                    for type_name in (kind,) if isinstance(kind, str) else kind.values():
                        load_types(type_name, self.models)
        except OSError:
            # No file descriptor is left. Connecting fails with an error for that; the next call loads the models.
            return
        self._loaded = True

    def _place(self, settings: Settings) -> tuple[str, str]:
        """Return the base URL to connect to, and the host to sign.

        If the configured host is not one of the specification's servers, send there. Otherwise use this operation's own
        server for the same environment.
        """
        if not self.servers:
            return settings.base_url, settings.signed_host
        environment = next((name for name, url in settings.ENVIRONMENTS.items() if url == settings.host), None)
        if environment is None:
            return settings.base_url, settings.signed_host
        server = self.servers.get(environment)
        if server is None:
            raise errors.ConfigurationError(
                f"{self.name} is not served in the environment {environment!r}; it is in {', '.join(self.servers)}"
            )
        if settings.tls is not None and settings.tls.insecure_skip_verification:
            raise errors.ConfigurationError(
                f"{self.name} goes to {server}, and insecure_skip_verification is for the configured host alone"
            )
        return settings.intermediate_host or server, server.partition("://")[2]

    def _warn(self, given: Mapping[str, Any]) -> None:
        if self.deprecated:
            warn_deprecated(f"{self.name} is deprecated")
        for name in self.deprecated_parameters:
            if given.get(name) is not None:
                warn_deprecated(f"{self.name}: the parameter {name!r} is deprecated")

    def result(self, response: Response) -> ApiResponse[Any]:
        """Parse a successful response.

        Raises:
            ResponseDecodingError: the response is a success whose body cannot be parsed.
            ApiException: the response has any other status; the subclass for the status, if there is one.
        """
        if not 200 <= response.status < 300:
            raise problem(self, response, data=self._error_model(response))
        if response.undecoded is not None:
            reason = f"the call was accepted, but its response cannot be decoded: Content-Encoding {response.undecoded}"
            raise problem(self, response, message=reason)
        kind = self._type_for(response)
        try:
            data = None if kind is None else self._decode(kind, response)
        except (FieldTypeError, FieldValueError) as cause:
            raise problem(
                self, response, message=f"the call was accepted, but its response cannot be parsed: {cause}"
            ) from None
        return ApiResponse(response.status, response.headers, data, response.body, response.attempts)

    def _content_type(self, body: Any) -> str | None:
        if not self.bodies or body is None:
            return self.content_type
        for media_type, kind in self.bodies.items():
            try:
                converter(kind, self.models).check(body, "")
            except FieldTypeError:
                continue
            return media_type
        kinds = " or ".join(f"{kind} ({media_type})" for media_type, kind in self.bodies.items())
        raise TypeError(f"the body of {self.name} must be {kinds}, not {type(body).__name__}")

    def _encode(self, body: Any, content_type: str) -> bytes | None:
        if body is None:
            return None
        if self.encrypted_body or _is_token(content_type):
            if not isinstance(body, (str, bytes, bytearray)):
                raise TypeError(f"the body of {self.name} must be str or bytes, not {type(body).__name__}")
            content = body if isinstance(body, str) else bytes(body)
            return compact_token(content, self.name, encrypted=self.encrypted_body)
        if isinstance(body, (bytes, bytearray)):
            return bytes(body)
        if is_json(content_type):
            if self.body_type is not None:
                # Plain dictionaries are rejected too: card data passed by mistake would be sent without encryption.
                converter(self.body_type, self.models).check(body, f"the body of {self.name}")
            return json_body(body)
        if isinstance(body, str):
            return body.encode("utf-8")
        raise TypeError(f"the body of {self.name} must be str or bytes, not {type(body).__name__}")

    def _type_for(self, response: Response) -> str | None:
        status = response.status
        for key in (str(status), f"{status // 100}XX"):
            if key in self.responses:
                return _of_media_type(self.responses[key], response)
        if 200 <= status < 300:
            # Any other success is parsed as the first one in the specification that has a body.
            named = [kind for key, kind in self.responses.items() if key.startswith("2")]
            return _of_media_type(next((kind for kind in named if kind is not None), None), response)
        return _of_media_type(self.responses.get("default"), response)

    def _decode(self, kind: str, response: Response) -> Any:
        # A token is sent bare even with a JSON media type; a JSON string begins with a quotation mark.
        quoted = is_json(response.headers.get("Content-Type", "")) and response.body.lstrip()[:1] == b'"'
        parse = text_of if kind == "str" and not quoted else json.loads
        return converter(kind, self.models).decode(_parsed(response.body, parse), "the response")

    def _error_model(self, response: Response) -> Any:
        kind = self._type_for(response)
        if kind is None or kind == "str":
            return None
        try:
            return converter(kind, self.models).decode(_parsed(response.body, json.loads), "the response")
        except (FieldTypeError, FieldValueError):
            # A gateway responded in its own format; the exception still has the bytes.
            return None


def _is_token(media_type: str) -> bool:
    """Whether a media type is that of a JWS or JWE in compact form (RFC 7515 section 9.2.1, RFC 7519 section 10.3)."""
    return media_type.partition(";")[0].strip().lower() in ("application/jwt", "application/jose")


def _of_media_type(kind: _Body, response: Response) -> str | None:
    """The type of the body for the response's media type; the first one if the specification does not name it."""
    if kind is None or isinstance(kind, str):
        return kind
    has = response.headers.get("Content-Type", "")
    essence = has.partition(";")[0].strip().lower()
    by_essence = {media_type.partition(";")[0].strip(): each for media_type, each in kind.items()}
    if essence in by_essence:
        return by_essence[essence]
    alike = (each for media_type, each in kind.items() if is_json(media_type) == is_json(has))
    return next(alike if has else iter(kind.values()), next(iter(kind.values())))


def _parsed(body: bytes, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(body)
    except (ValueError, RecursionError):
        # `from None`: their messages quote the content.
        raise FieldValueError("it is not valid text or JSON") from None
