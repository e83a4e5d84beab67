"""The ASGI application: routes, order of the checks, common response headers, request log."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from ..._runtime.monotonic import monotonic
from ..auth.auth_context import AuthContext, AuthenticationError
from ..auth.authentication import authenticate
from ..auth.certificates import CertificateIssuer
from ..auth.message_encryption import decrypt_request, encrypt_response
from ..browser import microform
from ..browser.studio import FILES, Studio
from ..faults import content_faults
from ..faults.connection_faults import ResponseWriter, send_response
from ..faults.scenario_selector import ScenarioSelector
from ..faults.scenarios import HEADER, Scenario, ScenarioError
from ..log import LOGGER
from ..operations import payments, sessions, tokens
from ..operations.store import Store, set_request_skew
from .connections import client_certificate_name, connection_of
from .error_responses import ApiError, ErrorFormat, Reason, authentication_failed
from .messages import BODY_LIMIT, RecordedRequest, RequestLog, Response, json_response, read_body, read_head
from .observations import AUTHENTICATION_FAILED, observations_of_error, observations_of_success
from .request_context import RequestContext

Handler = Callable[[RequestContext], Response]


@dataclass(frozen=True)
class AppContext:
    """Objects and settings that all endpoints share.

    Attributes:
        mle_algorithms: accepted values of `alg` in encrypted requests.
        microform_errors: the error body of Microform sessions.
        studio: the studio's handlers. None for an emulator without it.
    """

    store: Store
    auth_context: AuthContext
    certificates: CertificateIssuer
    request_log: RequestLog
    scenarios: ScenarioSelector
    include_rejection_header: bool
    mle_algorithms: tuple[str, ...]
    microform_errors: ErrorFormat
    studio: Studio | None


@dataclass(frozen=True)
class Endpoint:
    """One resource: an ASGI application that handles all methods on its path.

    Attributes:
        authenticated: whether the caller must be authenticated.
        error_format: the error body that the operation documents.
        called_by_browsers: whether pages of any origin may call it (CORS).
        supporting: whether it is no operation of the API: a file that browsers load, the studio's data, or the health
            check. It gets a scenario only by its path, and is recorded only if it has a scenario or is rejected.
    """

    app_context: AppContext = field(repr=False)
    method: str
    handler: Handler
    authenticated: bool = True
    error_format: ErrorFormat = ErrorFormat.RESPONSE_STATUS
    called_by_browsers: bool = False
    supporting: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        context = RequestContext(
            store=self.app_context.store,
            request=read_head(scope),
            correlation_id=str(uuid.uuid4()),
            client_certificate=client_certificate_name(scope),
            received_monotonic=monotonic(),
            path_argument=next(iter(scope.get("path_params", {}).values()), ""),
        )
        if self._is_preflight(context):
            # A preflight request gets no scenario, so that the browser's actual request gets the queued one.
            response = Response(200, "", b"", self._preflight_headers(), from_flex=False)
            self._record(context, response, status=response.status)
            headers = self._headers(context, response)
            await ResponseWriter(connection_of(scope), send, response.status, headers, b"").send_normally()
            return
        self._select_scenario(context)
        if context.active_scenario("reset-before"):
            self._record(context, Response(0, "", b""), status=None)
            await connection_of(scope).reset()
            return
        early = context.active_scenario("early-response")
        body, complete, oversized = (b"", True, False) if early else await read_body(receive)
        context.request = replace(context.request, body=body)
        if not complete:
            response = Response(0, "", b"", rejection_reason="the client closed the connection")
            self._record(context, response, status=None)
            return
        response = self._finish(context, self._handle(context, oversized))
        # Recorded before the response is sent, so that a test that has received it finds the record.
        self._record(context, response, status=response.status)
        writer = ResponseWriter(
            connection_of(scope), send, response.status, self._headers(context, response), response.body
        )
        await send_response(writer, context.scenario)

    def _is_preflight(self, context: RequestContext) -> bool:
        """Whether the request is a CORS preflight: a browser asks whether a page may send the actual request."""
        request = context.request
        names = {"origin", "access-control-request-method"}
        return self.called_by_browsers and request.method == "OPTIONS" and names <= request.headers.keys()

    def _preflight_headers(self) -> tuple[tuple[str, str], ...]:
        return (
            ("access-control-allow-methods", self.method),
            # "*" stands for every name, because the browser sends no credentials such as cookies.
            ("access-control-allow-headers", "*"),
            ("access-control-max-age", "600"),
        )

    def _select_scenario(self, context: RequestContext) -> None:
        """Select the request's scenario and apply the ones that affect the host's clock or key."""
        try:
            context.scenario = self.app_context.scenarios.select(context.request, only_by_path=self.supporting)
        except ScenarioError as error:
            context.scenario_error = str(error)
        skew = context.active_scenario("clock-skew")
        set_request_skew(skew.number("seconds") if skew else 0.0)
        if (rotation := context.active_scenario("rotated-key")) is not None:
            self.app_context.store.rotate_key(bool(rotation.value("same-kid")))

    def _handle(self, context: RequestContext, oversized: bool) -> Response:
        """Check the request in the same order as the real host, and carry out the operation."""
        request = context.request
        gateway = False
        try:
            gateway = True
            if context.scenario_error is not None:
                raise ApiError(400, Reason.SCENARIO, f"{HEADER}: {context.scenario_error}")
            if (early := context.active_scenario("early-response")) is not None:
                raise content_faults.error_with_status(early.count("status"))
            # Health checks of some tools, such as `wget --spider`, send HEAD. The server leaves out the body.
            is_head = self.supporting and (self.method, request.method) == ("GET", "HEAD")
            if request.method != self.method and not is_head:
                raise ApiError(405, Reason.METHOD, "Method not allowed", headers=(("allow", self.method),))
            if oversized:
                raise ApiError(413, Reason.TOO_LARGE, f"The body has more than {BODY_LIMIT} bytes")
            gateway = False
            if self.authenticated:
                self._authenticate(context)
            gateway = True
            if (response := content_faults.gateway_response(context)) is not None:
                return response
            gateway = False
            response = self.handler(context)
            context.succeeded = True
            context.observations = observations_of_success(context)
            return response
        except AuthenticationError as error:
            context.observations = AUTHENTICATION_FAILED
            return authentication_failed(str(error))
        except ApiError as error:
            context.observations = observations_of_error(context, error, self.error_format)
            api_error = error
        except Exception as error:
            # Only the type is logged, because the message of an exception may quote the request.
            LOGGER.error("internal error in %s: %s", self.handler.__name__, type(error).__name__)
            LOGGER.debug("line %s", _traceback_lines(error))
            api_error = ApiError(500, Reason.INTERNAL, "Internal error")
        return api_error.response(
            self.error_format,
            correlation_id=context.correlation_id,
            method=request.method,
            href=self.app_context.store.origin + request.path,
            now=self.app_context.store.now(),
            from_flex=not gateway,
        )

    def _authenticate(self, context: RequestContext) -> None:
        app, request = self.app_context, context.request
        context.caller = authenticate(app.auth_context, request)
        context.decrypted_body = decrypt_request(app.certificates, context.caller, request.body, app.mle_algorithms)

    def _finish(self, context: RequestContext, response: Response) -> Response:
        """Apply the content faults of the scenario, and encrypt the response if the caller asked for that."""
        store = self.app_context.store
        if context.active_scenario("unknown-members"):
            response = content_faults.with_unknown_members(response)
        key = None if context.caller is None else context.caller.response_key
        # Gateway responses are never encrypted.
        if key is not None and response.from_flex:
            if context.active_scenario("mle-wrong-key"):
                key = replace(key, public_key=store.unrelated_key.public_key())
            response = encrypt_response(response, key, store.now())
        return response if context.scenario is None else content_faults.with_replaced_body(response, context.scenario)

    def _headers(self, context: RequestContext, response: Response) -> list[tuple[bytes, bytes]]:
        headers = [
            *_date_header(context.settings.clock(), context.active_scenario("wrong-date")),
            ("content-length", str(len(response.body))),
            ("v-c-correlation-id", context.correlation_id),
            *response.headers,
        ]
        if response.media_type:
            headers.append(("content-type", response.media_type))
        wrong_digest = context.active_scenario("wrong-digest")
        if response.from_flex or wrong_digest:
            digest = hashlib.sha256(b"another body" if wrong_digest else response.body).digest()
            headers.append(("digest", f"SHA-256={base64.b64encode(digest).decode('ascii')}"))
        if self.called_by_browsers and "origin" in context.request.headers:
            headers.append(("access-control-allow-origin", "*"))
            headers.append(("access-control-expose-headers", "*"))
        reason = response.rejection_reason
        if self.app_context.include_rejection_header and response.status == 401 and reason is not None:
            headers.append(("v-c-emulator-rejection", reason))
        return [(name.encode("ascii"), value.encode("ascii", "backslashreplace")) for name, value in headers]

    def _record(self, context: RequestContext, response: Response, *, status: int | None) -> None:
        request, caller, correlation_id = context.request, context.caller, context.correlation_id
        if self.supporting and response.rejection_reason is None and context.scenario is None:
            return
        record = RecordedRequest(
            method=request.method,
            target=request.target,
            raw_headers=request.raw_headers,
            headers=request.headers,
            body=request.body,
            status=status,
            correlation_id=correlation_id,
            rejection_reason=response.rejection_reason,
            received_at=context.settings.clock(),
            scheme=None if caller is None else caller.scheme,
            merchant_id=None if caller is None else caller.merchant.merchant_id,
            client_certificate=context.client_certificate,
            decrypted_body=context.decrypted_body,
            scenario=None if context.scenario is None else str(context.scenario),
            received_monotonic=context.received_monotonic,
            succeeded=context.succeeded,
            remarks=tuple(context.remarks),
            observations=context.observations,
        )
        self.app_context.request_log.add(record)
        # The raw path is percent-encoded, so it cannot contain a line break.
        LOGGER.info("%s %s %s %s", request.method, request.path, status, correlation_id)
        if record.scenario is not None:
            LOGGER.debug("%s has the scenario %s", correlation_id, record.scenario)
        if response.rejection_reason is not None:
            LOGGER.debug("%s rejected: %s", correlation_id, response.rejection_reason)


def _date_header(now: float, wrong_date: Scenario | None) -> list[tuple[str, str]]:
    if wrong_date is None:
        return [("date", formatdate(now, usegmt=True))]
    kind = wrong_date.string("kind")
    if kind == "missing":
        return []
    value = "yesterday" if kind == "garbage" else formatdate(now + wrong_date.number("seconds"), usegmt=True)
    return [("date", value)]


def _traceback_lines(error: BaseException) -> str:
    """The functions and lines of a traceback, without the exception's message."""
    lines: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(lines)


def _health(context: RequestContext) -> Response:
    """`GET /healthz`: says that the emulator serves requests. For scripts and containers that wait for it."""
    response = json_response(200, {"status": "ok"}, from_flex=False)
    return replace(response, headers=(("cache-control", "no-store"),))


def _not_found(context: RequestContext) -> Response:
    raise ApiError(404, Reason.NOT_FOUND, "There is no such resource")


@dataclass(frozen=True)
class _NotFoundEndpoint:
    """Returns 404 for all paths without an operation, and any method."""

    app_context: AppContext

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = str(scope.get("method", ""))
        await Endpoint(self.app_context, method, _not_found, authenticated=False)(scope, receive, send)


def make_app(app_context: AppContext) -> Router:
    """The routes of the emulator."""

    def route(
        method: str,
        path: str,
        handler: Handler,
        *,
        authenticated: bool = True,
        error_format: ErrorFormat = ErrorFormat.RESPONSE_STATUS,
    ) -> Route:
        # Browsers have no credentials of a merchant, so they can call only the operations without authentication.
        endpoint = Endpoint(app_context, method, handler, authenticated, error_format, not authenticated)
        # The endpoint is an object, not a function, because Starlette passes requests with any method to an object.
        return Route(path, endpoint, name=handler.__name__)

    def supporting_route(
        path: str, handler: Handler, method: str = "GET", *, called_by_browsers: bool = False
    ) -> Route:
        endpoint = Endpoint(
            app_context, method, handler, authenticated=False, called_by_browsers=called_by_browsers, supporting=True
        )
        return Route(path, endpoint)

    routes = [
        route("POST", "/flex/v2/sessions", sessions.flex_session, error_format=ErrorFormat.SESSIONS),
        route("POST", "/microform/v2/sessions", sessions.microform_session, error_format=app_context.microform_errors),
        route("GET", "/flex/v2/public-keys/{kid}", tokens.public_key, authenticated=False),
        route("POST", "/flex/v2/tokens", tokens.create_token, authenticated=False),
        route("GET", "/flex/v2/payment-details/{jti}", tokens.payment_details),
        route("GET", "/flex/v2/payment-credentials/{reference}", tokens.payment_credentials),
        route("POST", payments.PATH, payments.create_payment, error_format=ErrorFormat.PAYMENTS),
    ]
    bundle = microform.BUNDLE_PATH
    routes += [
        supporting_route("/healthz", _health),
        # An element with `integrity` loads its script only with CORS headers.
        supporting_route(f"{bundle}/{microform.SCRIPT_NAME}", microform.script, called_by_browsers=True),
        supporting_route(f"{bundle}/{microform.FRAME_NAME}", microform.frame_page),
        *(supporting_route(f"{bundle}/{name}", microform.frame_file(name)) for name in microform.FRAME_FILES),
    ]
    if (studio := app_context.studio) is not None:
        routes += [
            supporting_route("/", studio.page),
            *(supporting_route(f"/studio/{name}", studio.file) for name in FILES),
            supporting_route("/studio/state", studio.state),
            supporting_route("/studio/requests", studio.requests),
            supporting_route("/studio/scenario", studio.set_scenario, "POST"),
        ]
    # No redirect for a trailing slash: that path is another resource.
    return Router(routes, redirect_slashes=False, default=_NotFoundEndpoint(app_context))
