"""``Operation``: build requests and parse responses. ``ApiResponse``: a response and its parsed data. No I/O.

The generated API classes have one ``Operation`` for each method. The sync and async classes share them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from .. import errors
from .._converters import FieldTypeError, FieldValueError, converter, load_types
from .._model import Model
from .._warnings import warn_deprecated
from .encoding import (
    compact_token,
    encode_json,
    encode_text,
    expand_path,
    header_value,
    is_json,
    query_string,
)
from .error_responses import api_exception, describe_body, is_error_body
from .messages import Request, Response

if TYPE_CHECKING:
    from .clock import HostTime
    from .configuration import Configuration

__all__ = ["ApiResponse", "Operation", "WrongFormatError", "parse_body"]

_T = TypeVar("_T")

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

# A string with parts separated by dots, and without white space and the characters that begin HTML, XML and JSON.
# Malformed parts are accepted here, because `jose` raises more specific errors for them.
_TOKEN: Final = re.compile(r"""[^\s.<>{}\[\]"']+\.[^\s<>{}\[\]"']*""")

# Type name of a body, or type names by media type if the specification defines several.
_BodyTypes = str | Mapping[str, str] | None

# Limit of the media types that an operation remembers, because the server chooses them.
_MAX_EXPECTED_BODIES: Final = 16


class _ExpectedBody(NamedTuple):
    """The expected body of a response.

    Attributes:
        type_name: name of the type into which the body is parsed. None if the specification defines no body.
        must_be_token: whether the body must be a token.
        is_json: whether the media type of the response is JSON.
    """

    type_name: str | None
    must_be_token: bool
    is_json: bool


class WrongFormatError(Exception):
    """A successful response does not have the specified format. The message names that format: ``a token``."""


class ApiResponse(Generic[_T]):
    """A successful response: status, headers, body and parsed data.

    Attributes:
        status_code: HTTP status code, 200 to 299.
        headers: headers of the response; names are case-insensitive.
        data: the body, parsed into the method's return type.
        raw_data: the body as bytes, decompressed.
        attempts: the attempts of the call, in order.
        elapsed: seconds from the start of the call to the complete response, including retries and waits.
        host_time: the host's time, from the header ``Date`` of this response, or from an earlier response if this one
            has none. None if unknown. The functions that verify the tokens in a response take it.
    """

    __slots__ = ("attempts", "data", "elapsed", "headers", "host_time", "raw_data", "status_code")

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str],
        data: _T,
        raw_data: bytes,
        attempts: tuple[errors.Attempt, ...] = (),
        elapsed: float = 0.0,
        host_time: HostTime | None = None,
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self.data = data
        self.raw_data = raw_data
        self.attempts = attempts
        self.elapsed = elapsed
        self.host_time = host_time

    @property
    def correlation_id(self) -> str | None:
        """``v-c-correlation-id``, which CyberSource's support asks for. None if the value is not an id."""
        return errors.safe_correlation_id(self.headers.get("v-c-correlation-id"))

    @property
    def response(self) -> errors.ResponseInfo:
        """Status, correlation id, attempts and duration of the call.

        Verified tokens and errors have the same attribute.
        """
        return errors.ResponseInfo(self.status_code, self.correlation_id, self.attempts, self.elapsed)

    def __repr__(self) -> str:
        return f"<ApiResponse {self.status_code} with {len(self.raw_data)}-byte body>"


