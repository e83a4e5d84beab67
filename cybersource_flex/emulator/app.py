"""HTTP in and out: routes, the order of the checks, the headers that every answer has, record and log."""

from __future__ import annotations

import base64
import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from . import capture, clock, mle, retrieval, tampering, tokens
from .authentication import authenticate
from .authority import Authority, Caller, Refused
from .business_center import BusinessCenter
from .call import Call
from .delivery import Delivery, deliver
from .director import Director
from .exchange import Answer, Received, RecordedRequest, Records
from .inbound import BODY_LIMIT, read_body, read_head
from .problems import Problem, Reason, Shape, authentication_failed
from .protocol import client_name, wire_of
from .scenarios import HEADER, Scenario, ScenarioError
from .state import State

LOGGER = logging.getLogger("cybersource_flex.emulator")

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
    director: Director
    explain: bool
    mle_algorithms: tuple[str, ...]


@dataclass
class _Visit:
    """What is found out about one request while it is answered."""

    request: Received
    correlation_id: str
    client_certificate: str | None
    arrived: float
    caller: Caller | None = None
    opened: bytes | None = None
    scenario: Scenario | None = None
    wrong_scenario: str | None = None
    processed: bool = False

    def plays(self, name: str) -> bool:
        """Whether that is the scenario."""
        return self.scenario is not None and self.scenario.name == name


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
        visit = _Visit(read_head(scope), str(uuid.uuid4()), client_name(scope), time.monotonic())
        self._choose(visit)
        if visit.plays("reset-before"):
            self._record(visit, Answer(0, "", b""), status=None)
            await wire_of(scope).reset()
            return
        body, complete, oversized = await read_body(receive)
        visit.request = replace(visit.request, body=body)
        if not complete:
            self._record(visit, Answer(0, "", b"", refusal="the client went away"), status=None)
            return
        argument = next(iter(scope.get("path_params", {}).values()), "")
        answer = self._finished(visit, self._answer(visit, oversized, argument))
        # Recorded before it is sent: whoever has the answer finds the record.
        self._record(visit, answer, status=answer.status)
        headers = self._headers(visit, answer)
        await deliver(Delivery(wire_of(scope), send, answer.status, headers, answer.body), visit.scenario)

    def _choose(self, visit: _Visit) -> None:
        """Find the request's scenario, and do what must be done before the request is looked at."""
        try:
            visit.scenario = self.service.director.choose(visit.request)
        except ScenarioError as error:
            visit.wrong_scenario = str(error)
        scenario = visit.scenario
        clock.skew(scenario.number("seconds") if scenario and scenario.name == "clock-skew" else 0.0)
        if scenario is not None and scenario.name == "rotated-key":
            self.service.state.rotate_key(bool(scenario.value("same-kid")))

    def _finished(self, visit: _Visit, answer: Answer) -> Answer:
        """The answer with what the scenario does to it, and encrypted where that is wanted."""
        state, scenario = self.service.state, visit.scenario
        if visit.plays("unknown-members"):
            answer = tampering.extended(answer)
        key = None if visit.caller is None else visit.caller.response_key
        # What stands in front of the service encrypts nothing.
        if key is not None and answer.flex:
            if visit.plays("mle-wrong-key"):
                key = tampering.wrong_key(key, state.stranger_key)
            answer = mle.sealed(answer, key, state.now())
        return answer if scenario is None else tampering.replaced(answer, scenario)

    def _answer(self, visit: _Visit, oversized: bool, argument: str) -> Answer:
        service, request = self.service, visit.request
        href = service.state.origin + request.target.partition("?")[0]
        gateway = False
        try:
            if visit.wrong_scenario is not None:
                gateway = True
                raise Problem(400, Reason.SCENARIO, f"{HEADER}: {visit.wrong_scenario}")
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
            call = Call(service.state, request, argument, visit.caller, visit.scenario)
            gateway = True
            if (found := tampering.instead(call)) is not None:
                return found
            gateway = False
            answer = self.handler(call)
            visit.processed = True
            return answer
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

    def _headers(self, visit: _Visit, answer: Answer) -> list[tuple[bytes, bytes]]:
        headers = [
            *_date(self.service.state.settings.clock(), visit.scenario),
            ("content-length", str(len(answer.body))),
            ("v-c-correlation-id", visit.correlation_id),
            *answer.headers,
        ]
        if answer.media_type:
            headers.append(("content-type", answer.media_type))
        wrong = visit.plays("wrong-digest")
        if answer.flex or wrong:
            digest = hashlib.sha256(b"another body" if wrong else answer.body).digest()
            headers.append(("digest", f"SHA-256={base64.b64encode(digest).decode('ascii')}"))
        if self.service.explain and answer.status == 401 and answer.refusal is not None:
            headers.append(("v-c-emulator-refusal", answer.refusal))
        return [(name.encode("ascii"), value.encode("ascii", "backslashreplace")) for name, value in headers]

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
            scenario=None if visit.scenario is None else str(visit.scenario),
            arrived=visit.arrived,
            processed=visit.processed,
        )
        self.service.records.add(item)
        # The raw path is percent-encoded, so that it cannot break the line.
        path = request.target.partition("?")[0]
        LOGGER.info("%s %s %s %s", request.method, path, status, correlation_id)
        if answer.refusal is not None:
            LOGGER.debug("%s refused: %s", correlation_id, answer.refusal)


def _date(now: float, scenario: Scenario | None) -> list[tuple[str, str]]:
    if scenario is None or scenario.name != "wrong-date":
        return [("date", formatdate(now, usegmt=True))]
    kind = scenario.text("kind")
    if kind == "missing":
        return []
    return [("date", "yesterday" if kind == "garbage" else formatdate(now + scenario.number("seconds"), usegmt=True))]


def _lines(error: BaseException) -> str:
    """Where an error was raised, without its text."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places)


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
