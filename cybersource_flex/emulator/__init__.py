"""A local Flex host for tests and demonstrations: in memory, on loopback, with generated keys.

    from cybersource_flex.emulator import Emulator

    with Emulator() as e:
        e.url      # "http://127.0.0.1:<free port>"
        e.auth     # {"merchant_id": ..., "key_id": ..., "secret_key": ...}
        e.requests # each request, the status of its response, and why it was rejected

It accepts shared secrets, P12 files, meta keys and access tokens. A `Merchant` defines who may call. Like the Business
Center, the emulator issues credentials:

    e.make_p12("password")               # bytes of a P12 file; portfolio=True for a meta key
    e.make_response_mle_p12("password")  # the key for encrypted responses
    e.request_mle_certificate_pem        # the certificate for encrypted requests
    e.issue_access_token()               # and e.revoke_access_token(token)
    Emulator(tls=True)                   # https; e.write_ca(path), e.issue_client_certificate(name)

It injects the faults that `SCENARIOS` lists:

    e.queue_scenarios(["status-503;retry-after=1", "reset-during", "ok"])  # for the next three requests
    e.inject_random_faults(rate=0.05, seed=1)                              # at random
    Emulator(scenario="latency;seconds=2")                                 # for all requests
    v-c-emulator-scenario: truncated                                       # as a header, for one request

It checks requests as the real host does: the signature, the encrypted card data (JWE), and the fields that the capture
context requests. From the rest of this package it imports only a clock and exceptions, and it uses no JOSE library, so
it does not repeat a mistake of the client. It holds fake keys and stores requests in memory: never send it real card
data.

The modules: `emulator` is the `Emulator` class; `server` handles HTTP, `auth` authenticates requests, `operations`
carries them out, `faults` injects faults; `browser` has the files for browsers; `jose` signs and encrypts tokens.
"""

from __future__ import annotations

try:
    from .auth.credentials import Merchant
    from .emulator import Emulator
    from .faults.scenarios import SCENARIOS, Scenario, ScenarioKind
    from .server.messages import RecordedRequest
except ModuleNotFoundError as error:
    name = (error.name or "").partition(".")[0]
    if name in {"starlette", "uvicorn", "h11", "anyio"}:
        from ..errors import MissingDependencyError

        raise MissingDependencyError(
            f"the emulator needs {name!r}: pip install 'cybersource-flex[emulator]'", name=name
        ) from None
    raise

__all__ = ["Emulator", "Merchant", "RecordedRequest", "SCENARIOS", "Scenario", "ScenarioKind"]  # noqa: RUF022 (as `sorted` has it)
