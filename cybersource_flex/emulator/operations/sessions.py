"""The two session operations: check what is asked for and make the capture context.

Members that the documents do not list are refused in both requests. Whether the real host does so is
unpublished; here it is the more useful response, since what it would silently ignore is nearly always a
misspelling.
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
from .validation import CARD, CHECK, leaf_paths

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
    """`POST /flex/v2/sessions`."""
    body = _body(context, Reason.PARAMETERS)
    tree, at = body, ""
    # The current guide's examples leave the wrapper out; the specification and all code have it.
    if "fields" in body:
        tree, at = body["fields"], "fields"
        if others := sorted(set(body) - {"fields"}):
            raise _wrong_fields(ErrorDetail(name, "Unknown member") for name in others)
    leaves: dict[str, bool] = {}
    wrong = list(_walk(tree, at, "", leaf_paths(context.settings.extra_fields), leaves))
    if wrong:
        raise _wrong_fields(wrong)
    if not leaves:
        raise _wrong_fields([ErrorDetail(at or "fields", "No field is named")])
    required = [path for path, needed in leaves.items() if needed]
    optional = [path for path, needed in leaves.items() if not needed]
    data: dict[str, object] = {"requiredFields": required, "optionalFields": optional}
    return _issue(context, API_TYPE, data, frozenset(required), frozenset(optional))


def _body(context: RequestContext, reason: str) -> dict[str, Any]:
    if not context.request.accepts("application/jwt"):
        raise ApiError(406, Reason.NOT_ACCEPTABLE, "Only application/jwt can be answered")
    if context.request.media_type != "application/json":
        raise ApiError(415, Reason.MEDIA_TYPE, "Content-Type must be application/json")
    try:
        return jose.parse_object(context.body)
    except ValueError:
        raise ApiError(400, reason, "The request body must be a JSON object") from None


def _wrong_fields(details: Iterable[ErrorDetail]) -> ApiError:
    return ApiError(400, Reason.FIELDS, "The fields to capture are not valid", tuple(details))


def _walk(node: Any, at: str, path: str, known: frozenset[str], leaves: dict[str, bool]) -> Iterator[ErrorDetail]:
    """Yield a ErrorDetail for all that is wrong below a node, and note the leaves found."""
    if not isinstance(node, dict):
        yield ErrorDetail(at, "Must be an object")
    elif path in known:
        needed = node.get("required", True)
        if set(node) - {"required"} or not isinstance(needed, bool):
            yield ErrorDetail(at, "A field may only have the Boolean member required")
        leaves[path] = needed is True
    else:
        for name, child in node.items():
            inner, where = (f"{path}.{name}" if path else name), (f"{at}.{name}" if at else name)
            if inner in known or any(candidate.startswith(inner + ".") for candidate in known):
                yield from _walk(child, where, inner, known, leaves)
            else:
                yield ErrorDetail(where[:200], "Unknown field")


def microform_session(context: RequestContext) -> Response:
    """`POST /microform/v2/sessions`."""
    body = _body(context, Reason.INVALID_REQUEST)
    wrong = [ErrorDetail(name[:200], "Unknown member") for name in sorted(set(body) - _MICROFORM_MEMBERS)]

    def expect(condition: bool, location: str, message: str) -> bool:
        if not condition:
            wrong.append(ErrorDetail(location, message))
        return condition

    expect(body.get("clientVersion") == "v2", "clientVersion", 'Must be "v2"')
    origins = body.get("targetOrigins")
    if not _texts(origins):
        expect(False, "targetOrigins", "Must be an array of origins, at least one")
    else:
        expect(len(origins) <= MAXIMUM_ORIGINS, "targetOrigins", f"At most {MAXIMUM_ORIGINS} origins")
        expect(all(map(_is_origin, origins)), "targetOrigins", "Each must be https://host, or http://localhost")
    types = body.get("allowedPaymentTypes", ["CARD"])
    known_types = _texts(types) and set(types) <= {"CARD", "CHECK"}
    expect(known_types, "allowedPaymentTypes", "Must be an array of CARD and CHECK, at least one")
    networks = body.get("allowedCardNetworks")
    if networks is not None or not (known_types and types == ["CHECK"]):
        known_networks = _texts(networks) and set(networks) <= set(cards.NETWORKS)
        expect(known_networks, "allowedCardNetworks", "Must be an array of card networks, at least one")
    include_prefix = _response_options(body.get("transientTokenResponseOptions", {}), expect)
    if wrong:
        raise ApiError(400, Reason.INVALID_REQUEST, "One or more validation errors occurred", wrong)
    data: dict[str, object] = {
        # Empty while no script is served: a page can live with an empty text, not with a missing member.
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
    listed = tuple(networks or ()) if "CARD" in types else None
    # Which of the fields a page shows is its own affair, so none is required by the context itself.
    return _issue(context, MICROFORM_TYPE, data, frozenset(), fields, listed, include_prefix)


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    return match is not None and (match[1] is None or 0 < int(match[1]) < 65536)


def _response_options(options: Any, expect: Callable[[bool, str, str], bool]) -> bool | None:
    where = "transientTokenResponseOptions"
    if not expect(isinstance(options, dict), where, "Must be an object"):
        return None
    expect(not set(options) - {"includeCardPrefix"}, where, "May only have includeCardPrefix")
    include = options.get("includeCardPrefix")
    valid = "includeCardPrefix" not in options or isinstance(include, bool)
    expect(valid, f"{where}.includeCardPrefix", "Must be a Boolean")
    return include if isinstance(include, bool) else None


def _issue(
    context: RequestContext,
    kind: str,
    data: dict[str, object],
    required: frozenset[str],
    optional: frozenset[str],
    networks: tuple[str, ...] | None = None,
    include_prefix: bool | None = None,
) -> Response:
    """Sign a capture context, remember it, and answer with it. Members stand in the order of the samples."""
    store = context.store
    kid, key = store.next_one_time_key()
    public = jose.public_jwk(key.public_key(), kid)
    jwk = {"kty": public["kty"], "e": public["e"], "use": "enc", "n": public["n"], "kid": kid}
    expires_at = store.now() + LIFETIME
    if (scenario := context.active_scenario("expired-context")) is not None:
        expires_at = store.now() + scenario.count("left")
    issued_at = expires_at - LIFETIME
    payload: dict[str, object] = {
        "flx": {"path": "/flex/v2/tokens", "data": context_data(), "origin": store.origin, "jwk": jwk},
        "ctx": [{"data": data, "type": kind}],
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
        type=kind,
        required=required,
        optional=optional,
        expires_at=expires_at,
        networks=networks,
        include_prefix=include_prefix,
    )
    store.put(store.contexts, kid, capture_context)
    return jwt_response(201, token)
