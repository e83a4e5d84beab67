"""A shop that uses Microform: creates contexts, verifies posted tokens and pays, with one page for each step."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cybersource_flex import FlexClient

_STORAGE_KEY = "a key of the shop's servers"
_SCRIPT = """
const flex = new Flex(document.body.dataset.captureContext);
const microform = flex.microform("card");
microform.createField("number").load("#number-container");
microform.createField("securityCode").load("#code-container");
const form = document.querySelector("form");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  microform.createToken({ expirationMonth: "12", expirationYear: "2031" }, (error, token) => {
    if (!error) {
      form.token.value = JSON.stringify(token);
      form.submit();
    }
  });
});
"""


class FlexShop:
    """Serves ``/checkout``, ``/pay`` and ``/thanks`` until it is closed. Every payment is of the same amount.

    Attributes:
        url: origin of the pages.
        statuses: the statuses of the payments, oldest first.
    """

    def __init__(self, client: FlexClient, amount: str = "21.00") -> None:
        self.statuses: list[str] = []
        self._client, self._amount = client, amount
        self._stored = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def checkout(self) -> tuple[str, dict[str, str]]:
        """The page with the form, and its headers."""
        context = self._client.create_microform_context(
            target_origins=[self.url], allowed_card_networks=["VISA", "MASTERCARD"]
        )
        self._stored = self._client.store_capture_context(context, _STORAGE_KEY, session_id="one customer")
        sources = {"default-src": ["'self'"], "img-src": ["data:"], **context.csp_sources()}
        sources["script-src"] = [*sources["script-src"], "'self'"]
        page = (
            f'<!DOCTYPE html><link rel="icon" href="data:,"><title>Checkout</title>{context.script_tag()}'
            f'<body data-capture-context="{context.jwt}"><form action="/pay" method="post">'
            '<div id="number-container"></div><div id="code-container"></div><input type="hidden" name="token">'
            '<button>Pay</button></form><script src="/checkout.js"></script>'
        )
        return page, {"Content-Security-Policy": "; ".join(f"{name} {' '.join(s)}" for name, s in sources.items())}

    def pay(self, posted: str) -> str:
        """Verify the token of the form, and pay. Returns the path of the next page."""
        token = self._client.verify_posted_token(posted, self._stored, _STORAGE_KEY, session_id="one customer")
        order = {"amountDetails": {"totalAmount": self._amount, "currency": "USD"}}
        body = {"orderInformation": order, "tokenInformation": {"transientTokenJwt": token.jwt}}
        status = str(self._client.request("POST", "/pts/v2/payments", json=body).data["status"])
        self.statuses.append(status)
        return "/thanks" if status == "AUTHORIZED" else "/declined"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/checkout":
                    body, headers = shop.checkout()
                    self._send(200, body, "text/html; charset=utf-8", headers)
                elif self.path == "/checkout.js":
                    self._send(200, _SCRIPT, "text/javascript", {})
                else:
                    page = f'<!DOCTYPE html><link rel="icon" href="data:,"><title>{self.path[1:]}</title>'
                    self._send(200, page, "text/html; charset=utf-8", {})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode("utf-8"))
                self._send(303, "", "text/plain", {"Location": shop.pay(form["token"][0])})

            def _send(self, status: int, body: str, media_type: str, headers: dict[str, str]) -> None:
                self.send_response(status)
                content = body.encode("utf-8")
                for name, value in {"Content-Type": media_type, "Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler
