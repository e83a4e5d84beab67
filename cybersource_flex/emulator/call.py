"""What the handler of an operation is given."""

from __future__ import annotations

from dataclasses import dataclass

from .authority import Caller
from .exchange import Received
from .merchants import Merchant
from .scenarios import Scenario
from .state import Settings, State


@dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes:
        argument: the last path segment where the operation has one, percent-decoded.
        caller: who was authenticated; None for the two operations without credentials.
        scenario: what goes wrong.
    """

    state: State
    request: Received
    argument: str = ""
    caller: Caller | None = None
    scenario: Scenario | None = None

    @property
    def settings(self) -> Settings:
        return self.state.settings

    @property
    def merchant(self) -> Merchant:
        """The authenticated merchant."""
        if self.caller is None:
            raise RuntimeError("this operation is not authenticated")
        return self.caller.merchant

    def plays(self, name: str) -> Scenario | None:
        """The scenario, if it is that one."""
        return self.scenario if self.scenario is not None and self.scenario.name == name else None
