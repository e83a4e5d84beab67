"""HTTP in and out: routes, the order of the checks, the headers that every answer has, record and log."""

from __future__ import annotations

import base64
import hashlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from . import capture, mle, retrieval, tokens
from .authentication import authenticate
from .authority import Authority, Caller, Refused
from .business_center import BusinessCenter
from .call import Call
from .exchange import Answer, Received, RecordedRequest, Records
from .problems import Problem, Reason, Shape, authentication_failed
from .state import State
from .tls import client_name

LOGGER = logging.getLogger("cybersource_flex.emulator")

# Bytes of a request body. The real limit is unpublished; no documented request comes near.
BODY_LIMIT = 1 << 20
# A body over the limit is still read up to here, so that the client sees the 413 and not a broken connection.
_READ_LIMIT = 16 * BODY_LIMIT

Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Service:
    """What all operations share.

    Attributes:
        mle_algorithms: `alg` of encrypted requests that is taken.
    """

    state: State
    authority: Authority
    center: BusinessCenter
    records: Records
    explain: bool
    mle_algorithms: tuple[str, ...]


@dataclass
class _Visit:
    """What is found out about one request while it is answered."""

    request: Received
    correlation_id: str
    client_certificate: str | None
    caller: Caller | None = None
    opened: bytes | None = None


@dataclass(frozen=True)
class Operation:
    """One resource: an ASGI application that answers all verbs on its path.

    Attributes:
        signed: whether the caller must be authenticated.
        shape: which error body the operation documents.
    """

    service: Service = field(repr=False)
    method: str
    handler: Handler
    signed: bool = True
    shape: Shape = Shape.RESPONSE_STATUS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request, complete, oversized = await _read(scope, receive)
        visit = _Visit(request, str(uuid.uuid4()), client_name(scope))
        if not complete:
            self._record(visit, Answer(0, "", b"", refusal="the client went away"), status=None)
            return
        argument = next(iter(scope.get("path_params", {}).values()), "")
        answer = self._answer(visit, oversized, argument)
        if visit.caller is not None and visit.caller.response_key is not None:
            answer = mle.sealed(answer, visit.caller.response_key, self.service.state.now())
        # Recorded before it is sent: whoever has the answer finds the record.
        self._record(visit, answer, status=answer.status)
        await _send(send, answer, self._headers(answer, visit.correlation_id))

    def _answer(self, visit: _Visit, oversized: bool, argument: str) -> Answer:
        service, request = self.service, visit.request
        href = service.state.origin + request.target.partition("?")[0]
        gateway = False
        try:
            if request.method != self.method:
                gateway = True
                raise Problem(405, Reason.METHOD, "Method not allowed", headers=(("allow", self.method),))
            if oversized:
                gateway = True
                raise Problem(413, Reason.TOO_LARGE, f"The body has more than {BODY_LIMIT} bytes")
            if self.signed:
                visit.caller = authenticate(service.authority, request)
                visit.opened = mle.opened(service.center, visit.caller, request.body, service.mle_algorithms)
            if visit.opened is not None:
                request = replace(request, body=visit.opened)
            return self.handler(Call(service.state, request, argument, visit.caller))
        except Refused as refused:
            return authentication_failed(str(refused))
        except Problem as problem:
            met = problem
        except Exception as error:
            # Only the type: the text of an error may quote what was sent.
            LOGGER.error("internal error in %s: %s", self.handler.__name__, type(error).__name__)
            LOGGER.debug("line %s", _lines(error))
            met = Problem(500, Reason.INTERNAL, "Internal error")
        names = {"correlation_id": visit.correlation_id, "method": request.method, "href": href}
        return met.answer(self.shape, **names, flex=not gateway)

    def _headers(self, answer: Answer, correlation_id: str) -> list[tuple[str, str]]:
        headers = [
            ("date", formatdate(self.service.state.settings.clock(), usegmt=True)),
            ("content-type", answer.media_type),
            ("content-length", str(len(answer.body))),
            ("v-c-correlation-id", correlation_id),
            *answer.headers,
        ]
        if answer.flex:
            digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode("ascii")
            headers.append(("digest", f"SHA-256={digest}"))
        if self.service.explain and answer.status == 401 and answer.refusal is not None:
            headers.append(("v-c-emulator-refusal", answer.refusal))
        return headers

    def _record(self, visit: _Visit, answer: Answer, *, status: int | None) -> None:
        request, caller, correlation_id = visit.request, visit.caller, visit.correlation_id
        item = RecordedRequest(
            method=request.method,
            target=request.target,
            raw_headers=request.raw_headers,
            headers=request.headers,
            body=request.body,
            status=status,
            correlation_id=correlation_id,
            refusal=answer.refusal,
            received_at=self.service.state.settings.clock(),
            scheme=None if caller is None else caller.scheme,
            merchant_id=None if caller is None else caller.merchant.merchant_id,
            client_certificate=visit.client_certificate,
            opened=visit.opened,
        )
        self.service.records.add(item)
        # The raw path is percent-encoded, so that it cannot break the line.
        path = request.target.partition("?")[0]
        LOGGER.info("%s %s %s %s", request.method, path, status, correlation_id)
        if answer.refusal is not None:
            LOGGER.debug("%s refused: %s", correlation_id, answer.refusal)


def _lines(error: BaseException) -> str:
    """Where an error was raised, without its text."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places)


async def _read(scope: Scope, receive: Receive) -> tuple[Received, bool, bool]:
    """The request, whether it is complete, and whether its body was over the limit (and then dropped)."""
    raw_path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    target = (raw_path + b"?" + query if query else raw_path).decode("latin-1")
    raw_headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    chunks: list[bytes] = []
    size, more, complete = 0, True, True
    while more and size <= _READ_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            complete = False
            break
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        else:
            chunks.clear()
        more = message.get("more_body", False)
    request = Received.of(scope["method"], target, raw_headers, b"".join(chunks))
    return request, complete, size > BODY_LIMIT


async def _send(send: Send, answer: Answer, headers: list[tuple[str, str]]) -> None:
    raw = [(name.encode("ascii"), value.encode("ascii", "backslashreplace")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


def _nothing_here(call: Call) -> Answer:
    raise Problem(404, Reason.NOT_FOUND, "There is no such resource")


@dataclass(frozen=True)
class _Elsewhere:
    """All other paths, whatever the verb."""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = str(scope.get("method", ""))
        await Operation(self.service, method, _nothing_here, signed=False)(scope, receive, send)


def make_app(service: Service) -> Router:
    """The routes. Later parts (the Microform pages) add theirs here."""

    def route(method: str, path: str, handler: Handler, *, signed: bool = True, shape: Shape | None = None) -> Route:
        operation = Operation(service, method, handler, signed, shape or Shape.RESPONSE_STATUS)
        # An instance, not a function: Starlette then leaves the verbs to it.
        return Route(path, operation, name=handler.__name__)

    routes = [
        route("POST", "/flex/v2/sessions", capture.flex_session, shape=Shape.SESSIONS),
        route("POST", "/microform/v2/sessions", capture.microform_session),
        route("GET", "/flex/v2/public-keys/{kid}", retrieval.public_key, signed=False),
        route("POST", "/flex/v2/tokens", tokens.create_token, signed=False),
        route("GET", "/flex/v2/payment-details/{jti}", retrieval.payment_details),
        route("GET", "/flex/v2/payment-credentials/{reference}", retrieval.payment_credentials),
    ]
    # A path with a trailing slash is another resource: no redirect.
    return Router(routes, redirect_slashes=False, default=_Elsewhere(service))
