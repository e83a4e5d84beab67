"""A local Flex host for tests and demonstrations: in memory, on loopback, with keys made at start.

    from cybersource_flex.emulator import Emulator

    with Emulator() as e:
        e.url      # "http://127.0.0.1:<free port>"
        e.auth     # {"merchant_id": ..., "key_id": ..., "secret_key": ...}
        e.requests # what was received, what was answered, and why it was refused

Shared secret, P12, meta keys and access tokens are all taken; `Merchant` says who may call, and the emulator
makes what the Business Center would hand out:

    e.make_p12("password")               # bytes of a P12 file; portfolio=True for a meta key
    e.make_response_mle_p12("password")  # the key for encrypted answers
    e.request_mle_certificate_pem        # the certificate for encrypted requests
    e.issue_access_token()               # and e.revoke_access_token(token)
    Emulator(tls=True)                   # https; e.write_ca(path), e.issue_client_certificate(name)

And it misbehaves on demand, with any of `SCENARIOS`:

    e.queue_scenarios(["status-503;retry-after=1", "reset-during", "ok"])   # one each for the next requests
    e.faults(rate=0.05, seed=1)                                    # at random
    Emulator(scenario="latency;seconds=2")                         # always
    v-c-emulator-scenario: truncated                               # as a header, for one request

It judges what it is sent as the real host would: signatures line by line, the JWE, the fields that the
capture context asked for. It imports nothing of the rest of this package and no JOSE library, so that a
mistake in the client does not hide in it. It holds fake keys and keeps what it is sent in memory: never give
it real card data.
"""

from __future__ import annotations

try:
    from .auth.credentials import Merchant
    from .emulator import Emulator
    from .faults.scenarios import SCENARIOS, Scenario, ScenarioKind
    from .server.messages import RecordedRequest
except ModuleNotFoundError as error:
    if error.name is not None and error.name.split(".")[0] in {"starlette", "uvicorn", "h11", "anyio"}:
        raise ImportError(
            f"the emulator needs {error.name!r}: install this package with its extra 'emulator'"
        ) from error
    raise

__all__ = ["Emulator", "Merchant", "RecordedRequest", "SCENARIOS", "Scenario", "ScenarioKind"]  # noqa: RUF022 (as `sorted` has it)
