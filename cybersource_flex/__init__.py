"""CyberSource Flex: turn card data into a short-lived token without storing it.

``FlexClient`` is the entry point. The generated classes ``FlexAPIApi`` and ``MicroformIntegrationApi`` have one method
for each operation of the service. Every name is imported on first use, so that importing the package is fast.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._version import __version__
    from .api import FlexAPIApi, MicroformIntegrationApi
    from .api_client import ApiClient
    from .client import AsyncFlexClient, FlexClient, fields
    from .errors import (
        AddressError,
        ApiException,
        Attempt,
        AuthenticationError,
        AuthFailureCause,
        BadRequestError,
        Base64UrlError,
        CallError,
        CompactFormError,
        ConfigurationError,
        ConnectionBrokenError,
        ConnectionFailedError,
        ConnectionTimeoutError,
        DecryptionError,
        DuplicateMemberError,
        EmulatorError,
        ErrorDetail,
        ExpiredTokenError,
        FlexError,
        InvalidArgumentError,
        InvalidArgumentTypeError,
        InvalidClaimError,
        InvalidDataError,
        InvalidSignatureError,
        MalformedTokenError,
        MissingDependencyError,
        NestingError,
        NotFoundError,
        Outcome,
        PermissionDeniedError,
        RateLimitError,
        RedirectError,
        ResponseDecodingError,
        ResponseInfo,
        ResponseTimeoutError,
        ResponseTooLargeError,
        ServerError,
        TokenError,
        TokenJsonError,
        TokenNotYetValidError,
        TokenTooLargeError,
        TransportError,
        UnknownKeyError,
        UnsupportedAlgorithmError,
    )
    from .jose import CaptureContext, TransientToken
    from .transport import ApiResponse, Configuration, EventHooks, RetryPolicy, Tls

__all__ = [
    "AddressError",
    "ApiClient",
    "ApiException",
    "ApiResponse",
    "AsyncFlexClient",
    "Attempt",
    "AuthFailureCause",
    "AuthenticationError",
    "BadRequestError",
    "Base64UrlError",
    "CallError",
    "CaptureContext",
    "CompactFormError",
    "Configuration",
    "ConfigurationError",
    "ConnectionBrokenError",
    "ConnectionFailedError",
    "ConnectionTimeoutError",
    "DecryptionError",
    "DuplicateMemberError",
    "EmulatorError",
    "ErrorDetail",
    "EventHooks",
    "ExpiredTokenError",
    "FlexAPIApi",
    "FlexClient",
    "FlexError",
    "InvalidArgumentError",
    "InvalidArgumentTypeError",
    "InvalidClaimError",
    "InvalidDataError",
    "InvalidSignatureError",
    "MalformedTokenError",
    "MicroformIntegrationApi",
    "MissingDependencyError",
    "NestingError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseDecodingError",
    "ResponseInfo",
    "ResponseTimeoutError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "ServerError",
    "Tls",
    "TokenError",
    "TokenJsonError",
    "TokenNotYetValidError",
    "TokenTooLargeError",
    "TransientToken",
    "TransportError",
    "UnknownKeyError",
    "UnsupportedAlgorithmError",
    "__version__",
    "fields",
]

# The module of each name that is not an exception.
_MODULES = {
    "__version__": "_version",
    "ApiClient": "api_client",
    "ApiResponse": "transport",
    "AsyncFlexClient": "client",
    "CaptureContext": "jose",
    "Configuration": "transport",
    "EventHooks": "transport",
    "fields": "client",
    "FlexAPIApi": "api",
    "FlexClient": "client",
    "MicroformIntegrationApi": "api",
    "RetryPolicy": "transport",
    "Tls": "transport",
    "TransientToken": "jose",
}


if not TYPE_CHECKING:
    # Hidden from type checkers, which would accept every name.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        # The names that the table does not list are in `errors`.
        value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
