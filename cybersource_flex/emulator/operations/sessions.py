"""The session operations: check the requested fields and issue a capture context.

Both operations reject undocumented members. Whether the real host does so is unpublished. Rejection is more useful for
tests, because an undocumented member is nearly always a misspelling.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

from .. import jose
from ..faults import content_faults
from ..server.error_responses import ApiError, ErrorDetail, Reason
from ..server.messages import Response, jwt_response
from ..server.request_context import RequestContext
from . import cards
from .store import LIFETIME, IssuedContext, context_data, context_jti
from .validation import CARD, CHECK, allowed_fields

API_TYPE = "api-0.1.0"
MICROFORM_TYPE = "mf-2.1.0"
CLIENT_LIBRARY_PATH = "/microform/bundle/v2.5.1/flex-microform.min.js"
MAXIMUM_ORIGINS = 9

_ORIGIN = re.compile(r"(?:https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|http://localhost)(?::([0-9]{1,5}))?")
_MICROFORM_MEMBERS = {
    "clientVersion",
    "targetOrigins",
    "allowedCardNetworks",
    "allowedPaymentTypes",
    "transientTokenResponseOptions",
}


def flex_session(context: RequestContext) -> Response:
    """`POST /flex/v2/sessions`: a capture context for the Flex API."""
    body = _body(context, Reason.PARAMETERS)
    tree, location = body, ""
    # The current guide's examples omit the member `fields`; the specification and all published code have it.
    if "fields" in body:
        tree, location = body["fields"], "fields"
        if others := sorted(set(body) - {"fields"}):
            raise _invalid_fields(ErrorDetail(name, "Unknown member") for name in others)
    leaves: dict[str, bool] = {}
    details = list(_check_fields(tree, location, "", allowed_fields(context.settings.extra_fields), leaves))
    if details:
        raise _invalid_fields(details)
    if not leaves:
        raise _invalid_fields([ErrorDetail(location or "fields", "No field is requested")])
    required = [path for path, is_required in leaves.items() if is_required]
    optional = [path for path, is_required in leaves.items() if not is_required]
    data: dict[str, object] = {"requiredFields": required, "optionalFields": optional}
    return _issue(context, API_TYPE, data, frozenset(required), frozenset(optional))


def _body(context: RequestContext, reason: str) -> dict[str, Any]:
    if not context.request.accepts("application/jwt"):
        raise ApiError(406, Reason.NOT_ACCEPTABLE, "Only application/jwt is available")
    if context.request.media_type != "application/json":
        raise ApiError(415, Reason.MEDIA_TYPE, "Content-Type must be application/json")
    try:
        return jose.parse_object(context.body)
    except ValueError:
        raise ApiError(400, reason, "The request body must be a JSON object") from None


def _invalid_fields(details: Iterable[ErrorDetail]) -> ApiError:
    return ApiError(400, Reason.FIELDS, "The fields to capture are not valid", tuple(details))


def _check_fields(
    node: Any, location: str, path: str, allowed: frozenset[str], leaves: dict[str, bool]
) -> Iterator[ErrorDetail]:
    """Yield the errors below a node, and add its fields to `leaves` with whether they are required."""
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
    body = _body(context, Reason.INVALID_REQUEST)
    details = [ErrorDetail(name[:200], "Unknown member") for name in sorted(set(body) - _MICROFORM_MEMBERS)]

    def expect(condition: bool, location: str, message: str) -> bool:
        if not condition:
            details.append(ErrorDetail(location, message))
        return condition

    expect(body.get("clientVersion") == "v2", "clientVersion", 'Must be "v2"')
    origins = body.get("targetOrigins")
    if not _is_string_list(origins):
        expect(False, "targetOrigins", "Must be an array of origins, at least one")
    else:
        expect(len(origins) <= MAXIMUM_ORIGINS, "targetOrigins", f"At most {MAXIMUM_ORIGINS} origins")
        expect(all(map(_is_origin, origins)), "targetOrigins", "Each must be https://host, or http://localhost")
    types = body.get("allowedPaymentTypes", ["CARD"])
    valid_types = _is_string_list(types) and set(types) <= {"CARD", "CHECK"}
    expect(valid_types, "allowedPaymentTypes", "Must be an array of CARD and CHECK, at least one")
    networks = body.get("allowedCardNetworks")
    if networks is not None or not (valid_types and types == ["CHECK"]):
        valid_networks = _is_string_list(networks) and set(networks) <= set(cards.NETWORKS)
        expect(valid_networks, "allowedCardNetworks", "Must be an array of card networks, at least one")
    include_prefix = _response_options(body.get("transientTokenResponseOptions", {}), expect)
    if details:
        raise ApiError(400, Reason.INVALID_REQUEST, "One or more validation errors occurred", details)
    data: dict[str, object] = {
        # Empty because the emulator serves no script. Pages accept an empty string, but not a missing member.
        "clientLibraryIntegrity": "",
        "clientLibrary": context.store.origin + CLIENT_LIBRARY_PATH,
        "targetOrigins": origins,
        "mfOrigin": context.store.origin,
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
    return _issue(context, MICROFORM_TYPE, data, frozenset(), fields, allowed_networks, include_prefix)


def _is_string_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _is_origin(origin: str) -> bool:
    match = _ORIGIN.fullmatch(origin)
    return match is not None and (match[1] is None or 0 < int(match[1]) < 65536)


def _response_options(options: Any, expect: Callable[[bool, str, str], bool]) -> bool | None:
    location = "transientTokenResponseOptions"
    if not expect(isinstance(options, dict), location, "Must be an object"):
        return None
    expect(not set(options) - {"includeCardPrefix"}, location, "May only have includeCardPrefix")
    include = options.get("includeCardPrefix")
    valid = "includeCardPrefix" not in options or isinstance(include, bool)
    expect(valid, f"{location}.includeCardPrefix", "Must be a Boolean")
    return include if isinstance(include, bool) else None


def _issue(
    context: RequestContext,
    context_type: str,
    data: dict[str, object],
    required: frozenset[str],
    optional: frozenset[str],
    networks: tuple[str, ...] | None = None,
    include_prefix: bool | None = None,
) -> Response:
    """Sign, store and return a capture context. The order of its members is that of the published samples."""
    store = context.store
    kid, key = store.next_one_time_key()
    public = jose.public_jwk(key.public_key(), kid)
    jwk = {"kty": public["kty"], "e": public["e"], "use": "enc", "n": public["n"], "kid": kid}
    expires_at = store.now() + LIFETIME
    if (scenario := context.active_scenario("expired-context")) is not None:
        expires_at = store.now() + scenario.count("expires-in")
    issued_at = expires_at - LIFETIME
    payload: dict[str, object] = {
        "flx": {"path": "/flex/v2/tokens", "data": context_data(), "origin": store.origin, "jwk": jwk},
        "ctx": [{"data": data, "type": context_type}],
        "iss": "Flex API",
        "exp": expires_at,
        "iat": issued_at,
        "jti": context_jti(),
    }
    token = content_faults.sign(context, store.long_term.key, {"kid": store.long_term.kid, "alg": "RS256"}, payload)
    capture_context = IssuedContext(
        sha256=hashlib.sha256(token.encode("ascii")).digest(),
        merchant=context.merchant,
        key=key,
        type=context_type,
        required=required,
        optional=optional,
        expires_at=expires_at,
        networks=networks,
        include_prefix=include_prefix,
    )
    store.put(store.contexts, kid, capture_context)
    return jwt_response(201, token)
