"""The studio: a page of the emulator that shows each step of the Flex API, a checkout, scenarios and the request log.

The page signs, verifies and encrypts in the browser with the Web Cryptography API, so each message is sent by the page
and not by this package. It is served on loopback only, because it shows the credentials of the emulator's merchants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qs

from ...errors import ConfigurationError
from .. import jose
from ..auth.credentials import Merchant
from ..faults.scenario_selector import ScenarioSelector
from ..faults.scenarios import SCENARIOS
from ..operations import payments
from ..server.error_responses import ApiError, Reason
from ..server.messages import RecordedRequest, RequestLog, Response, json_response
from ..server.request_context import RequestContext
from . import static_files

FILES = ("studio.js", "requests.js", "studio.css", "icon.svg", static_files.JOSE_SCRIPT)

_PAGE = "studio/index.html"
# Requests that the page lists at most.
_LISTED = 200


class Studio:
    """The handlers of the studio's page and of the data that the page reads and changes.

    Args:
        merchants: the emulator's merchants.
        claim_format: the accepted variant of each claim for which only one is accepted.
        environ: returns the environment variables for a client of the first merchant.
        scenarios: selects the scenarios of requests. The page sets the default scenario.
        request_log: the received requests.
        hosts: values of `Host` that a browser on this machine may send.
    """

    def __init__(
        self,
        *,
        merchants: Sequence[Merchant],
        claim_format: Mapping[str, str],
        environ: Callable[[], Mapping[str, str]],
        scenarios: ScenarioSelector,
        request_log: RequestLog,
        hosts: Iterable[str],
    ) -> None:
        self._merchants, self._claim_format, self._environ = merchants, claim_format, environ
        self._scenarios, self._request_log = scenarios, request_log
        self._hosts = frozenset(host.lower() for host in hosts)

    def page(self, context: RequestContext) -> Response:
        """`GET /`: the page. Browsers are sent to the name `localhost`, the only loopback origin of Microform pages."""
        host = self._check_host(context)
        name, colon, port = host.rpartition(":")
        if (name if colon else host) in ("127.0.0.1", "[::1]"):
            scheme = context.store.origin.partition("://")[0]
            return Response(307, "", b"", (("location", f"{scheme}://localhost{colon}{port}/"),), from_flex=False)
        origin = context.store.origin
        policy = (
            f"default-src 'none'; script-src 'self' {origin}; style-src 'self'; img-src 'self'; connect-src 'self'; "
            f"frame-src {origin}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return static_files.file_response(
            _PAGE, ("content-security-policy", policy), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")
        )

    def file(self, context: RequestContext) -> Response:
        """`GET /studio/{file}`: a script, the style sheet or the icon of the page."""
        self._check_host(context)
        return static_files.file_of("studio", context.request.path.rpartition("/")[2])

    def state(self, context: RequestContext) -> Response:
        """`GET /studio/state`: what the page needs to sign requests, and the variables and scenarios to show."""
        self._check_same_origin(context)
        default = self._scenarios.default
        merchant = next((each for each in self._merchants if each.key_id and each.secret_key), None)
        value = {
            "origin": context.store.origin,
            "merchant": merchant
            and {
                "merchantId": merchant.merchant_id,
                "keyId": merchant.key_id,
                "secretKey": merchant.secret_key,
                "portfolioId": merchant.portfolio_id,
            },
            "claimFormat": dict(self._claim_format),
            "environ": dict(self._environ()),
            "scenario": None if default is None else str(default),
            "scenarios": [{"usage": kind.usage, "description": kind.description} for kind in SCENARIOS.values()],
            "declinedAmounts": [f"{amount}.00" for amount in payments.DECLINED_AMOUNTS],
        }
        return self._uncached(value)

    def requests(self, context: RequestContext) -> Response:
        """`GET /studio/requests?after=...`: the received requests after the one with this correlation id."""
        self._check_same_origin(context)
        after = parse_qs(context.request.target.partition("?")[2]).get("after", [""])[0]
        records = self._request_log.all()
        position = next((index for index, each in enumerate(records) if each.correlation_id == after), None)
        new = records[-_LISTED:] if position is None else records[position + 1 :][-_LISTED:]
        return self._uncached({"complete": position is None, "requests": [_summary(each) for each in new]})

    def set_scenario(self, context: RequestContext) -> Response:
        """`POST /studio/scenario`: set the default scenario, or remove it with null."""
        self._check_same_origin(context)
        try:
            scenario = jose.parse_object(context.request.body).get("scenario")
        except ValueError:
            raise ApiError(400, Reason.INVALID_DATA, "The body is not a JSON object") from None
        try:
            self._scenarios.set_default(scenario)
        except ConfigurationError as error:
            raise ApiError(400, Reason.INVALID_DATA, str(error)) from None
        return self._uncached({"scenario": scenario})

    def _check_host(self, context: RequestContext) -> str:
        """Reject other names of this machine: a page of another site could reach the studio under its own name."""
        host = context.request.headers.get("host", "").lower()
        if host not in self._hosts:
            raise ApiError(403, Reason.FORBIDDEN, "The studio is available as localhost only")
        return host

    def _check_same_origin(self, context: RequestContext) -> None:
        """Reject requests that come from any other page than the studio's."""
        host = self._check_host(context)
        headers = context.request.headers
        scheme = context.store.origin.partition("://")[0]
        if headers.get("sec-fetch-site") != "same-origin" or headers.get("origin", f"{scheme}://{host}") != (
            f"{scheme}://{host}"
        ):
            raise ApiError(403, Reason.FORBIDDEN, "Only the studio's page may read this")

    @staticmethod
    def _uncached(value: object) -> Response:
        return replace(json_response(200, value, from_flex=False), headers=(("cache-control", "no-store"),))


def _summary(record: RecordedRequest) -> dict[str, object]:
    """What the page lists of a request. Headers and bodies contain credentials and are left out."""
    return {
        "id": record.correlation_id,
        "time": record.received_at,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "scheme": record.scheme,
        "merchant": record.merchant_id,
        "reason": record.rejection_reason,
        "scenario": record.scenario,
        "remarks": list(record.remarks),
    }