class Operation:
    """One operation of the specification.

    Args:
        name: name of the Python method.
        method: HTTP method, upper case.
        path: path template, for example ``/flex/v2/public-keys/{kid}``.
        requires_auth: whether the specification's ``security`` requires a signature.
        accept: media types of the responses, in order of preference.
        content_type: media type of the body. None if there is no body, or if ``body_types`` has several media types.
        body_type: type of a body with one media type. None if any JSON type may be sent.
        body_types: types of the body by media type, if there are several. The type of the argument selects one.
        responses: type of the response body by status (``"201"``, ``"4XX"``, ``"default"``): a type name in the
            notation of ``_converters.converter``, or type names by media type. ``"str"`` is the body as a string,
            ``None`` means that there is no body.
        models: name of the package that holds the generated models.
        retry_safe: whether the call can be repeated without taking effect twice.
        encrypted_body: whether the body must be a JWE.
        query_styles: query parameters whose lists are joined, by name. The values are keys of ``encoding.SEPARATORS``.
            For other parameters, each entry of a list repeats the parameter.
        servers: base URLs of this operation's own hosts, by environment. The operation is sent there instead of to the
            configured host.
        deprecated: whether a call issues a deprecation warning.
        deprecated_parameters: names of the parameters that issue a warning if they are passed.
    """

    __slots__ = (
        *("_accept_header", "_error_models_loaded", "_expected_bodies", "_json_types", "_target", "_token_types"),
        *("accept", "body_types", "body_type", "content_type", "deprecated", "deprecated_parameters", "encrypted_body"),
        *("method", "models", "name", "path", "retry_safe", "responses", "servers", "requires_auth", "query_styles"),
    )

    def __init__(
        self,
        *,
        name: str,
        method: str,
        path: str,
        requires_auth: bool,
        accept: tuple[str, ...] = (),
        content_type: str | None = None,
        body_type: str | None = None,
        body_types: Mapping[str, str] = _EMPTY,
        responses: Mapping[str, _BodyTypes],
        models: str,
        retry_safe: bool = False,
        encrypted_body: bool = False,
        query_styles: Mapping[str, str] = _EMPTY,
        servers: Mapping[str, str] = _EMPTY,
        deprecated: bool = False,
        deprecated_parameters: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.method = method
        self.path = path
        self.requires_auth = requires_auth
        # Several responses may have the same media type.
        self.accept = tuple(dict.fromkeys(accept))
        self.content_type = content_type
        self.body_type = body_type
        self.body_types = body_types
        self.responses = responses
        self.models = models
        self.retry_safe = retry_safe
        self.encrypted_body = encrypted_body
        self.query_styles = query_styles
        self.servers = servers
        self.deprecated = deprecated
        self.deprecated_parameters = deprecated_parameters
        self._accept_header = ", ".join(self.accept)
        # The path as it is sent. None if it has parameters.
        self._target = None if "{" in path else path
        # Media types of the request body that are encoded as a token, and as JSON.
        media_types = [*body_types] if content_type is None else [content_type, *body_types]
        self._token_types = frozenset(each for each in media_types if encrypted_body or _is_token(each))
        self._json_types = frozenset(filter(is_json, media_types))
        self._error_models_loaded = False
        self._expected_bodies: dict[tuple[int, str], _ExpectedBody] = {}

    def __repr__(self) -> str:
        return f"<Operation {self.name}: {self.method} {self.path}>"

    def build_request(
        self,
        configuration: Configuration,
        *,
        path: Mapping[str, Any] | None = None,
        query: Iterable[tuple[str, Any]] = (),
        headers: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Request:
        """Build the request for a call with these arguments. The body is serialised once and reused by retries.

        Args:
            configuration: the host, the signer and other configuration.
            path: values of the path parameters, by their names in the template. Entries of a list are separated by
                commas.
            query: names and values of the query parameters, in their order. None leaves out the parameter. A list
                repeats the parameter or is joined, depending on ``query_styles``.
            headers: values of the header parameters, by name. None leaves out the header. Entries of a list are
                separated by commas.
            body: a model or JSON types, or a string for a body that is not JSON. Bytes are sent unchanged. If
                ``body_types`` is not empty, the body must have one of these types.

        Raises:
            ConfigurationError: the operation must be signed, but the configuration has no signer. Or the operation has
                its own servers, but none for the environment of the configuration.
            InvalidArgumentError: a parameter or the body cannot be sent. This applies to

                - a path parameter that is empty or a dot segment;
                - a token, key or card number in the path or query;
                - a header value with a line break;
                - a parameter that is NaN or infinite;
                - a body that cannot be encoded, or that is not a token although its media type requires one.
            InvalidArgumentTypeError: a value has a type that cannot be sent.
        """
        if self.requires_auth and configuration.auth is None:
            raise errors.ConfigurationError(
                f"{self.name} must be signed, but the client has no auth; expected a signer such as "
                "JwtSharedSecret(...)"
            )
        if not self._error_models_loaded:
            self._load_error_models()
        base_url, host = configuration.base_url, configuration.signed_host
        if self.servers:
            base_url, host = self._resolve_host(configuration)
        query = tuple(query)
        if self.deprecated or self.deprecated_parameters:
            self._warn_if_deprecated({**(path or {}), **dict(query), **(headers or {})})
        target = expand_path(self.path, path or {}) if self._target is None else self._target
        if query:
            target += query_string(query, self.query_styles)
        request_headers: dict[str, str] = {}
        if self._accept_header:
            request_headers["Accept"] = self._accept_header
        content_type = self._content_type(body) if self.body_types else self.content_type
        content = None if content_type is None else self._encode(body, content_type)
        if content is not None and content_type is not None:
            request_headers["Content-Type"] = content_type
        for name, value in (headers or {}).items():
            if value is not None:
                request_headers[name] = header_value(name, value)
        return Request(
            self,
            method=self.method,
            url=base_url + target,
            host=host,
            target=target,
            headers=request_headers,
            body=content,
        )

    def _load_error_models(self) -> None:
        """Import the models of error responses now. Later, there may be no file descriptor left to read a module."""
        try:
            for status, types in self.responses.items():
                if types is not None and not status.startswith("2"):
                    for type_name in (types,) if isinstance(types, str) else types.values():
                        load_types(type_name, self.models)
        except OSError:
            # No file descriptor is left even now. Connecting will fail with an error that says so.
            return
        self._error_models_loaded = True

    def _resolve_host(self, configuration: Configuration) -> tuple[str, str]:
        """Return the base URL to connect to, and the host to sign.

        An operation with its own servers is sent to the server for the environment of the configured host. A configured
        host that is not in the specification receives all operations.
        """
        environment = next(
            (name for name, url in configuration.ENVIRONMENTS.items() if url == configuration.host), None
        )
        if environment is None:
            return configuration.base_url, configuration.signed_host
        server = self.servers.get(environment)
        if server is None:
            raise errors.ConfigurationError(
                f"{self.name} is not available in the environment {environment!r}, only in {', '.join(self.servers)}"
            )
        if configuration.tls is not None and configuration.tls.insecure_skip_verification:
            raise errors.ConfigurationError(
                f"{self.name} is sent to {server}, but insecure_skip_verification is allowed only for the configured "
                "host"
            )
        return configuration.intermediate_host or server, server.partition("://")[2]

    def _warn_if_deprecated(self, arguments: Mapping[str, Any]) -> None:
        if self.deprecated:
            warn_deprecated(f"{self.name} is deprecated")
        for name in self.deprecated_parameters:
            if arguments.get(name) is not None:
                warn_deprecated(f"{self.name}: the parameter {name!r} is deprecated")

    def parse_response(self, response: Response) -> ApiResponse[Any]:
        """Parse a successful response.

        Raises:
            ResponseDecodingError: the status is a success, but the body cannot be parsed.
            ApiException: the status is not a success. Common statuses have subclasses.
        """
        if not 200 <= response.status < 300:
            raise api_exception(self, response, data=self._error_model(response))
        if response.undecoded is not None:
            reason = f"the call was accepted, but the response cannot be decoded: Content-Encoding {response.undecoded}"
            raise api_exception(self, response, message=reason)
        try:
            data = self._parse_data(response)
        except WrongFormatError as cause:
            reason = f"the call was accepted, but the response is not {cause}: it is {describe_body(response)}"
            raise api_exception(self, response, message=reason) from None
        except (FieldTypeError, FieldValueError) as cause:
            raise api_exception(
                self, response, message=f"the call was accepted, but the response cannot be parsed: {cause}"
            ) from None
        return ApiResponse(
            response.status,
            response.headers,
            data,
            response.body,
            response.attempts,
            response.elapsed,
            response.host_time,
        )

    def _parse_data(self, response: Response) -> Any:
        """Parse the body of a successful response into the type that the specification defines for its status."""
        type_name, must_be_token, is_json_type = self._expected_body(response)
        if type_name is None:
            return None
        # Tokens are sent without quotation marks even with a JSON media type. Some gateways send them as JSON strings
        # with another media type.
        quoted = (is_json_type or must_be_token) and response.body.lstrip()[:1] == b'"'
        if type_name == "str" and not quoted:
            data = parse_body(response.body, bytes.decode, "text in UTF-8").strip()
        else:
            content = parse_body(response.body, json.loads, "JSON")
            data = converter(type_name, self.models).decode(content, "the response")
            if isinstance(data, Model):
                names = {field.json_name for field in data._fields.values()}
                if content and names and names.isdisjoint(content):
                    raise WrongFormatError(f"a {type(data).__name__}")
            elif type_name == "Dict[str, object]" and is_error_body(data):
                raise WrongFormatError("the requested data")
        if must_be_token and not (isinstance(data, str) and _TOKEN.fullmatch(data)):
            raise WrongFormatError("a token")
        return data

    def _content_type(self, body: Any) -> str | None:
        if body is None:
            return self.content_type
        for media_type, type_name in self.body_types.items():
            try:
                converter(type_name, self.models).check(body, "")
            except FieldTypeError:
                continue
            return media_type
        expected = " or ".join(f"{type_name} ({media_type})" for media_type, type_name in self.body_types.items())
        raise FieldTypeError(f"the body of {self.name}", f"must be {expected}, not {type(body).__name__}")

    def _encode(self, body: Any, content_type: str) -> bytes | None:
        if body is None:
            return None
        if content_type in self._token_types:
            if not isinstance(body, (str, bytes, bytearray)):
                raise FieldTypeError(f"the body of {self.name}", f"must be str or bytes, not {type(body).__name__}")
            content = body if isinstance(body, str) else bytes(body)
            return compact_token(content, self.name, encrypted=self.encrypted_body)
        if isinstance(body, (bytes, bytearray)):
            return bytes(body)
        if content_type in self._json_types:
            if self.body_type is not None:
                # Plain dictionaries are rejected too: card data passed by mistake would be sent without encryption.
                converter(self.body_type, self.models).check(body, f"the body of {self.name}")
            return encode_json(body)
        if isinstance(body, str):
            return encode_text(body)
        raise FieldTypeError(f"the body of {self.name}", f"must be str or bytes, not {type(body).__name__}")

    def _expected_body(self, response: Response) -> _ExpectedBody:
        """Return what the body of a response with this status and media type must be."""
        media_type = response.headers.get("Content-Type", "")
        key = response.status, media_type
        expected = self._expected_bodies.get(key)
        if expected is None:
            type_name = _type_for_media_type(self._body_types_of(response.status), media_type)
            must_be_token = type_name == "str" and self._must_be_token(media_type)
            expected = _ExpectedBody(type_name, must_be_token, is_json(media_type))
            if len(self._expected_bodies) < _MAX_EXPECTED_BODIES:
                self._expected_bodies[key] = expected
        return expected

    def _body_types_of(self, status: int) -> _BodyTypes:
        for key in (str(status), f"{status // 100}XX"):
            if key in self.responses:
                return self.responses[key]
        if 200 <= status < 300:
            # A success status that is not in the specification is parsed like the first success status with a body.
            successes = [types for key, types in self.responses.items() if key.startswith("2")]
            return next((types for types in successes if types is not None), None)
        return self.responses.get("default")

    def _must_be_token(self, media_type: str) -> bool:
        """Whether a successful response that is a string must be a token.

        It need not be a token if the specification lists its media type, and the type is neither JSON nor a token type.
        """
        others = {_essence(each) for each in self.accept if not _is_token(each) and not is_json(each)}
        return _essence(media_type) not in others and any(_is_token(each) for each in self.accept)

    def _error_model(self, response: Response) -> Any:
        type_name = self._expected_body(response).type_name
        if type_name is None or type_name == "str":
            return None
        try:
            return converter(type_name, self.models).decode(
                parse_body(response.body, json.loads, "JSON"), "the response"
            )
        except (FieldTypeError, FieldValueError, WrongFormatError):
            # The body has a different format, for example that of a gateway. The exception contains the bytes.
            return None


def _is_token(media_type: str) -> bool:
    """Whether a media type means a JWS or JWE in compact form (RFC 7515 section 9.2.1, RFC 7519 section 10.3)."""
    return _essence(media_type) in ("application/jwt", "application/jose")


def _essence(media_type: str) -> str:
    """Return a media type in lower case, without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def _type_for_media_type(types: _BodyTypes, actual: str) -> str | None:
    """Return the type name for a response's media type.

    If the specification does not list the media type, the type of a listed media type is used: for a JSON response, the
    first one that is JSON, and for any other response, the first one that is not JSON.
    """
    if types is None or isinstance(types, str):
        return types
    essence = _essence(actual)
    by_essence = {media_type.partition(";")[0].strip(): type_name for media_type, type_name in types.items()}
    if essence in by_essence:
        return by_essence[essence]
    first = next(iter(types.values()))
    if not actual:
        return first
    similar = (type_name for media_type, type_name in types.items() if is_json(media_type) == is_json(actual))
    return next(similar, first)


def parse_body(body: bytes, parse: Callable[[bytes], Any], expected: str) -> Any:
    """Parse a response body. Raises ``WrongFormatError`` with the name of the ``expected`` format if that fails."""
    try:
        return parse(body)
    except (ValueError, RecursionError):
        # `from None`: the original messages quote the content.
        raise WrongFormatError(expected) from None
