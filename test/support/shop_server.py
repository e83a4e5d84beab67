"""A shop's web server for browser tests: pages at http://localhost, with the Content-Security-Policy that they need."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from support.tokens import decode_jwt

# Without an icon, browsers ask for /favicon.ico.
_ICON = '<link rel="icon" href="data:,">'
_THANKS = f"<!DOCTYPE html><title>Thanks</title>{_ICON}<p>paid</p>".encode()


class ShopServer:
    """Serves pages until it is closed.

    Attributes:
        url: origin of the pages.
        pages: body, media type and further headers by path.
        posted: the fields of the forms that were posted, oldest first.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[bytes, str, dict[str, str]]] = {}
        self.posted: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, path: str, body: str, media_type: str = "text/html; charset=utf-8", **headers: str) -> str:
        """Serve a file. Returns its URL."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (body.encode("utf-8"), media_type, named)
        return self.url + path

    def add_checkout(self, context: str, path: str = "/checkout", *, body: str = "", emulator_url: str = "") -> str:
        """Serve a page with the containers of all fields, the capture context, and Microform's script.

        The page's policy allows only what the guide names. The test drives Microform through the page's variables.
        """
        claims = decode_jwt(context)[1]
        data = claims["ctx"][0]["data"]
        origin = emulator_url or data["mfOrigin"]
        policy = (
            f"default-src 'none'; script-src {origin}; frame-src {origin}; child-src {origin}; "
            "style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'"
        )
        containers = "".join(
            f'<div id="{name}-container" class="container"></div>'
            for name in ("number", "securityCode", "routingNumber", "accountNumber", "accountNumberConfirm")
        )
        self.add("/style.css", ".container { height: 38px; width: 300px; border: 1px solid }", "text/css")
        page = (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
            f'{_ICON}<link rel="stylesheet" href="/style.css">'
            f'<script src="{data["clientLibrary"]}" integrity="{data["clientLibraryIntegrity"]}" '
            'crossorigin="anonymous"></script></head>'
            f'<body data-context="{context}"><button id="before">before</button>{containers}{body}'
            '<form action="/pay" method="post"><input type="hidden" name="token"><button id="pay">Pay</button></form>'
            "</body></html>"
        )
        return self.add(path, page, content_security_policy=policy)

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body, media_type, headers = shop.pages.get(
                    self.path.partition("?")[0], (b"not found", "text/plain", {})
                )
                self.send_response(200 if self.path.partition("?")[0] in shop.pages else 404)
                self._send(body, media_type, headers)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode("utf-8"))
                shop.posted.append({name: values[0] for name, values in form.items()})
                self.send_response(200)
                self._send(_THANKS, "text/html; charset=utf-8", {})

            def _send(self, body: bytes, media_type: str, headers: dict[str, str]) -> None:
                for name, value in {"content-type": media_type, **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler
