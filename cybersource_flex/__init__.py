"""CyberSource Flex: turn card data into a short-lived token without storing it.

``FlexClient`` is the entry point. The generated classes ``FlexAPIApi`` and ``MicroformIntegrationApi`` have one method
for each operation of the service. Every name is imported on first use, so that importing the package costs little.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._version import __version__
    from .api import FlexAPIApi, MicroformIntegrationApi
    from .api_client import ApiClient
    from .client import AsyncFlexClient, FlexClient, fields
    from .configuration import Configuration
    from .errors import (
        ApiException,
        Attempt,
        AuthenticationError,
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
        ErrorDetail,
        ExpiredTokenError,
        FlexError,
        InvalidArgumentError,
        InvalidClaimError,
        InvalidDataError,
        InvalidSignatureError,
        MalformedTokenError,
        NestingError,
        NotFoundError,
        Outcome,
        PermissionDeniedError,
        RateLimitError,
        RedirectError,
        ResponseDecodingError,
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
    from .transport import ApiResponse, Events, RetryPolicy, Tls

__all__ = [
    "ApiClient",
    "ApiException",
    "ApiResponse",
    "AsyncFlexClient",
    "Attempt",
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
    "ErrorDetail",
    "Events",
    "ExpiredTokenError",
    "FlexAPIApi",
    "FlexClient",
    "FlexError",
    "InvalidArgumentError",
    "InvalidClaimError",
    "InvalidDataError",
    "InvalidSignatureError",
    "MalformedTokenError",
    "MicroformIntegrationApi",
    "NestingError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseDecodingError",
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
    "Configuration": "configuration",
    "Events": "transport",
    "fields": "client",
    "FlexAPIApi": "api",
    "FlexClient": "client",
    "MicroformIntegrationApi": "api",
    "RetryPolicy": "transport",
    "Tls": "transport",
    "TransientToken": "jose",
}


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
