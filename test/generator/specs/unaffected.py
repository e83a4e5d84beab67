"""Code that must keep working after a change elsewhere. The tests run it in a copy of the project."""

import importlib
import pkgutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import cybersource_flex
from cybersource_flex import ApiClient, Configuration, FlexAPIApi
from cybersource_flex.auth import JwtSharedSecret


@contextmanager
def flex(status: int, media_type: str, body: bytes, requests: list[str] | None = None) -> Iterator[FlexAPIApi]:
    """The generated class with a server that returns this response to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if requests is not None:
                requests.append(f"{self.command} {self.path} {self.headers['Accept']}")
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 (the name that the base class looks for)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            auth = JwtSharedSecret("merchant", key_id="id", secret_key="c2VjcmV0" * 6)
            host = f"http://127.0.0.1:{server.server_port}"
            with ApiClient(Configuration(host=host, auth=auth)) as client:
                yield FlexAPIApi(client)
        finally:
            server.shutdown()
            thread.join()


def everything_imports() -> None:
    for module in pkgutil.walk_packages(cybersource_flex.__path__, "cybersource_flex."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def an_operation_works() -> None:
    requests: list[str] = []
    with flex(200, "application/json", b'{"card": {"number": "XXXXXXXXXXXX1111"}}', requests) as api:
        assert api.get_payment_details("A-B") == {"card": {"number": "XXXXXXXXXXXX1111"}}
    assert requests == ["GET /flex/v2/payment-details/A-B application/json"]


if __name__ == "__main__":
    everything_imports()
    an_operation_works()
    print("unaffected: ok")
