"""The `Emulator`: uvicorn in a thread, or in the foreground, on a socket that it binds itself."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import uvicorn

from . import address
from .app import Service, make_app
from .authority import Authority
from .exchange import RecordedRequest, Records
from .merchants import Directory, Merchant
from .state import Settings, State

# Seconds.
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0


class Emulator:
    """A local Flex host.

    A context manager: entering starts it, leaving stops it. After `stop` it can be started again and then has
    the same address, keys and memory, like a host that was away for a while.

    Args:
        host: address to bind. Only loopback, unless `allow_remote`.
        port: port to bind; 0 takes a free one.
        merchants: who may call; by default one merchant with a random key.
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
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        merchants: Sequence[Merchant] | None = None,
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
        self._host, self._port = host, port
        self._merchants = (Merchant.generate(),) if merchants is None else tuple(merchants)
        Directory(self._merchants)  # a contradiction among them shows here, not at start
        self._signed_hosts = tuple(signed_hosts)
        self._clock_tolerance, self._jwt_leeway = clock_tolerance, jwt_leeway
        self._settings = Settings(
            clock=clock,
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
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        state = "running" if self._server is not None else "not running"
        return f"<Emulator {address.url(self._host, self._port)} {state}>"

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
    def auth(self) -> dict[str, str]:
        """Credentials of the first merchant, as keyword arguments of a signer."""
        first = self._merchants[0]
        return {"merchant_id": first.merchant_id, "key_id": first.key_id, "secret_key": first.secret_key}

    @property
    def environ(self) -> dict[str, str]:
        """The same and the address, as environment variables for a client."""
        first = self._merchants[0]
        variables = {
            "CYBERSOURCE_AUTH": "jwt_shared_secret",
            "CYBERSOURCE_ENVIRONMENT": self.url,
            "CYBERSOURCE_MERCHANT_ID": first.merchant_id,
            "CYBERSOURCE_KEY_ID": first.key_id,
            "CYBERSOURCE_SECRET_KEY": first.secret_key,
        }
        if first.portfolio_id is not None:
            variables["CYBERSOURCE_PORTFOLIO_ID"] = first.portfolio_id
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

    def start(self) -> Emulator:
        """Serve from a thread. Returns when requests are answered; RuntimeError when the port is taken."""
        server, listener = self._prepare()
        self._failure = None
        thread = threading.Thread(target=self._run, args=(server, listener), name="flex-emulator", daemon=True)
        self._server, self._thread = server, thread
        thread.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the emulator did not start") from self._failure
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop serving and wait for the thread to end. Does nothing when it is not running."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None:
            return
        server.should_exit = True
        if thread is None or thread is threading.current_thread():
            return
        thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            server.force_exit = True
            thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            raise RuntimeError(f"the emulator's thread did not end within {_STOP_TIMEOUT:.0f} s")

    def serve(self, on_ready: Callable[[Emulator], None] | None = None) -> None:
        """Serve in this thread until it is interrupted (Ctrl-C, SIGTERM in the main thread) or `stop` is
        called.

        Args:
            on_ready: called once the socket is bound, when `url` is known and connections are taken.
        """
        server, listener = self._prepare()
        self._server = server
        try:
            if on_ready is not None:
                on_ready(self)
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn ends in order on Ctrl-C and raises the signal again afterwards.
            pass
        finally:
            self._server = None
            listener.close()

    def _run(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:
            # Told by start(), in the thread of the caller.
            self._failure = error
        finally:
            listener.close()

    def _prepare(self) -> tuple[uvicorn.Server, socket.socket]:
        if self._server is not None:
            raise RuntimeError("the emulator is running already")
        listener = address.bind(self._host, self._port)
        try:
            # From here on it has this port, also after a stop.
            self._port = listener.getsockname()[1]
            if self._service is None:
                self._service = self._make_service()
        except BaseException:
            listener.close()
            raise
        config = uvicorn.Config(
            make_app(self._service),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # The answer's Date is that of the emulator's own clock.
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        return uvicorn.Server(config), listener

    def _make_service(self) -> Service:
        state = State(self._settings)
        state.origin = address.url(self._host, self._port)
        authority = Authority(
            self._merchants,
            hosts=(*self._signed_hosts, *address.own_names(self._host, self._port)),
            clock=self._settings.clock,
            clock_tolerance=self._clock_tolerance,
            jwt_leeway=self._jwt_leeway,
        )
        return Service(state, authority, self._records, self._explain)
