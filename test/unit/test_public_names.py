"""The public names of the package. A change of these lists is a change for users."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cybersource_flex
from cybersource_flex import aio, api, auth, client, emulator, errors, jose, models, transport

FLEX = [
    "ApiClient",
    "ApiResponse",
    "CaptureContext",
    "Configuration",
    "EventHooks",
    "FlexAPIApi",
    "AsyncFlexClient",
    "FlexClient",
    "MicroformIntegrationApi",
    "RetryPolicy",
    "Tls",
    "TransientToken",
    "__version__",
    "fields",
]


def test_top_level_names() -> None:
    assert cybersource_flex.__all__ == sorted([*FLEX, *errors.__all__])


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (aio, ["AsyncApiClient", "AsyncFlexAPIApi", "AsyncMicroformIntegrationApi"]),
        (api, ["FlexAPIApi", "MicroformIntegrationApi"]),
        (
            auth,
            [
                "BearerToken",
                "HttpSignature",
                "JwtClaimFormat",
                "JwtExternalKey",
                "JwtP12",
                "JwtSharedSecret",
                "MessageLevelEncryption",
            ],
        ),
        (client, ["AsyncFlexClient", "FlexClient", "TokenizeFailure", "TokenizeResult", "TokenizeSuccess", "fields"]),
        (emulator, ["Emulator", "Merchant", "RecordedRequest", "SCENARIOS", "Scenario", "ScenarioKind"]),
        (
            jose,
            [
                "AsyncKeyCache",
                "AsyncKeySource",
                "CaptureContext",
                "ContextExpectations",
                "KeyCache",
                "KeySource",
                "PaymentCredentials",
                "PinnedKeys",
                "PublicKey",
                "TokenLimits",
                "TransientToken",
                "encrypt",
                "open_payment_credentials",
                "restore_capture_context",
                "store_capture_context",
                "verify_capture_context",
                "verify_transient_token",
            ],
        ),
        (
            transport,
            [
                "ApiResponse",
                "AsyncTransport",
                "AttemptEvent",
                "CallEvent",
                "Clock",
                "Configuration",
                "EventHooks",
                "HostTime",
                "MessageEncryptor",
                "Operation",
                "Request",
                "Response",
                "RetryPolicy",
                "Signer",
                "Tls",
                "Transport",
            ],
        ),
    ],
)
def test_names_of_the_subpackages(module: object, names: list[str]) -> None:
    assert module.__all__ == names  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module", [cybersource_flex, aio, api, auth, client, emulator, errors, jose, models, transport]
)
def test_every_name_exists_and_is_sorted(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_every_error_belongs_to_the_tree_in_its_docstring() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, errors.FlexError)
            assert f"{name} " in errors.__doc__ or f"{name}\n" in errors.__doc__


HEAVY = (
    "urllib3",
    "cryptography",
    "dateutil",
    "aiohttp",
    "http.client",
    "json",
    "asyncio",
    "starlette",
    "click",
)


def test_importing_the_package_loads_no_large_modules() -> None:
    code = f"import sys; import cybersource_flex; print([name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stdout.strip() == "[]"


def test_all_names_load_without_a_warning() -> None:
    code = "import cybersource_flex as f; [getattr(f, name) for name in f.__all__]"
    subprocess.run([sys.executable, "-I", "-W", "error", "-c", code], check=True, timeout=60)
