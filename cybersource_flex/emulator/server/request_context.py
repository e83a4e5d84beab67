"""The state of one request while it is handled: what was received, who sent it, which scenario applies."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..auth.auth_context import Caller
from ..auth.credentials import Merchant
from ..faults.scenarios import Scenario
from ..operations.store import Settings, Store
from .messages import ReceivedRequest


@dataclass
class RequestContext:
    """One request, passed to the handler of its operation.

    Attributes:
        request: the request as received.
        path_argument: the variable last segment of the path, percent-decoded; empty if the operation has none.
        received_monotonic: when the head of the request was received, on the clock of `time.monotonic`.
        caller: the authenticated caller; None for operations without credentials.
        decrypted_body: plaintext of an encrypted body; None when the body is not encrypted.
        scenario: the scenario selected for the request.
        scenario_error: what is wrong with the scenario that the request's header names.
        remarks: undocumented parts of a request that is accepted anyway.
        observations: names of the observations of the real host that the response imitates.
        succeeded: whether the operation was carried out successfully, even if its response is then broken.
    """

    store: Store
    request: ReceivedRequest
    correlation_id: str
    client_certificate: str | None
    received_monotonic: float
    path_argument: str = ""
    caller: Caller | None = None
    decrypted_body: bytes | None = None
    scenario: Scenario | None = None
    scenario_error: str | None = None
    succeeded: bool = False
    remarks: list[str] = field(default_factory=list)
    observations: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        return self.store.settings

    @property
    def body(self) -> bytes:
        """The request body, decrypted if it was encrypted."""
        return self.request.body if self.decrypted_body is None else self.decrypted_body

    @property
    def merchant(self) -> Merchant:
        """The authenticated merchant."""
        if self.caller is None:
            raise RuntimeError("this operation is not authenticated")
        return self.caller.merchant

    def active_scenario(self, name: str) -> Scenario | None:
        """The request's scenario if it has this name, otherwise None."""
        return self.scenario if self.scenario is not None and self.scenario.name == name else None
