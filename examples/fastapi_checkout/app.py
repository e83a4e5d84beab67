"""A checkout with FastAPI and Microform. The card is typed into frames of the host; this server only sees a token.

The host and the credentials come from the environment; see README.md. Start it with ``uvicorn app:app``.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.sessions import SessionMiddleware

from cybersource_flex import AsyncFlexClient, CaptureContext, FlexError, TokenError
from cybersource_flex.errors import CallError

FOLDER = Path(__file__).parent
SHOP_ORIGIN = os.environ.get("SHOP_ORIGIN", "")
NETWORKS = ["VISA", "MASTERCARD", "AMEX", "DISCOVER"]
PRICES = {"socks": "12.50", "lamp": "49.99", "gold bar": "1002.00"}

log = logging.getLogger("fastapi_checkout")
templates = Jinja2Templates(FOLDER / "templates")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client when the server starts, and close its connections when the server stops."""
    async with AsyncFlexClient.from_env() as client:
        app.state.flex = client
        yield


def flex_client(request: Request) -> AsyncFlexClient:
    client: AsyncFlexClient = request.app.state.flex
    return client


Flex = Annotated[AsyncFlexClient, Depends(flex_client)]

app = FastAPI(lifespan=lifespan, openapi_url=None)
app.mount("/static", StaticFiles(directory=FOLDER / "static"))


# Registered before SessionMiddleware, which therefore saves the session also after an unexpected exception. Starlette's
# own handler of `Exception` responds outside it, and the form could be sent again.
@app.middleware("http")
async def show_failure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await call_next(request)
    except Exception:
        log.exception("the request failed")
        return error_page(request, "If you have just paid, ask us before you pay again.", 500)


app.add_middleware(
    SessionMiddleware,
    # The key signs the cookie of the session. In production, set the same key for all processes.
    secret_key=os.environ.get("SECRET_KEY") or secrets.token_hex(32),
    same_site="lax",
    # Browsers send cookies with this flag over https only.
    https_only=SHOP_ORIGIN.startswith("https:"),
)


@app.middleware("http")
async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    # The checkout page has its own policy.
    response.headers.setdefault("Content-Security-Policy", content_security_policy())
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


@app.get("/")
async def shop(request: Request) -> Response:
    return templates.TemplateResponse(request, "shop.html", {"prices": PRICES})


@app.get("/checkout/{item}")
async def checkout(request: Request, item: str, flex: Flex) -> Response:
    if item not in PRICES:
        raise HTTPException(404)
    context = await flex.create_microform_context(
        target_origins=[SHOP_ORIGIN or str(request.base_url).rstrip("/")],
        allowed_card_networks=NETWORKS,
    )
    # The stored context is the proof for the posted token. It is public, so a signed cookie may hold it.
    request.session["context"] = flex.store_capture_context(context)
    request.session["csrf"] = csrf = secrets.token_urlsafe(16)
    return templates.TemplateResponse(
        request,
        "checkout.html",
        {"item": item, "price": PRICES[item], "context": context, "csrf": csrf},
        headers={"Content-Security-Policy": content_security_policy(context)},
    )


@app.post("/pay/{item}")
async def pay(
    request: Request,
    item: str,
    flex: Flex,
    csrf: Annotated[str, Form()] = "",
    token: Annotated[str, Form()] = "",
) -> Response:
    if item not in PRICES:
        raise HTTPException(404)
    # Both are removed from the session, so that sending the form again does not pay again.
    stored, expected = request.session.pop("context", ""), request.session.pop("csrf", "")
    if not expected or not secrets.compare_digest(csrf.encode(), expected.encode()):
        raise HTTPException(400, "The form has expired. Please start again.")
    try:
        verified = await flex.verify_posted_token(token, stored)
    except TokenError as error:
        # The message contains no part of the token.
        log.warning("rejected a posted token: %s", error)
        raise HTTPException(400, "The card could not be verified. Please start again.") from error
    order = secrets.token_hex(8)
    body = payment_request(order, verified.jwt, PRICES[item])
    try:
        payment = (await flex.request("POST", "/pts/v2/payments", json=body)).data
    except CallError as error:
        if error.safe_to_retry:
            raise
        return unknown_result(request, order, str(error))
    if not isinstance(payment, dict) or not isinstance(payment.get("status"), str):
        return unknown_result(request, order, "the response has no status")
    request.session["result"] = {
        "item": item,
        "card": verified.masked_number,
        "status": payment["status"],
        "reason": (payment.get("errorInformation") or {}).get("reason"),
    }
    # A redirect, so that reloading the page does not pay again.
    return RedirectResponse("/result", 303)


@app.get("/result")
async def result(request: Request) -> Response:
    if "result" not in request.session:
        raise HTTPException(404)
    return templates.TemplateResponse(request, "result.html", request.session["result"])


def error_page(request: Request, message: str, status: int) -> Response:
    return templates.TemplateResponse(request, "error.html", {"message": message}, status_code=status)


def unknown_result(request: Request, order: str, reason: str) -> Response:
    """The page for a payment that may have been made."""
    log.error("the result of the payment for order %s is unknown: %s", order, reason)
    message = f"We do not know yet whether the payment was made. Ask us about order {order} before you pay again."
    return error_page(request, message, 502)


# Starlette's exception, of which FastAPI's is a subclass: Starlette raises it for an unknown path.
@app.exception_handler(StarletteHTTPException)
async def show_error(request: Request, error: StarletteHTTPException) -> Response:
    return error_page(request, error.detail, error.status_code)


@app.exception_handler(RequestValidationError)
async def show_invalid_form(request: Request, error: RequestValidationError) -> Response:
    return error_page(request, "The form is not valid. Please start again.", 400)


@app.exception_handler(FlexError)
async def show_outage(request: Request, error: FlexError) -> Response:
    log.error("a call failed: %s", error)
    return error_page(request, "Payments are not available right now. Nothing was charged.", 502)


def payment_request(order: str, token: str, amount: str) -> dict[str, Any]:
    """The body of ``POST /pts/v2/payments``, with the token instead of a card."""
    return {
        "clientReferenceInformation": {"code": order},
        "tokenInformation": {"transientTokenJwt": token},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "EUR"}},
    }


def content_security_policy(context: CaptureContext | None = None) -> str:
    """The policy of a page: nothing from elsewhere, except Microform if the page has a capture context."""
    policy = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["data:"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    if context is not None:
        for directive, sources in context.csp_sources().items():
            policy.setdefault(directive, []).extend(sources)
    return "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in policy.items())
