"""The `Emulator`: its settings, its life, and what was recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from starlette.routing import Router

from . import address
from .adversary import Adversary
from .app import Service, make_app
from .authority import Authority
from .business_center import BusinessCenter
from .clock import HostClock
from .director import Director
from .directory import Directory
from .exchange import RecordedRequest, Records
from .issuer import Issuer
from .merchants import Merchant
from .runner import Runner
from .scenarios import Scenario
from .state import Settings, State
from .tls import ClientCertificates, ServerTls


class Emulator(Issuer, Adversary):
    """A local Flex host.

    A context manager: entering starts it, leaving stops it. After `stop` it can be started again and then has
    the same address, keys and memory, like a host that was away for a while.

    Args:
        host: address to bind. Only loopback, unless `allow_remote`.
        port: port to bind; 0 takes a free one.
        merchants: who may call; by default one merchant with a random key.
        tls: serve https, with a certificate of a throw-away authority for the own names and `signed_hosts`.
            `ca_pem` is what clients must trust.
        client_certificates: with `tls`, whether clients must ("required") or may ("optional") present a
            certificate made by `issue_client_certificate`. It authenticates the connection, not the merchant.
        request_mle: private key and certificate, both PEM, for encrypted requests; by default made up.
        accept_rsa_oaep: take encrypted requests with `alg` RSA-OAEP too, as one example of the guide has it.
        signed_hosts: hosts that a client may sign, beside this host's own names and the real service's.
        clock: seconds since the epoch; give another one to test expiry.
        clock_tolerance: seconds that the `Date` of an HTTP Signature may be off. The real value is
            unpublished.
        jwt_leeway: seconds that `iat` of a request's JWT may lie ahead and `exp` behind. The real value is
            unpublished.
        context_uses: how many transient tokens a capture context is good for; None for no limit. That there
            is a limit is documented, the number is not.
        payment_credentials: make a key pair and let `GET /flex/v2/payment-credentials` return the unmasked
            card. Off by default; only when it is on are card numbers kept beyond the request.
        check_luhn: refuse card numbers with a wrong check digit. Whether the real host does is unpublished.
        check_expiry: refuse cards that have expired. The same.
        extra_fields: dotted paths below `fields` that sessions may name beside the documented ones.
        explain: add the cause of a 401 as header `v-c-emulator-refusal`. The real host never tells; this is a
            tool for developers, so it is on by default. The record has the cause in any case.
        allow_remote: permit a host that is not loopback. The emulator holds fake keys and is not hardened.
        record_limit: how many of the last requests `requests` keeps.
        key_pool: how many one-time RSA keys are made at start and used in turn, each context with a new kid.
        scenario: what goes wrong with every request that nothing else is said about: one of `SCENARIOS`, as text
            or `Scenario`. See `script` and `faults` too.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        merchants: Sequence[Merchant] | None = None,
        tls: bool = False,
        client_certificates: ClientCertificates | None = None,
        request_mle: tuple[bytes, bytes] | None = None,
        accept_rsa_oaep: bool = False,
        signed_hosts: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        clock_tolerance: float = 300.0,
        jwt_leeway: float = 60.0,
        context_uses: int | None = 10,
        payment_credentials: bool = False,
        check_luhn: bool = True,
        check_expiry: bool = True,
        extra_fields: Iterable[str] = (),
        explain: bool = True,
        allow_remote: bool = False,
        record_limit: int = 10_000,
        key_pool: int = 2,
        scenario: Scenario | str | None = None,
    ) -> None:
        if not allow_remote and not address.is_loopback(host):
            raise ValueError(f"host {host!r} is not loopback: the emulator is a test tool, say allow_remote=True")
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is not between 0 and 65535")
        if key_pool < 1 or record_limit < 0 or (context_uses is not None and context_uses < 1):
            raise ValueError("key_pool and context_uses must be at least 1, record_limit at least 0")
        if clock_tolerance < 0 or jwt_leeway < 0:
            raise ValueError("clock_tolerance and jwt_leeway are seconds, not less than 0")
        if isinstance(signed_hosts, str) or isinstance(extra_fields, str):
            raise ValueError("signed_hosts and extra_fields are lists of texts, not one text")
        if client_certificates not in (None, "optional", "required"):
            raise ValueError('client_certificates must be None, "optional" or "required"')
        if client_certificates is not None and not tls:
            raise ValueError("client_certificates needs tls=True")
        self._host, self._signed_hosts = host, tuple(signed_hosts)
        host_clock = HostClock(clock)
        Adversary.__init__(self, Director(scenario), host_clock)
        Issuer.__init__(
            self,
            directory=Directory([Merchant.generate()] if merchants is None else merchants),
            center=BusinessCenter(clock, request_mle),
            tls=ServerTls(address.certified_names(host, self._signed_hosts), client_certificates) if tls else None,
        )
        self._mle_algorithms = ("RSA-OAEP-256", "RSA-OAEP") if accept_rsa_oaep else ("RSA-OAEP-256",)
        self._clock_tolerance, self._jwt_leeway = clock_tolerance, jwt_leeway
        self._settings = Settings(
            clock=host_clock,
            context_uses=context_uses,
            payment_credentials=payment_credentials,
            check_luhn=check_luhn,
            check_expiry=check_expiry,
            extra_fields=frozenset(extra_fields),
            key_pool=key_pool,
        )
        self._explain = explain
        self._records = Records(record_limit)
        self._service: Service | None = None
        self._runner = Runner(host, port, self._tls)

    def __repr__(self) -> str:
        state = "running" if self._runner.running else "not running"
        return f"<Emulator {self._address(self._runner.port)} {state}>"

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        if self._service is None:
            raise RuntimeError("the emulator has no address before it is started")
        return self._service.state.origin

    @property
    def environ(self) -> dict[str, str]:
        """Address and credentials of the first merchant, as environment variables for a client."""
        auth, portfolio_id = self.auth, self._directory.merchants[0].portfolio_id
        variables = {
            "CYBERSOURCE_AUTH": "jwt_shared_secret",
            "CYBERSOURCE_ENVIRONMENT": self.url,
            "CYBERSOURCE_MERCHANT_ID": auth["merchant_id"],
            "CYBERSOURCE_KEY_ID": auth["key_id"],
            "CYBERSOURCE_SECRET_KEY": auth["secret_key"],
        }
        if portfolio_id is not None:
            variables["CYBERSOURCE_PORTFOLIO_ID"] = portfolio_id
        return variables

    @property
    def requests(self) -> list[RecordedRequest]:
        """The last requests received, oldest first; a copy. A request is here before its answer is sent."""
        return self._records.all()

    def clear(self) -> None:
        """Forget the recorded requests."""
        self._records.clear()

    @property
    def credentials_key_pem(self) -> bytes:
        """Private key (PKCS #8, PEM) that opens what payment-credentials returns."""
        if self._service is None:
            raise RuntimeError("the emulator has no keys before it is started")
        return self._service.state.credentials_key_pem()

    def rotate_key(self, same_kid: bool = False) -> str:
        """Sign capture contexts with a new long-term key from now on.

        Args:
            same_kid: put it in the place of the old one, whose contexts can then no longer be verified. Otherwise
                it has a new kid, and the old one can still be fetched.

        Returns:
            The kid of the new key.
        """
        if self._service is None:
            raise RuntimeError("the emulator has no keys before it is started")
        return self._service.state.rotate_key(same_kid)

    def start(self) -> Emulator:
        """Serve from a thread. Returns when requests are answered; RuntimeError when the port is taken."""
        self._runner.start(self._make_app)
        return self

    def stop(self) -> None:
        """Stop serving and wait for the thread to end. Does nothing when it is not running."""
        self._runner.stop()

    def serve(self, on_ready: Callable[[Emulator], None] | None = None) -> None:
        """Serve in this thread until it is interrupted (Ctrl-C, SIGTERM in the main thread) or `stop` is
        called.

        Args:
            on_ready: called once the socket is bound, when `url` is known and connections are taken.
        """
        self._runner.serve(self._make_app, lambda: None if on_ready is None else on_ready(self))

    def _address(self, port: int) -> str:
        return address.url("http" if self._tls is None else "https", self._host, port)

    def _make_app(self, port: int) -> Router:
        if self._service is None:
            self._service = self._make_service(port)
        return make_app(self._service)

    def _make_service(self, port: int) -> Service:
        state = State(self._settings)
        state.origin = self._address(port)
        authority = Authority(
            self._directory,
            hosts=(*self._signed_hosts, *address.own_names(self._host, port)),
            clock=self._settings.clock,
            clock_tolerance=self._clock_tolerance,
            jwt_leeway=self._jwt_leeway,
        )
        return Service(
            state=state,
            authority=authority,
            center=self._center,
            records=self._records,
            director=self._director,
            explain=self._explain,
            mle_algorithms=self._mle_algorithms,
        )
