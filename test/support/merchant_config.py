"""The official SDK's configuration dictionary for the emulator."""

from __future__ import annotations

from typing import Any

from cybersource_flex.emulator import Emulator


def merchant_config(emulator: Emulator) -> dict[str, Any]:
    """The dictionary for the emulator's first merchant, with a shared secret for JWTs."""
    auth = emulator.auth
    return {
        "authentication_type": "JWT",
        "jwt_key_type": "SHARED_SECRET",
        "merchantid": auth["merchant_id"],
        "run_environment": emulator.url,
        "merchant_keyid": auth["key_id"],
        "merchant_secretkey": auth["secret_key"],
    }
