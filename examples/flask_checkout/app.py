"""A checkout with Flask and Microform. The card is typed into frames of the host; this server only sees a token.

The host and the credentials come from the environment; see README.md. Start it with ``flask run``.
"""

from __future__ import annotations

import logging
import os
import secrets
from typing import Any

from flask import Flask, abort, g, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from cybersource_flex import CaptureContext, FlexClient, FlexError, TokenError
from cybersource_flex.errors import CallError

NETWORKS = ["VISA", "MASTERCARD", "AMEX", "DISCOVER"]
PRICES = {"socks": "12.50", "lamp": "49.99", "gold bar": "1002.00"}

log = logging.getLogger("flask_checkout")


def create_app() -> Flask:
    app = Flask(__name__)
    # The key signs the cookie of the session. In production, set the same key for all processes.
    app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_bytes(32)
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # Browsers send cookies with this flag over https only.
        SESSION_COOKIE_SECURE=os.environ.get("SHOP_ORIGIN", "").startswith("https:"),
    )
    flex = FlexClient.from_env()

    @app.get("/")
    def shop() -> str:
        return render_template("shop.html", prices=PRICES)

    @app.get("/checkout/<item>")
    def checkout(item: str) -> str:
        if item not in PRICES:
            abort(404)
        context = flex.create_microform_context(
            target_origins=[os.environ.get("SHOP_ORIGIN") or request.host_url.rstrip("/")],
            allowed_card_networks=NETWORKS,
        )
        # The stored context is the proof for the posted token. It is public, so a signed cookie may hold it.
        session["context"] = flex.store_capture_context(context)
        session["csrf"] = secrets.token_urlsafe(16)
        g.context = context
        return render_template("checkout.html", item=item, price=PRICES[item], context=context, csrf=session["csrf"])

    @app.post("/pay/<item>")
    def pay(item: str) -> Response | tuple[str, int]:
        if item not in PRICES:
            abort(404)
        # Both are removed from the session, so that sending the form again does not pay again.
        stored, csrf = session.pop("context", ""), session.pop("csrf", "")
        if not csrf or not secrets.compare_digest(request.form.get("csrf", "").encode(), csrf.encode()):
            abort(400, "The form has expired. Please start again.")
        try:
            token = flex.verify_posted_token(request.form.get("token", ""), stored)
        except TokenError as error:
            # The message contains no part of the token.
            log.warning("rejected a posted token: %s", error)
            abort(400, "The card could not be verified. Please start again.")
        order = secrets.token_hex(8)
        try:
            payment = flex.request(
                "POST", "/pts/v2/payments", json=payment_request(order, token.jwt, PRICES[item])
            ).data
        except CallError as error:
            if error.safe_to_retry:
                raise
            return unknown_result(order, str(error))
        if not isinstance(payment, dict) or not isinstance(payment.get("status"), str):
            return unknown_result(order, "the response has no status")
        session["result"] = {
            "item": item,
            "card": token.masked_number,
            "status": payment["status"],
            "reason": (payment.get("errorInformation") or {}).get("reason"),
        }
        # A redirect, so that reloading the page does not pay again.
        return redirect(url_for("result"), 303)

    @app.get("/result")
    def result() -> str:
        if "result" not in session:
            abort(404)
        return render_template("result.html", **session["result"])

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = content_security_policy(g.get("context"))
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(HTTPException)
    def show_error(error: HTTPException) -> tuple[str, int]:
        return render_template("error.html", message=error.description), error.code or 500

    @app.errorhandler(FlexError)
    def show_outage(error: FlexError) -> tuple[str, int]:
        log.error("a call failed: %s", error)
        return render_template("error.html", message="Payments are not available right now. Nothing was charged."), 502

    return app


def unknown_result(order: str, reason: str) -> tuple[str, int]:
    """The page for a payment that may have been made."""
    log.error("the result of the payment for order %s is unknown: %s", order, reason)
    message = f"We do not know yet whether the payment was made. Ask us about order {order} before you pay again."
    return render_template("error.html", message=message), 502


def payment_request(order: str, token: str, amount: str) -> dict[str, Any]:
    """The body of ``POST /pts/v2/payments``, with the token instead of a card."""
    return {
        "clientReferenceInformation": {"code": order},
        "tokenInformation": {"transientTokenJwt": token},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "EUR"}},
    }


def content_security_policy(context: CaptureContext | None) -> str:
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
