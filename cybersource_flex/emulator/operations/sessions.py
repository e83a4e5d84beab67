"""The session operations: check the requested fields and issue a capture context.

Both operations reject undocumented members. Whether the real host does so is unpublished. Rejection is more useful for
tests, because an undocumented member is nearly always a misspelling.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from cryptography.hazmat.primitives.asymmetric import rsa

from .. import jose
from ..auth.credentials import Merchant
from ..browser import microform
from ..faults import content_faults
from ..server.error_responses import ApiError, ErrorDetail, Reason
from ..server.messages import Response, jwt_response
from ..server.request_context import RequestContext
from . import cards
from .store import LIFETIME, IssuedContext, context_data, context_jti
from .validation import CARD, CHECK, allowed_fields

API_TYPE = "api-0.1.0"
MICROFORM_TYPE = "mf-2.1.0"
MAXIMUM_ORIGINS = 9

_ORIGIN = re.compile(r"(?:https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|http://localhost)(?::([0-9]{1,5}))?")
_LOOPBACK_ORIGIN = re.compile(r"http://(?:127(?:\.[0-9]{1,3}){3}|\[::1\]|[A-Za-z0-9.-]+\.localhost)(?::([0-9]{1,5}))?")
_MICROFORM_MEMBERS = {
    "clientVersion",
    "targetOrigins",
    "allowedCardNetworks",
    "allowedPaymentTypes",
    "transientTokenResponseOptions",
}


@dataclass(frozen=True)
class Capture:
    """The data that a capture context allows clients to capture.

    Attributes:
        type: type and version of the context.
        data: the claim `ctx[0].data`.
        required, optional, networks, include_prefix, target_origins: as in `IssuedContext`.
    """

    type: str
    data: dict[str, object]
    required: frozenset[str]
    optional: frozenset[str]
    networks: tuple[str, ...] | None = None
    include_prefix: bool | None = None
    target_origins: tuple[str, ...] = ()


def flex_session(context: RequestContext) -> Response:
    """`POST /flex/v2/sessions`: a capture context for the Flex API."""
    return _issue(context, flex_capture(_body(context, Reason.PARAMETERS), context.settings.extra_fields))


def flex_capture(body: dict[str, Any], extra_fields: frozenset[str] = frozenset()) -> Capture:
    """Check the body of a request for a Flex API context. Raises one `ApiError` with all errors."""
    tree, location = body, ""
    # The current guide's examples omit the member `fields`; the specification and all published code have it.
    if "fields" in body:
        tree, location = body["fields"], "fields"
        if others := sorted(set(body) - {"fields"}):
            raise _invalid_fields(ErrorDetail(name, "Unknown member") for name in others)
    leaves: dict[str, bool] = {}
    details = list(_check_fields(tree, location, "", allowed_fields(extra_fields), leaves))
    if details:
        raise _invalid_fields(details)
    if not leaves:
        raise _invalid_fields([ErrorDetail(location or "fields", "No field is requested")])
    required = [path for path, is_required in leaves.items() if is_required]
    optional = [path for path, is_required in leaves.items() if not is_required]
    data: dict[str, object] = {"requiredFields": required, "optionalFields": optional}
    return Capture(API_TYPE, data, frozenset(required), frozenset(optional))


def _body(context: RequestContext, reason: str) -> dict[str, Any]:
    if not context.request.accepts("application/jwt"):
        raise ApiError(406, Reason.NOT_ACCEPTABLE, "Only application/jwt is available")
    if context.request.media_type != "application/json":
        raise ApiError(415, Reason.MEDIA_TYPE, "Content-Type must be application/json")
    try:
        return jose.parse_object(context.body)
    except jose.DuplicateMemberError as error:
        detail = ErrorDetail(error.name[:200], "The member occurs twice")
        raise ApiError(400, reason, "The request body has a member twice", [detail]) from None
    except ValueError:
        raise ApiError(400, reason, "The request body must be a JSON object") from None


def _invalid_fields(details: Iterable[ErrorDetail]) -> ApiError:
    return ApiError(400, Reason.FIELDS, "The fields to capture are not valid", tuple(details))


def _check_fields(
    node: Any, location: str, path: str, allowed: frozenset[str], leaves: dict[str, bool]
) -> Iterator[ErrorDetail]:
    """Check everything below a node and yield the errors. Add each field to `leaves`: True if it is required."""
    if not isinstance(node, dict):
        yield ErrorDetail(location, "Must be an object")
    elif path in allowed:
        required = node.get("required", True)
        if set(node) - {"required"} or not isinstance(required, bool):
            yield ErrorDetail(location, "A field may only have the Boolean member required")
        leaves[path] = required is True
    else:
        for name, child in node.items():
            child_path = f"{path}.{name}" if path else name
            child_location = f"{location}.{name}" if location else name
            if child_path in allowed or any(candidate.startswith(child_path + ".") for candidate in allowed):
                yield from _check_fields(child, child_location, child_path, allowed, leaves)
            else:
                yield ErrorDetail(child_location[:200], "Unknown field")


def microform_session(context: RequestContext) -> Response:
    """`POST /microform/v2/sessions`: a capture context for Microform."""
    body = _body(context, Reason.PARAMETERS)
    if body.get("clientVersion") == "v2.0":
        context.remarks.append('clientVersion is "v2.0"; the documentation has "v2"')
    loopback_origins = context.settings.loopback_origins
    return _issue(context, microform_capture(body, context.store.origin, loopback_origins=loopback_origins))


def microform_capture(body: dict[str, Any], origin: str, *, loopback_origins: bool = False) -> Capture:
    """Check the body of a request for a Microform context. Raises one `ApiError` with all errors.

    Args:
        body: the parsed body.
        origin: origin of the host that issues the context and serves Microform.
        loopback_origins: as for `Emulator`.
    """
    details = [ErrorDetail(name[:200], "Unknown member") for name in sorted(set(body) - _MICROFORM_MEMBERS)]

    def expect(condition: bool, location: str, message: str) -> bool:
        if not condition:
            details.append(ErrorDetail(location, message))
        return condition

    def expect_names(value: object, location: str, kind: str, accepted: Collection[str]) -> bool:
        if not _is_string_list(value):
            return expect(False, location, f"Must be a non-empty array of {kind}s")
        unknown = [name for name in value if name not in accepted]
        for name in unknown:
            expect(False, location, f"Unknown {kind}: {_quote(name)}. Known are {', '.join(accepted)}")
        return not unknown

    # "v2.0" is undocumented, but several public programs send it.
    expect(body.get("clientVersion") in ("v2", "v2.0"), "clientVersion", 'Must be "v2"')
    origins = body.get("targetOrigins")
    if not _is_string_list(origins):
        expect(False, "targetOrigins", "Must be a non-empty array of origins")
    else:
        expect(len(origins) <= MAXIMUM_ORIGINS, "targetOrigins", f"At most {MAXIMUM_ORIGINS} origins")
        for target in origins:
            message = f"Invalid origin: {_quote(target)}. Each must be https://host, or http://localhost"
            expect(_is_origin(target, loopback=loopback_origins), "targetOrigins", message)
    types = body.get("allowedPaymentTypes", ["CARD"])
    valid_types = expect_names(types, "allowedPaymentTypes", "payment type", ("CARD", "CHECK"))
    networks = body.get("allowedCardNetworks")
    if networks is not None or not (valid_types and types == ["CHECK"]):
        expect_names(networks, "allowedCardNetworks", "card network", cards.NETWORKS)
    include_prefix = _response_options(body.get("transientTokenResponseOptions", {}), expect)
    if details:
        message = "One or more validation errors occurred"
        if all(detail.location == "allowedPaymentTypes" for detail in details):
            # A user of the real host reported this message.
            message = "Possible allowed payment types: [CARD, CHECK]"
        raise ApiError(400, Reason.FIELDS, message, details)
    data: dict[str, object] = {
        "clientLibraryIntegrity": microform.client_library_integrity(),
        "clientLibrary": microform.client_library(origin),
        "targetOrigins": origins,
        "mfOrigin": origin,
    }
    fields: frozenset[str] = frozenset()
    if "CARD" in types:
        data["allowedCardNetworks"] = networks
        fields |= CARD
    if "CHECK" in types:
        fields |= CHECK
    data["allowedPaymentTypes"] = types
    allowed_networks = tuple(networks or ()) if "CARD" in types else None
    # Pages may show any of the fields, so the context requires none.
    return Capture(MICROFORM_TYPE, data, frozenset(), fields, allowed_networks, include_prefix, tuple(origins or ()))


def _is_string_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _is_origin(origin: str, *, loopback: bool) -> bool:
    match = _ORIGIN.fullmatch(origin) or (loopback and _LOOPBACK_ORIGIN.fullmatch(origin)) or None
    return match is not None and (match[1] is None or 0 < int(match[1]) < 65536)


def _quote(value: str) -> str:
    """The value in quotation marks, for a message: shortened, and without characters outside ASCII."""
    return json.dumps(value if len(value) <= 60 else f"{value[:60]}...")


def _response_options(options: Any, expect: Callable[[bool, str, str], bool]) -> bool | None:
    location = "transientTokenResponseOptions"
    if not expect(isinstance(options, dict), location, "Must be an object"):
        return None
    expect(not set(options) - {"includeCardPrefix"}, location, "May only have includeCardPrefix")
    include = options.get("includeCardPrefix")
    valid = "includeCardPrefix" not in options or isinstance(include, bool)
    expect(valid, f"{location}.includeCardPrefix", "Must be a Boolean")
    return include if isinstance(include, bool) else None


def context_claims(
    capture: Capture, kid: str, key: rsa.RSAPublicKey, *, origin: str, issued_at: int, expires_at: int
) -> dict[str, object]:
    """The claims of a capture context with this one-time key. Their order is that of the published samples."""
    public = jose.public_jwk(key, kid)
    jwk = {"kty": public["kty"], "e": public["e"], "use": "enc", "n": public["n"], "kid": kid}
    return {
        "flx": {"path": "/flex/v2/tokens", "data": context_data(), "origin": origin, "jwk": jwk},
        "ctx": [{"data": capture.data, "type": capture.type}],
        "iss": "Flex API",
        "exp": expires_at,
        "iat": issued_at,
        "jti": context_jti(),
    }


def _issue(context: RequestContext, capture: Capture) -> Response:
    """Sign, store and return a capture context."""
    store = context.store
    kid, key = store.next_one_time_key()
    expires_at = store.now() + LIFETIME
    if (scenario := context.active_scenario("expired-context")) is not None:
        expires_at = store.now() + scenario.count("expires-in")
    claims = context_claims(
        capture,
        kid,
        key.public_key(),
        origin=store.origin,
        issued_at=expires_at - LIFETIME,
        expires_at=expires_at,
    )
    token = content_faults.sign(context, store.long_term.key, {"kid": store.long_term.kid, "alg": "RS256"}, claims)
    # Clients that accept the quotation marks of the scenario `malformed-jwt` send the context without them.
    issued = issued_context(capture, token.strip('"'), context.merchant, key, expires_at)
    store.put(store.contexts, kid, issued)
    return jwt_response(201, token)


def issued_context(
    capture: Capture, token: str, merchant: Merchant, key: rsa.RSAPrivateKey, expires_at: int
) -> IssuedContext:
    """The record of a capture context in the store. It is needed to issue tokens for the context."""
    return IssuedContext(
        sha256=hashlib.sha256(token.encode("ascii")).digest(),
        merchant=merchant,
        key=key,
        type=capture.type,
        required=capture.required,
        optional=capture.optional,
        expires_at=expires_at,
        networks=capture.networks,
        include_prefix=capture.include_prefix,
        target_origins=capture.target_origins,
    )
