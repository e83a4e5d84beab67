"""``cybersource-flex demo``: run the five steps of the Flex API, pay with the token, and show each message."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient, fields
from ..jose import TransientToken, encrypt
from .shared.clients import client_from_options
from .shared.console import Console, abbreviate, decode_json_part
from .shared.progress import waiting

__all__ = ["run", "run_against_emulator"]

# A public test card of the sandbox.
_NUMBER = "4111111111111111"
_PAYMENTS = "/pts/v2/payments"
# The emulator authorises the first amount and declines the second one.
_AUTHORIZED, _DECLINED = "21.00", "1001.00"


def run_against_emulator() -> None:
    """Start a local emulator and run the demo against it."""
    from ..emulator import Emulator

    with contextlib.ExitStack() as stack:
        with waiting("starting the emulator"):
            emulator = stack.enter_context(Emulator())
        client = stack.enter_context(FlexClient.from_env(emulator.environ))
        console, token, started = _run(client, "a local emulator")
        _pay(console, client, token)
        _finish(console, started)


def run(url: str) -> None:
    """Run the demo against a host, with credentials from the environment.

    Raises:
        FlexError: the configuration is invalid, or a step failed. The results of earlier steps have been printed.
    """
    with client_from_options(None, url) as client:
        console, token, started = _run(client, "a real host")
        # The demo never pays on a host that it has not started.
        console.title(f"\nPay with it: POST {_PAYMENTS} (not sent)")
        console.json("body", _payment(abbreviate(token.jwt), _AUTHORIZED))
        _finish(console, started)


def _run(client: FlexClient, host: str) -> tuple[Console, TransientToken, float]:
    """Run the five steps. Returns the console, the token, and when the steps began."""
    started = time.perf_counter()
    console = Console()
    wait = f"waiting for {client.api_client.configuration.host}"
    year = str(datetime.now(UTC).year + 3)
    api = FlexAPIApi(client.api_client)
    console.title(
        f"Flex API, from card number to transient token, against {host} at {client.api_client.configuration.host}"
    )

    console.step(1, "Create a capture context", "POST /flex/v2/sessions, signed")
    requested_fields = fields(card=["number", "expirationMonth", "expirationYear", "type?", "securityCode?"])
    console.json("request", {"fields": requested_fields.to_dict()})
    with waiting(wait):
        context = client.create_capture_context(requested_fields)
    header, payload, _ = context.jwt.split(".")
    console.json("capture context, header", decode_json_part(header))
    console.json("capture context, payload", abbreviate(decode_json_part(payload)))

    kid = decode_json_part(header)["kid"]
    console.step(2, "Verify it with the host's long-term key", f"GET /flex/v2/public-keys/{kid}")
    with waiting(wait):
        key = api.get_public_key(kid)
    console.json("key", abbreviate(key.to_dict()))
    console.verified(f"capture context, {context.type}, valid for {context.expires_in().seconds} s")

    console.step(3, "Encrypt the card with the one-time key in the context", "RSA-OAEP, A256GCM")
    card = {
        "number": _NUMBER,
        "expirationMonth": "12",
        "expirationYear": year,
        "type": "001",
        "securityCode": "123",
    }
    jwe = encrypt(context, {"paymentInformation": {"card": card}})
    masked = {**card, "number": f"{_NUMBER[:6]}XXXXXX{_NUMBER[-4:]}", "securityCode": "XXX"}
    console.json("card (masked for display)", masked)
    console.json("JWE, header", decode_json_part(jwe.partition(".")[0]))
    console.line(f"{jwe.count('.') + 1} parts, {len(jwe)} characters", style="dim")

    console.step(4, "Exchange it for a transient token", "POST /flex/v2/tokens, not signed")
    with waiting(wait):
        token_jwt = api.create_transient_token(jwe)
    header, payload, _ = token_jwt.split(".")
    console.json("transient token, header", decode_json_part(header))
    console.json("transient token, payload", abbreviate(decode_json_part(payload)))

    console.step(5, "Verify it with the one-time key of the capture context", "no request")
    token = client.verify_transient_token(token_jwt, context)
    console.verified(
        f"transient token, {token.masked_number or 'number not shown'}, valid for {token.expires_in().seconds} s"
    )
    return console, token, started


def _pay(console: Console, client: FlexClient, token: TransientToken) -> None:
    """Pay twice with the token: one payment is authorised, the other one is declined."""
    for number, (amount, result) in enumerate(((_AUTHORIZED, "authorised"), (_DECLINED, "declined")), 6):
        console.step(number, f"Pay with it: a payment that is {result}", f"POST {_PAYMENTS}, signed")
        console.json("request", _payment(abbreviate(token.jwt), amount))
        response = client.request("POST", _PAYMENTS, json=_payment(token.jwt, amount))
        members = ("id", "status", "errorInformation", "orderInformation")
        console.json("response", {name: response.data[name] for name in members if name in response.data})


def _payment(token: str, amount: str) -> dict[str, object]:
    return {
        "clientReferenceInformation": {"code": "order-1"},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "USD"}},
        "tokenInformation": {"transientTokenJwt": token},
    }


def _finish(console: Console, started: float) -> None:
    console.line(f"done in {time.perf_counter() - started:.2f} s", style="dim")
