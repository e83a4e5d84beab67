"""The five steps of the Flex API, each artefact shown."""

from __future__ import annotations

import time
import warnings
from datetime import datetime, timezone

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient, fields
from ..jose import encrypt
from .console import Console, abbreviate, decode_json_part

__all__ = ["run", "run_against_emulator"]

# A public test card of the sandbox.
_NUMBER = "4111111111111111"


def run_against_emulator() -> None:
    """The demo against an emulator that lives as long as the demo."""
    from ..emulator import Emulator

    with Emulator() as emulator, FlexClient.from_env(emulator.environ) as client:
        _run(client, "a local emulator")


def run(url: str) -> None:
    """The demo against any host, with all else as the environment says.

    Raises:
        FlexError: the environment is not complete, or a step failed; what came before it has been shown.
    """
    with warnings.catch_warnings():
        # Said by `doctor` to whoever chose it; a Python warning would only blur the output.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = FlexClient.from_env(environment=url)
    with client:
        _run(client, "a real host")


def _run(client: FlexClient, host: str) -> None:
    started = time.perf_counter()
    console = Console()
    year = str(datetime.now(timezone.utc).year + 3)
    api = FlexAPIApi(client.api_client)
    console.title(
        f"Flex API, from card number to transient token, against {host} at {client.api_client.configuration.host}"
    )

    console.step(1, "Ask for a capture context", "POST /flex/v2/sessions, signed")
    wanted = fields(card=["number", "expirationMonth", "expirationYear", "type?", "securityCode?"])
    console.json("request", {"fields": wanted.to_dict()})
    context = client.create_capture_context(wanted)
    header, payload, _ = context.jwt.split(".")
    console.json("capture context, header", decode_json_part(header))
    console.json("capture context, payload", abbreviate(decode_json_part(payload)))

    kid = decode_json_part(header)["kid"]
    console.step(2, "Verify it with the host's long-term key", f"GET /flex/v2/public-keys/{kid}")
    console.json("key", abbreviate(api.get_public_key(kid).to_dict()))
    console.verified(f"capture context, {context.type}, good for {context.expires_in().seconds} s")

    console.step(3, "Encrypt the card to the one-time key in it", "RSA-OAEP, A256GCM")
    card = {
        "number": _NUMBER,
        "expirationMonth": "12",
        "expirationYear": year,
        "type": "001",
        "securityCode": "123",
    }
    jwe = encrypt(context, {"paymentInformation": {"card": card}})
    masked = {**card, "number": f"{_NUMBER[:6]}XXXXXX{_NUMBER[-4:]}", "securityCode": "XXX"}
    console.json("card, masked here", masked)
    console.json("JWE, header", decode_json_part(jwe.partition(".")[0]))
    console.line(f"{jwe.count('.') + 1} parts, {len(jwe)} characters", style="dim")

    console.step(4, "Exchange it for a transient token", "POST /flex/v2/tokens, not signed")
    token_jwt = api.create_transient_token(jwe)
    header, payload, _ = token_jwt.split(".")
    console.json("transient token, header", decode_json_part(header))
    console.json("transient token, payload", abbreviate(decode_json_part(payload)))

    console.step(5, "Verify it with the one-time key of our own capture context", "no request")
    token = client.verify_transient_token(token_jwt, context)
    console.verified(
        f"transient token, {token.masked_number or 'number not shown'}, good for {token.expires_in().seconds} s"
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
