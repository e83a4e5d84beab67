"""``cybersource-flex demo``: run the five steps of the Flex API and show each message."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient, fields
from ..jose import encrypt
from .console import Console, abbreviate, decode_json_part

__all__ = ["run", "run_against_emulator"]

# A public test card of the sandbox.
_NUMBER = "4111111111111111"


def run_against_emulator() -> None:
    """Run the demo against an emulator that is started for it."""
    from ..emulator import Emulator

    with Emulator() as emulator, FlexClient.from_env(emulator.environ) as client:
        _run(client, "a local emulator")


def run(url: str) -> None:
    """Run the demo against a host, with credentials from the environment.

    Raises:
        FlexError: the configuration is invalid, or a step failed. The results of earlier steps have been printed.
    """
    with warnings.catch_warnings():
        # `doctor` reports deprecated schemes. A Python warning would only clutter the output.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = FlexClient.from_env(environment=url)
    with client:
        _run(client, "a real host")


def _run(client: FlexClient, host: str) -> None:
    started = time.perf_counter()
    console = Console()
    year = str(datetime.now(UTC).year + 3)
    api = FlexAPIApi(client.api_client)
    console.title(
        f"Flex API, from card number to transient token, against {host} at {client.api_client.configuration.host}"
    )

    console.step(1, "Create a capture context", "POST /flex/v2/sessions, signed")
    requested_fields = fields(card=["number", "expirationMonth", "expirationYear", "type?", "securityCode?"])
    console.json("request", {"fields": requested_fields.to_dict()})
    context = client.create_capture_context(requested_fields)
    header, payload, _ = context.jwt.split(".")
    console.json("capture context, header", decode_json_part(header))
    console.json("capture context, payload", abbreviate(decode_json_part(payload)))

    kid = decode_json_part(header)["kid"]
    console.step(2, "Verify it with the host's long-term key", f"GET /flex/v2/public-keys/{kid}")
    console.json("key", abbreviate(api.get_public_key(kid).to_dict()))
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
    token_jwt = api.create_transient_token(jwe)
    header, payload, _ = token_jwt.split(".")
    console.json("transient token, header", decode_json_part(header))
    console.json("transient token, payload", abbreviate(decode_json_part(payload)))

    console.step(5, "Verify it with the one-time key of the capture context", "no request")
    token = client.verify_transient_token(token_jwt, context)
    console.verified(
        f"transient token, {token.masked_number or 'number not shown'}, valid for {token.expires_in().seconds} s"
    )

    console.title("\nPay with it: POST /pts/v2/payments")
    console.json(
        "body",
        {
            "clientReferenceInformation": {"code": "order-1"},
            "orderInformation": {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}},
            "tokenInformation": {"transientTokenJwt": abbreviate(token.jwt)},
        },
    )
    console.line(f"done in {time.perf_counter() - started:.2f} s", style="dim")
