"""Faults of the content: gateway errors, changed bodies and headers, faulty tokens. Also signs valid tokens."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from dataclasses import replace
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from .. import jose
from ..server.error_responses import ApiError, ErrorDetail, Reason, authentication_failed
from ..server.messages import Response, json_response
from ..server.request_context import RequestContext
from .scenarios import Scenario

_MIB = 1 << 20
_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>%s</title></head>\n"
    b"<body><h1>%s</h1><p>This is not the service you are looking for.</p></body></html>\n"
)
_HUGE = 10**20
# Undocumented members.
_UNKNOWN: dict[str, object] = {
    "emulatorExtra": {"nested": [1, None, True, {"deep": "string"}]},
    "emulatorText": "unknown",
}


def gateway_response(context: RequestContext) -> Response | None:
    """The response of a gateway, if the scenario asks for one instead of carrying out the operation. Otherwise None."""
    scenario = context.scenario
    if scenario is None:
        return None
    name = scenario.name
    if name in ("status-429", "status-503"):
        status, reason, message = {
            "status-429": (429, Reason.TOO_MANY, "Too many requests"),
            "status-503": (503, Reason.UNAVAILABLE, "Service unavailable"),
        }[name]
        raise ApiError(
            status, reason, message, headers=_retry_after(scenario.string("retry-after"), context.settings.clock())
        )
    if name == "status-500":
        raise ApiError(500, Reason.INTERNAL, "Internal error")
    if name == "html-502":
        return _page(502, b"502 Bad Gateway")
    if name == "empty-500":
        return Response(500, "", b"", rejection_reason="Internal error", from_flex=False)
    if name == "redirect":
        location = (("location", scenario.string("location")),)
        return Response(scenario.count("status"), "", b"", location, rejection_reason="redirected", from_flex=False)
    if name == "refuse":
        return _unauthorized(scenario)
    if name == "undecodable-body" and scenario.string("status") != "normal":
        if scenario.string("status") == "401":
            return authentication_failed("rejected by scenario")
        raise error_with_status(scenario.count("status"))
    return None


def error_with_status(status: int) -> ApiError:
    """The error for the status that a scenario has as a parameter."""
    reason, message = {
        400: (Reason.INVALID_DATA, "Invalid data"),
        403: (Reason.FORBIDDEN, "Not permitted"),
        404: (Reason.NOT_FOUND, "There is no such resource"),
        413: (Reason.TOO_LARGE, "The body is too large"),
        500: (Reason.INTERNAL, "Internal error"),
        503: (Reason.UNAVAILABLE, "Service unavailable"),
    }[status]
    return ApiError(status, reason, message)


def _page(status: int, title: bytes) -> Response:
    reason = None if status < 400 else title.decode("ascii")
    body = _PAGE % (title, title)
    return Response(status, "text/html; charset=utf-8", body, rejection_reason=reason, from_flex=False)


def _retry_after(form: str, now: float) -> tuple[tuple[str, str], ...]:
    if form == "none":
        return ()
    if form.startswith("date"):
        return (("retry-after", formatdate(now + int(form[4:] or 0), usegmt=True)),)
    return (("retry-after", {"garbage": "as soon as possible", "negative": "-1", "huge": str(_HUGE)}.get(form, form)),)


def _unauthorized(scenario: Scenario) -> Response:
    response, shape = authentication_failed(scenario.string("reason")), scenario.string("shape")
    if shape == "empty":
        return replace(response, body=b"", media_type="")
    if shape == "json":
        nested = json.dumps({"error": "UNAUTHORIZED_USER", "message": "Authentication Failed"})
        return replace(response, body=json_response(401, {"response": {"rmsg": nested}}).body)
    return response


def with_unknown_members(response: Response) -> Response:
    """Add undocumented members and values to a JSON response. Other responses are returned unchanged."""
    if response.media_type.partition(";")[0] not in ("application/json", "application/hal+json"):
        return response
    value: Any = json.loads(response.body)
    if not isinstance(value, dict):
        return response
    value |= _UNKNOWN
    for part in (value, value.get("responseStatus")):
        if isinstance(part, dict) and isinstance(part.get("reason"), str):
            part |= {**_UNKNOWN, "reason": "EMULATOR_UNKNOWN_REASON"}
    if "kty" in value:
        value["use"] = "emulated"
    card = value.get("paymentInformation", {}).get("card")
    if isinstance(card, dict):
        card |= {**_UNKNOWN, "type": "999"}
    return replace(response, body=json_response(response.status, value).body)


def with_replaced_body(response: Response, scenario: Scenario) -> Response:
    """Apply a scenario that changes the body or headers of the finished response."""
    name = scenario.name
    if name == "html-200":
        return _page(200, b"Welcome")
    if name == "empty-200":
        return Response(200, "", b"", rejection_reason=response.rejection_reason, from_flex=False)
    if name == "wrong-content-type":
        return replace(response, media_type=scenario.string("type"))
    if name == "undecodable-body":
        return replace(response, headers=(*response.headers, ("content-encoding", scenario.string("encoding"))))
    if name == "gzip-bomb":
        headers = (*response.headers, ("content-encoding", "gzip"))
        return replace(response, body=gzip_spaces(scenario.count("size")), headers=headers, from_flex=False)
    return response


@lru_cache(maxsize=2)
def gzip_spaces(size: int) -> bytes:
    """Compress this many spaces with gzip. One compressed block is repeated, which is much faster."""
    spaces = b" " * _MIB
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # After a full flush there are no references to earlier data, so the block can be repeated.
    block = compressor.compress(spaces) + compressor.flush(zlib.Z_FULL_FLUSH)
    blocks, rest = divmod(size, _MIB)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    tail = compressor.compress(spaces[:rest]) + compressor.flush()
    check = 0
    for _ in range(blocks):
        check = zlib.crc32(spaces, check)
    check = zlib.crc32(spaces[:rest], check)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return head + block * blocks + tail + struct.pack("<II", check, size & 0xFFFFFFFF)


def sign(context: RequestContext, key: rsa.RSAPrivateKey, header: dict[str, object], payload: dict[str, object]) -> str:
    """Sign a JWS.

    The scenario `malformed-jwt` makes the JWS invalid. `unknown-members` and `unusual-claims` make it differ from
    published ones, but it stays valid.
    """
    if context.active_scenario("unknown-members"):
        return jose.sign_rs256(key, {**header, "emulatorExtra": "unknown"}, _extended_claims(payload))
    if (unusual := context.active_scenario("unusual-claims")) is not None:
        return jose.sign_rs256(key, header, _unusual_claims(payload, unusual.string("claim")))
    scenario = context.active_scenario("malformed-jwt")
    if scenario is None:
        return jose.sign_rs256(key, header, payload)
    kind = scenario.string("kind")
    if kind == "wrong-key":
        return jose.sign_rs256(context.store.unrelated_key, header, payload)
    head, content = (jose.encode(jose.compact_json(part)) for part in (header, payload))
    if kind == "none-alg":
        return f"{jose.encode(jose.compact_json({**header, 'alg': 'none'}))}.{content}."
    if kind == "not-json":
        return jose.sign_input(key, f"{head}.{jose.encode(b'{not JSON')}")
    if kind == "bad-base64":
        return jose.sign_input(key, f"{head}.{content[:9]}*{content[10:]}")
    token = jose.sign_input(key, f"{head}.{content}")
    return {"truncated": token[:-20], "two-parts": token.rpartition(".")[0], "quoted": f'"{token}"'}[kind]


def unusual_jti(context: RequestContext) -> str | None:
    """A `jti` in an unusual form, if the scenario `unusual-claims` asks for one. Otherwise None."""
    scenario = context.active_scenario("unusual-claims")
    return str(uuid.uuid4()) if scenario is not None and scenario.string("claim") in ("all", "jti") else None


def _unusual_claims(payload: dict[str, object], changed: str) -> dict[str, object]:
    """Change one claim, or "all", to a form that no published context or token has."""
    claims: dict[str, Any] = dict(payload)
    names = ("iss", "type", "content", "times", "path") if changed == "all" else (changed,)
    if "times" in names:
        claims |= {"iat": claims["iat"] + 0.25, "exp": claims["exp"] + 0.25}
    if "path" in names and isinstance(claims.get("flx"), dict):
        claims["flx"] = {**claims["flx"], "path": "/flex/v3/tokens"}
    # Only transient tokens have the claims below.
    if isinstance(claims.get("type"), str):
        if "iss" in names:
            claims["iss"] = "Flex/100"
        if "type" in names:
            claims["type"] = f"{claims['type'].partition('-')[0]}-99.0.0"
        if "content" in names:
            claims["content"] = {}
    return claims


def _extended_claims(payload: dict[str, object]) -> dict[str, object]:
    """Add unknown members to the claims. Requested content is unchanged, so a correct client can use the token."""
    claims: dict[str, Any] = {**payload, **_UNKNOWN}
    if isinstance(claims.get("flx"), dict):
        claims["flx"] = {**claims["flx"], **_UNKNOWN, "jwk": {**claims["flx"]["jwk"], "emulatorExtra": "unknown"}}
    if isinstance(claims.get("ctx"), list):
        first = claims["ctx"][0]
        second = {"data": {"emulatorExtra": []}, "type": "emulated-9.9.9"}
        claims["ctx"] = [{**first, **_UNKNOWN, "data": {**first["data"], **_UNKNOWN}}, second]
    if isinstance(claims.get("content"), dict):
        claims["content"] = _extended_content(claims["content"])
        claims["metadata"] = {"emulatorExtra": "unknown"}
    return claims


def _extended_content(content: dict[str, Any]) -> dict[str, Any]:
    content = {**content, "emulatorExtra": {"leaf": {"value": "unknown", "more": None}}}
    card = content.get("paymentInformation", {}).get("card")
    if isinstance(card, dict) and isinstance(card.get("number"), dict):
        number = {**card["number"], **_UNKNOWN}
        number["detectedCardTypes"] = [*number.get("detectedCardTypes", ()), "999"]
        content["paymentInformation"] = {**content["paymentInformation"], "card": {**card, "number": number}}
    return content


def used_token() -> ApiError:
    """The error that payments return for a used token. The error of payment-details is unpublished."""
    detail = ErrorDetail("tokenInformation.jti", "The transient token was used")
    return ApiError(400, Reason.INVALID_DATA, "The transient token was used", [detail])
