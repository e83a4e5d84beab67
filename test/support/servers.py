"""Servers on loopback: one that sends prepared bytes, and an HTTP server that records requests.

Both listen when they are created, and are closed by ``close()`` or at the end of ``with``.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class LastResponse(bytes):
    """A response after which the server closes the connection."""


# What a request gets: bytes; a function that is called with the connection; an event, which is waited for before the
# connection is closed; or None, which closes it at once.
RawResponse = bytes | Callable[[socket.socket], object] | threading.Event | None


class RawServer:
    """Sends prepared bytes, whether or not they are HTTP.

    Args:
        responses: what each request gets, in this order, over all connections. After the last one the connection is
            closed, unless there is a ``default``.
        default: what every other request gets. It can be changed later.

    Attributes:
        received: each request, head and body.
        connections: for each request the number of its connection. The first one that sent a request has number 0.
        release: an event for functions that wait until the test allows them to go on. It is set when the server closes.
    """

    def __init__(self, *responses: RawResponse, default: RawResponse = None) -> None:
        self.received: list[bytes] = []
        self.connections: list[int] = []
        self.release = threading.Event()
        self._responses = list(responses)
        self.default = default
        self._lock = threading.Lock()
        self._connection_count = 0
        self._closing = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.release.set()
        for response in self._responses:
            if isinstance(response, threading.Event):
                response.set()
        self._closing = True
        # Closing a socket does not wake a thread that waits in accept(). A connection does.
        with suppress(OSError), socket.socket() as last:
            last.settimeout(5)
            last.connect(("127.0.0.1", self.port))
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._closing:
                connection.close()
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        number = None
        with connection, suppress(OSError):
            while request := read_request(connection):
                with self._lock:
                    if number is None:
                        number = self._connection_count
                        self._connection_count += 1
                    self.received.append(request)
                    self.connections.append(number)
                    response = self._responses.pop(0) if self._responses else self.default
                    is_last = not self._responses and self.default is None
                if callable(response):
                    response(connection)
                elif isinstance(response, bytes):
                    connection.sendall(response)
                elif isinstance(response, threading.Event):
                    response.wait(20)
                if is_last or isinstance(response, LastResponse | threading.Event) or response is None:
                    return


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its body. Returns b"" if the client closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        body += chunk
    return head + b"\r\n\r\n" + body


class ReceivedRequest(NamedTuple):
    line: str
    # Names in lower case.
    headers: dict[str, str]
    body: bytes
    # Common name of the client's certificate.
    client_name: str | None


class HttpServer(ThreadingHTTPServer):
    """An HTTP/1.1 server that records requests. With ``context`` it serves https.

    Args:
        statuses: the status of each response, in this order. Every other one is 200.
        body: the body of every response.
        handler: how requests are handled, if not like this.

    Attributes:
        received: each request.
    """

    daemon_threads = True

    def __init__(
        self,
        *statuses: int,
        body: bytes = b"{}",
        content_type: str | None = None,
        context: ssl.SSLContext | None = None,
        handler: type[HttpHandler] | None = None,
    ) -> None:
        self.body, self.content_type = body, content_type
        self.received: list[ReceivedRequest] = []
        self._statuses = iter(statuses)
        self._lock = threading.Lock()
        self._context = context
        super().__init__(("127.0.0.1", 0), handler or HttpHandler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.url = f"{'http' if context is None else 'https'}://{self.address}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def next_status(self) -> int:
        with self._lock:
            return next(self._statuses, 200)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self._context is not None:
            # The handshake is left to the thread of the connection.
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class HttpHandler(BaseHTTPRequestHandler):
    """Records each request and responds with the next status of the server. Subclasses add methods or change it."""

    protocol_version = "HTTP/1.1"
    server: HttpServer

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            try:
                self.request.do_handshake()
            except OSError:
                # Unread data at the end would turn the alert into a reset before the client reads it.
                with suppress(OSError):
                    self.request.shutdown(socket.SHUT_WR)
                    while self.request.recv(65536):
                        pass
                raise
        super().setup()

    def do_GET(self) -> None:
        self.record()
        self.respond(self.server.next_status())

    do_POST = do_GET  # noqa: N815

    def record(self) -> None:
        """Read the request's body and record the request."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (peer or {}).get("subject", ())
        name = next((value for ((key, value),) in subject if key == "commonName"), None)
        self.server.received.append(ReceivedRequest(self.requestline, headers, body, name))

    def respond(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        if self.server.content_type is not None:
            self.send_header("Content-Type", self.server.content_type)
        for name, value in (*headers, ("Content-Length", str(len(self.server.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
