"""A host that answers every request with the same bytes, for measuring clients and nothing else."""

from __future__ import annotations

import socket
import sys
import threading

BODY = b"a" * 300 + b"." + b"b" * 1200 + b"." + b"c" * 342
ANSWER = b"\r\n".join(
    [
        b"HTTP/1.1 201 Created",
        b"Content-Type: application/jwt",
        b"v-c-correlation-id: 5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
        b"Date: Sun, 22 Nov 2026 12:00:00 GMT",
        b"Content-Length: %d" % len(BODY),
        b"",
        BODY,
    ]
)


def serve(connection: socket.socket) -> None:
    with connection:
        data = b""
        while True:
            chunk = connection.recv(65536)
            if not chunk:
                return
            data += chunk
            head, found, body = data.partition(b"\r\n\r\n")
            if not found:
                continue
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            if len(body) >= length:
                data = body[length:]
                connection.sendall(ANSWER)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
