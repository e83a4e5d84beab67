"""Stored capture contexts against a model of docs/trust.md, "Authenticate a stored context", and docs/errors.md.

Contexts are issued, stored with and without a key, moved to other sessions, mixed, and restored, while both clocks and
the long-term keys change. All times are multiples of ten seconds, except the difference of the clocks. Therefore no
measured time of the host is near a limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from cybersource_flex import CaptureContext, FlexClient, errors
from cybersource_flex.jose import PinnedKeys, PublicKey, verify_capture_context
from support.blocking_client import BlockingAsyncClient
from support.fake_time import FakeTime
from support.keys import LONG_TERM, MERCHANT, ONE_TIME, jwk
from support.state_machines import machine_settings, sync_and_async_tests
from support.tokens import capture_context_claims, sign_jwt, transient_token_claims

NOW = 1_800_000_000
# Seconds: how long contexts and tokens are valid, and by how much clocks may differ.
LIFETIME, LEEWAY = 900, 30
# The keys and session ids that a program may pass.
SECRETS = [b"the key of all our servers", b"another key of 16 bytes"]
secrets = st.sampled_from([None, *SECRETS])
sessions = st.sampled_from(["", "", "session-1", "session-2"])
# Without a key, a session id is a mistake, which is tried less often.
macs = st.one_of(st.just((None, "")), st.tuples(st.sampled_from(SECRETS), sessions), st.tuples(secrets, sessions))
Mac = tuple[bytes | None, str]
mostly = st.sampled_from([True, True, False])
# Seconds after the end of a validity at which a value is verified. None: at the present time.
moments = st.sampled_from([None, None, -10, 0])


@dataclass(frozen=True)
class Issued:
    """A context of the host, and what its long-term key was."""

    context: CaptureContext
    one_time_kid: str
    kid: str
    key: str
    issued_at: int


@dataclass(frozen=True)
class Token:
    jwt: str
    issued: Issued
    issued_at: int


@dataclass(frozen=True)
class Stored:
    """A stored string.

    Attributes:
        mac: key and session id of its MAC. None without a MAC, and ``"invalid"`` for a MAC that does not match.
    """

    value: str
    issued: Issued
    mac: Mac | str | None


class Keys:
    """The long-term keys that the host publishes, which change."""

    def __init__(self) -> None:
        self.published = {"zz": LONG_TERM, "yy": MERCHANT}

    def get(self, kid: str) -> PublicKey:
        if kid not in self.published:
            raise errors.UnknownKeyError("no such key")
        return PublicKey(jwk(self.published[kid], kid))

    def refresh(self, kid: str) -> PublicKey | None:
        return self.get(kid) if kid in self.published else None


class AsyncKeys:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def get(self, kid: str) -> PublicKey:
        return self._keys.get(kid)

    async def refresh(self, kid: str) -> PublicKey | None:
        return self._keys.refresh(kid)


class StorageMachine(RuleBasedStateMachine):
    """A shop's server, its customers, and attackers who can write what a customer's browser stores."""

    is_async: bool
    tokens: Bundle[Token] = Bundle("tokens")
    stored: Bundle[Stored] = Bundle("stored")

    @initialize()
    def start(self) -> None:
        self.local = NOW
        # The host's clock minus this machine's when it was measured, and how far this machine's was set since then.
        self.measured: int | None = None
        self.change = 0
        self.time = FakeTime(wall=NOW)
        self.keys = Keys()
        self.numbers = count()
        url = "http://127.0.0.1:9"
        if type(self).is_async:
            self.client: Any = BlockingAsyncClient(None, environment=url, keys=AsyncKeys(self.keys))
        else:
            self.client = FlexClient(None, environment=url, keys=self.keys)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.__exit__(None, None, None)
            self.time.close()

    @rule(seconds=st.sampled_from([10, 30, 850, 900, 930]))
    def time_passes(self, seconds: int) -> None:
        self.local += seconds
        self.time.advance(seconds)

    @rule(seconds=st.sampled_from([-1000, -60, 60]))
    def this_machines_clock_is_set(self, seconds: int) -> None:
        self.local += seconds
        self.time.wall = self.local
        self.change += seconds

    @rule(difference=st.sampled_from([5, -5, 45, -45, 405, -405, 1005]))
    def the_host_responds(self, difference: int) -> None:
        self.measured, self.change = difference, 0
        date = formatdate(self.local + difference, usegmt=True)
        self.client.clock.observe_date(date, sent=float(self.local), received=float(self.local))

    @rule(kid=st.sampled_from(["zz", "yy"]), key=st.sampled_from([LONG_TERM, MERCHANT, None]))
    def a_long_term_key_changes(self, kid: str, key: str | None) -> None:
        if key is None:
            self.keys.published.pop(kid, None)
        else:
            self.keys.published[kid] = key

    @rule(
        target=stored,
        kid=st.sampled_from(["zz", "yy"]),
        ahead=st.sampled_from([0, 0, 30, 40, 410]),
        mac=macs,
    )
    def issue(self, kid: str, ahead: int, mac: Mac) -> Any:
        key = self.keys.published.get(kid)
        if key is None:
            return multiple()
        issued_at, one_time_kid = self.local + ahead, f"one-{next(self.numbers)}"
        claims = capture_context_claims(issued_at, jti=f"{one_time_kid:-<16}")
        claims["flx"]["jwk"] = jwk(ONE_TIME, one_time_kid)
        token = sign_jwt(key, {"kid": kid, "alg": "RS256"}, claims)
        context = verify_capture_context(token, PinnedKeys([jwk(key, kid)]), now=issued_at)
        return self._store(Issued(context, one_time_kid, kid, key, issued_at), mac)

    @rule(target=stored, stored=stored, mac=macs)
    def store_again(self, stored: Stored, mac: Mac) -> Any:
        return self._store(stored.issued, mac)

    def _store(self, issued: Issued, mac: Mac) -> Any:
        secret, session = mac

        def store() -> Any:
            return self.client.store_capture_context(issued.context, secret, session_id=session)

        if secret is None and session:
            assert_raises(errors.ConfigurationError, store)
            return multiple()
        return Stored(store(), issued, None if secret is None else mac)

    @rule(target=tokens, stored=stored, ahead=st.sampled_from([0, 0, 30, 40]))
    def tokenize(self, stored: Stored, ahead: int) -> Token:
        issued, issued_at = stored.issued, self.local + ahead
        header = {"kid": issued.one_time_kid, "alg": "RS256"}
        return Token(sign_jwt(ONE_TIME, header, transient_token_claims(issued_at)), issued, issued_at)

    @staticmethod
    def _mix(body: Stored, other: Stored | None) -> Stored:
        """The content of a string with the MAC of another one, or without a MAC."""
        content = body.value.rpartition(".")[0]
        if other is None or other.mac is None:
            return Stored(f"{content}.", body.issued, None)
        mac = other.mac if other.issued == body.issued else "invalid"
        return Stored(f"{content}.{other.value.rpartition('.')[2]}", body.issued, mac)

    @rule(stored=stored, other=macs, is_own=mostly, moment=moments)
    def restore(self, stored: Stored, other: Mac, is_own: bool, moment: int | None) -> None:
        self._wait_until(stored.issued.issued_at + 2 * LIFETIME + LEEWAY, moment)
        secret, session = mac = self._own_mac(stored) if is_own else other
        expected = self._error_of_restoring(stored, mac)

        def restore() -> Any:
            return self.client.restore_capture_context(stored.value, secret, session_id=session)

        if expected is not None:
            assert_raises(expected, restore)
        else:
            assert restore() == stored.issued.context

    @rule(stored=stored, moment=st.sampled_from([-10, 0]))
    def restore_at_the_end(self, stored: Stored, moment: int) -> None:
        self.restore(stored, (None, ""), is_own=True, moment=moment)

    @rule(stored=stored, secret=secrets, session=sessions, keeps_secret=st.booleans())
    def restore_elsewhere(self, stored: Stored, secret: bytes | None, session: str, keeps_secret: bool) -> None:
        """On a server with another key, or in another session."""
        own_secret, own_session = self._own_mac(stored)
        other = (own_secret, session) if keeps_secret else (secret, own_session)
        self.restore(stored, other, is_own=False, moment=None)

    @rule(stored=stored, mac=stored)
    def restore_with_another_mac(self, stored: Stored, mac: Stored) -> None:
        """An attacker combines the content of one string with the MAC of another one, or removes the MAC."""
        own = self._own_mac(stored)
        self.restore(self._mix(stored, mac), own, is_own=False, moment=None)
        self.restore(self._mix(stored, None), own, is_own=False, moment=None)

    @rule(stored=stored, token=tokens, other=macs, is_own=mostly, moment=moments)
    def verify_posted_token(self, stored: Stored, token: Token, other: Mac, is_own: bool, moment: int | None) -> None:
        self._wait_until(token.issued_at + LIFETIME + LEEWAY, moment)
        secret, session = mac = self._own_mac(stored) if is_own else other
        expected = self._error_of_restoring(stored, mac) or self._error_of_token(stored, token)

        def verify() -> Any:
            return self.client.verify_posted_token(token.jwt, stored.value, secret, session_id=session)

        if expected is not None:
            assert_raises(expected, verify)
        else:
            assert verify().jwt == token.jwt

    def _wait_until(self, end: int, moment: int | None) -> None:
        """Let time pass until ``moment`` seconds after ``end``, by the clock that is ahead. None does not wait."""
        if moment is not None:
            # The times of this machine stay multiples of ten.
            self.time_passes(max(0, (end + moment - self._latest_time() + 5) // 10 * 10))

    @staticmethod
    def _own_mac(stored: Stored) -> Mac:
        return stored.mac if isinstance(stored.mac, tuple) else (None, "")

    def _error_of_restoring(self, stored: Stored, mac: Mac) -> type[Exception] | None:
        issued = stored.issued
        if mac[0] is None and mac[1]:
            return errors.ConfigurationError
        if stored.mac is not None or mac[0] is not None:
            if stored.mac != mac:
                return errors.InvalidSignatureError
        elif issued.kid not in self.keys.published:
            return errors.UnknownKeyError
        elif self.keys.published[issued.kid] != issued.key:
            return errors.InvalidSignatureError
        # A token from the last second of the context is valid for one lifetime more.
        if self._latest_time() >= issued.issued_at + 2 * LIFETIME + LEEWAY:
            return errors.ExpiredTokenError
        # A context with a MAC was verified before.
        if stored.mac is None and issued.issued_at > self._latest_time() + LEEWAY:
            return errors.TokenNotYetValidError
        return None

    def _error_of_token(self, stored: Stored, token: Token) -> type[Exception] | None:
        if token.issued != stored.issued:
            return errors.UnknownKeyError
        if self._latest_time() >= token.issued_at + LIFETIME + LEEWAY:
            return errors.ExpiredTokenError
        if token.issued_at > self.local + LEEWAY:
            return errors.TokenNotYetValidError
        return None

    def _latest_time(self) -> int:
        """The time of the clock that is ahead. The other one never makes a token valid for longer."""
        difference = None if self.change else self.measured
        return self.local + max(0, difference or 0)


def assert_raises(expected: type[Exception], function: Callable[[], object]) -> None:
    with pytest.raises(errors.FlexError) as raised:
        function()
    assert type(raised.value) is expected, f"{raised.value!r} instead of {expected.__name__}"


TestSyncStorage, TestAsyncStorage = sync_and_async_tests(StorageMachine, machine_settings(120, 30))
