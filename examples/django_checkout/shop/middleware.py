"""What applies to all pages: the headers, and the page for an outage of the payment service."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cybersource_flex import CaptureContext, FlexError

log = logging.getLogger("django_checkout")


class HeadersMiddleware:
    """Adds the Content-Security-Policy, unless the view has set one. Django has such a middleware from 6.0 on.

    The other headers for security come from Django's ``SecurityMiddleware``.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", content_security_policy())
        response.headers["Cache-Control"] = "no-store"
        return response


class OutageMiddleware:
    """Shows a page if a view fails with an error of the client."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, FlexError):
            return None
        log.error("a call failed: %s", exception)
        message = "Payments are not available right now. Nothing was charged."
        return render(request, "error.html", {"message": message}, status=502)


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
