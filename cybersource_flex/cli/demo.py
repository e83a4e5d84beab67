"""The five steps of the Flex API, each artefact shown."""

from __future__ import annotations

import time
import warnings
from datetime import datetime, timezone

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient, fields
from ..jose import encrypt
from .show import Screen, decoded, shortened

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
    screen = Screen()
    year = str(datetime.now(timezone.utc).year + 3)
    api = FlexAPIApi(client.api_client)
    screen.title(
        f"Flex API, from card number to transient token, against {host} at {client.api_client.configuration.host}"
    )

    screen.step(1, "Ask for a capture context", "POST /flex/v2/sessions, signed")
    wanted = fields(card=["number", "expirationMonth", "expirationYear", "type?", "securityCode?"])
    screen.artefact("request", {"fields": wanted.to_dict()})
    context = client.create_capture_context(wanted)
    header, payload, _ = context.jwt.split(".")
    screen.artefact("capture context, header", decoded(header))
    screen.artefact("capture context, payload", shortened(decoded(payload)))

    kid = decoded(header)["kid"]
    screen.step(2, "Verify it with the host's long-term key", f"GET /flex/v2/public-keys/{kid}")
    screen.artefact("key", shortened(api.get_public_key(kid).to_dict()))
    screen.verified(f"capture context, {context.type}, good for {context.expires_in().seconds} s")

    screen.step(3, "Encrypt the card to the one-time key in it", "RSA-OAEP, A256GCM")
    card = {
        "number": _NUMBER,
        "expirationMonth": "12",
        "expirationYear": year,
        "type": "001",
        "securityCode": "123",
    }
    jwe = encrypt(context, {"paymentInformation": {"card": card}})
    masked = {**card, "number": f"{_NUMBER[:6]}XXXXXX{_NUMBER[-4:]}", "securityCode": "XXX"}
    screen.artefact("card, masked here", masked)
    screen.artefact("JWE, header", decoded(jwe.partition(".")[0]))
    screen.say(f"{jwe.count('.') + 1} parts, {len(jwe)} characters", style="dim")

    screen.step(4, "Exchange it for a transient token", "POST /flex/v2/tokens, not signed")
    token_jwt = api.create_transient_token(jwe)
    header, payload, _ = token_jwt.split(".")
    screen.artefact("transient token, header", decoded(header))
    screen.artefact("transient token, payload", shortened(decoded(payload)))

    screen.step(5, "Verify it with the one-time key of our own capture context", "no request")
    token = client.verify_transient_token(token_jwt, context)
    screen.verified(
        f"transient token, {token.masked_number or 'number not shown'}, good for {token.expires_in().seconds} s"
    )

    screen.title("\nPay with it: POST /pts/v2/payments")
    screen.artefact(
        "body",
        {
            "clientReferenceInformation": {"code": "order-1"},
            "orderInformation": {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}},
            "tokenInformation": {"transientTokenJwt": shortened(token.jwt)},
        },
    )
    screen.say(f"done in {time.perf_counter() - started:.2f} s", style="dim")
