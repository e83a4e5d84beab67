"""Test helpers for users of this package: pytest fixtures, ``TokenFactory``, ``Canaries`` and ``CheckoutPage``.

``TokenFactory`` makes capture contexts and transient tokens without a server. ``Canaries`` detects leaked secrets.
``CheckoutPage`` fills in a page with Microform, with Playwright. All also work without pytest. pytest loads
``cybersource_flex.testing.plugin`` automatically; see docs/testing.md.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .canaries import Canaries, CanaryFound
    from .checkout_page import AsyncCheckoutPage, CheckoutFailed, CheckoutPage
    from .tokens import TokenFactory

__all__ = ["AsyncCheckoutPage", "Canaries", "CanaryFound", "CheckoutFailed", "CheckoutPage", "TokenFactory"]

_MODULES = {
    "AsyncCheckoutPage": "checkout_page",
    "Canaries": "canaries",
    "CanaryFound": "canaries",
    "CheckoutFailed": "checkout_page",
    "CheckoutPage": "checkout_page",
    "TokenFactory": "tokens",
}


if not TYPE_CHECKING:
    # Hidden from type checkers, which would accept every name.
    def __getattr__(name: str) -> object:
        # pytest imports this package in every run once it is installed, so the import has to be fast.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
