"""The checkout: create the capture context, verify the posted token, pay, show the result."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from cybersource_flex import FlexClient, TokenError
from cybersource_flex.errors import CallError

from .middleware import content_security_policy

NETWORKS = ["VISA", "MASTERCARD", "AMEX", "DISCOVER"]
PRICES = {"socks": "12.50", "lamp": "49.99", "gold bar": "1002.00"}

log = logging.getLogger("django_checkout")

# One client per process, for all threads. The server does not start if the environment variables are not valid.
flex = FlexClient.from_env()


@require_GET
def shop(request: HttpRequest) -> HttpResponse:
    return render(request, "shop.html", {"prices": PRICES})


@require_GET
def checkout(request: HttpRequest, item: str) -> HttpResponse:
    if item not in PRICES:
        raise Http404
    context = flex.create_microform_context(
        target_origins=[settings.SHOP_ORIGIN or f"{request.scheme}://{request.get_host()}"],
        allowed_card_networks=NETWORKS,
    )
    # The stored context is the proof for the posted token.
    request.session["context"] = flex.store_capture_context(context)
    response = render(request, "checkout.html", {"item": item, "price": PRICES[item], "context": context})
    response.headers["Content-Security-Policy"] = content_security_policy(context)
    return response


# The decorator keeps the token out of Django's error reports.
@sensitive_post_parameters("token")
@require_POST
def pay(request: HttpRequest, item: str) -> HttpResponse:
    if item not in PRICES:
        raise Http404
    # Removed from the session, so that sending the form again does not pay again. Saved here, because Django does not
    # save the session after a response with status 5xx.
    stored = request.session.pop("context", "")
    request.session.save()
    try:
        token = flex.verify_posted_token(request.POST.get("token", ""), stored)
    except TokenError as error:
        # The message contains no part of the token.
        log.warning("rejected a posted token: %s", error)
        message = "The card could not be verified. Please start again."
        return render(request, "error.html", {"message": message}, status=400)
    order = secrets.token_hex(8)
    try:
        payment = flex.request("POST", "/pts/v2/payments", json=payment_request(order, token.jwt, PRICES[item])).data
    except CallError as error:
        if error.safe_to_retry:
            raise
        return unknown_result(request, order, str(error))
    if not isinstance(payment, dict) or not isinstance(payment.get("status"), str):
        return unknown_result(request, order, "the response has no status")
    request.session["result"] = {
        "item": item,
        "card": token.masked_number,
        "status": payment["status"],
        "reason": (payment.get("errorInformation") or {}).get("reason"),
    }
    # A redirect, so that reloading the page does not pay again.
    return redirect("result")


@require_GET
def result(request: HttpRequest) -> HttpResponse:
    if "result" not in request.session:
        raise Http404
    return render(request, "result.html", request.session["result"])


def unknown_result(request: HttpRequest, order: str, reason: str) -> HttpResponse:
    """The page for a payment that may have been made."""
    log.error("the result of the payment for order %s is unknown: %s", order, reason)
    message = f"We do not know yet whether the payment was made. Ask us about order {order} before you pay again."
    return render(request, "error.html", {"message": message}, status=502)


def payment_request(order: str, token: str, amount: str) -> dict[str, Any]:
    """The body of ``POST /pts/v2/payments``, with the token instead of a card."""
    return {
        "clientReferenceInformation": {"code": order},
        "tokenInformation": {"transientTokenJwt": token},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "EUR"}},
    }
