"""Contexts, tokens and keys of the emulator against a model of docs/emulator.md: issue, use up, expire, rotate.

Requests are signed and encrypted without the SDK and sent over HTTP. The emulator's clock is an argument.
"""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

from cybersource_flex.emulator import Emulator, Merchant
from support.emulator_client import (
    CARD,
    CARD_FIELDS,
    DETAILS,
    KEYS,
    NOW,
    SESSIONS,
    TOKENS,
    Clock,
    Response,
    card_data,
    encrypt_data,
    jwt_headers,
    one_time_key,
    requested_fields,
    send,
    verify_jwt,
)
from support.state_machines import machine_settings
from support.tokens import decode_jwt

PAYMENTS = "/pts/v2/payments"
MERCHANTS = [Merchant.generate("shop_one"), Merchant.generate("shop_two")]
# Seconds for which contexts and tokens are valid, the number of tokens for one context, and of stored long-term keys.
LIFETIME, USES, STORED_KEYS = 900, 2, 8
# Seconds after the last use for which a signed request is never accepted again: 120 s and twice the leeway of 60 s.
REPLAY = 240
merchants = st.sampled_from(MERCHANTS)
# Seconds after the end of a validity at which something is used. None: at the present time.
moments = st.sampled_from([None, None, -1, 0])


@dataclass
class Issued:
    """A capture context.

    Attributes:
        created_at: when it was issued, by the correct clock.
        expires_at: when it expires, by the emulator's clock.
        uses: the number of tokens for it.
    """

    jwt: str
    merchant: Merchant
    kid: str
    modulus: str
    created_at: int
    expires_at: int
    uses: int = 0


@dataclass(frozen=True)
class Token:
    jwt: str
    jti: str
    merchant: Merchant
    created_at: int
    expires_at: int


@dataclass(frozen=True)
class Sent:
    """A request that was accepted."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class EmulatorMachine(RuleBasedStateMachine):
    """Two merchants, their customers, and faults."""

    contexts: Bundle[Issued] = Bundle("contexts")
    tokens: Bundle[Token] = Bundle("tokens")

    @initialize()
    def start(self) -> None:
        self.clock = Clock(NOW)
        self.shift = 0
        self.emulator = Emulator(merchants=MERCHANTS, clock=self.clock, context_uses=USES)
        self.emulator.start()
        # The modulus of each key that can be fetched, the current one last.
        self.published: dict[str, str] = {}
        self.kids: set[str] = set()
        self.rotations = 0
        # A new context shows the kid of the first key.
        context = self._issue(MERCHANTS[0])
        kid = decode_jwt(context)[0]["kid"]
        self._publish(kid)

    def teardown(self) -> None:
        if hasattr(self, "emulator"):
            self.emulator.stop()
            del self.emulator
            # The next emulator uses the keys of this one, because generating keys is slow.
            gc.collect()

    @property
    def now(self) -> int:
        """The time of the emulator's clock."""
        return int(self.clock.now) + self.shift

    def _send(self, method: str, target: str, merchant: Merchant, content: Any = None) -> tuple[Response, Sent]:
        body = None if content is None else json.dumps(content).encode()
        headers = jwt_headers(self.emulator, method, target, body, now=self.now, merchant=merchant)
        sent = Sent(method, target, headers, body)
        return send(self.emulator, method, target, headers, body), sent

    def _issue(self, merchant: Merchant) -> str:
        response, self.last_sent = self._send("POST", SESSIONS, merchant, requested_fields(*CARD_FIELDS))
        assert response.status == 201, response
        return response.content

    def _publish(self, kid: str) -> None:
        """Note that a key with this kid is the current one."""
        response, _ = self._send("GET", f"{KEYS}{kid}", MERCHANTS[0])
        assert response.status == 200, response
        self.kids.add(kid)
        self.published.pop(kid, None)
        self.published[kid] = response.json["n"]
        for oldest in list(self.published)[:-STORED_KEYS]:
            del self.published[oldest]

    # Time and faults

    @rule(seconds=st.sampled_from([1, 60, LIFETIME - 1, LIFETIME, LIFETIME + 1]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    def _wait_until(self, end: int, moment: int | None) -> None:
        """Let time pass until ``moment`` seconds after ``end``, by the emulator's clock. None does not wait."""
        if moment is not None:
            self.clock.now += max(0, end + moment - self.now)

    @rule(shift=st.sampled_from([0, 300]))
    def the_clock_is_shifted(self, shift: int) -> None:
        self.emulator.shift_clock(shift)
        self.shift = shift

    @rule()
    def faults_are_reset(self) -> None:
        self.emulator.reset_faults()
        self.shift = 0

    @rule()
    def the_emulator_is_restarted(self) -> None:
        url = self.emulator.url
        self.emulator.stop()
        self.emulator.start()
        assert self.emulator.url == url

    @precondition(lambda self: self.rotations <= STORED_KEYS)
    @rule(same_kid=st.booleans(), times=st.sampled_from([1, 1, STORED_KEYS - 1]))
    def the_key_is_rotated(self, same_kid: bool, times: int) -> None:
        for _ in range(1 if same_kid else times):
            self.rotations += 1
            current = list(self.published)[-1]
            moduli = set(self.published.values())
            kid = self.emulator.rotate_key(same_kid=same_kid)
            assert (kid == current) if same_kid else (kid not in self.published)
            self._publish(kid)
            assert self.published[kid] not in moduli, "the key was used before"
        for kid in self.kids:
            self._fetch_key(kid)

    # Contexts

    @rule(target=contexts, merchant=merchants)
    def issue(self, merchant: Merchant) -> Issued:
        jwt = self._issue(merchant)
        header, claims = decode_jwt(jwt)
        kid = list(self.published)[-1]
        assert header["kid"] == kid
        assert (claims["iat"], claims["exp"]) == (self.now, self.now + LIFETIME)
        return Issued(jwt, merchant, kid, self.published[kid], int(self.clock.now), claims["exp"])

    @rule(issued=contexts)
    def fetch_the_key_of_a_context(self, issued: Issued) -> None:
        key = self._fetch_key(issued.kid)
        if key is not None and key["n"] == issued.modulus:
            verify_jwt(issued.jwt, key)

    def _fetch_key(self, kid: str) -> dict[str, str] | None:
        response, _ = self._send("GET", f"{KEYS}{kid}", MERCHANTS[0])
        if kid not in self.published:
            assert response.status == 404
            return None
        assert response.status == 200, f"one of the last {STORED_KEYS} keys cannot be fetched"
        key: dict[str, str] = response.json
        assert key["n"] == self.published[kid]
        return key

    # Tokens

    @rule(target=tokens, issued=contexts, is_valid=st.sampled_from([True, True, True, False]))
    def tokenize(self, issued: Issued, is_valid: bool) -> Any:
        # A card number with a wrong check digit is rejected.
        card = CARD if is_valid else {**CARD, "number": "4111111111111112"}
        jwe = encrypt_data(issued.jwt, card_data(card))
        response = send(self.emulator, "POST", TOKENS, {"Content-Type": "application/jwt"}, jwe.encode())
        if self._error_of_tokenizing(issued, is_valid) is None:
            assert response.status == 201, response
            issued.uses += 1
            claims = verify_jwt(response.content, one_time_key(issued.jwt))
            assert (claims["iat"], claims["exp"]) == (self.now, self.now + LIFETIME)
            return Token(response.content, claims["jti"], issued.merchant, int(self.clock.now), claims["exp"])
        assert response.status == 400, response
        assert response.json["responseStatus"]["reason"] in self._error_of_tokenizing(issued, is_valid)
        return multiple()

    def _error_of_tokenizing(self, issued: Issued, is_valid: bool) -> list[str] | None:
        """The possible reasons of the error; None without an error."""
        if self.now >= issued.expires_at:
            expired, unknown = "CAPTURE_CONTEXT_EXPIRED", "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"
            # A context that expired long ago is forgotten at some time.
            return [expired] if self.clock.now <= issued.created_at + 2 * LIFETIME else [expired, unknown]
        if issued.uses >= USES:
            return ["CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"]
        return None if is_valid else ["CREATE_TOKEN_VALIDATION_SERVERSIDE"]

    @rule(target=tokens, merchant=merchants, moment=moments)
    def issue_and_use_up(self, merchant: Merchant, moment: int | None) -> Any:
        issued = self.issue(merchant)
        self._wait_until(issued.expires_at, moment)
        created = [self.tokenize(issued, is_valid) for is_valid in (False, *[True] * (USES + 1))]
        return multiple(*(token for token in created if isinstance(token, Token)))

    @rule(issued=contexts, seconds=st.sampled_from([1, LIFETIME, LIFETIME + 1]))
    def use_after_the_end(self, issued: Issued, seconds: int) -> None:
        self._wait_until(issued.expires_at, seconds)
        # The emulator forgets contexts when it stores another one.
        self._issue(issued.merchant)
        self.tokenize(issued, True)

    @rule(token=tokens, is_owner=st.booleans(), moment=moments)
    def use_token(self, token: Token, is_owner: bool, moment: int | None) -> None:
        self._wait_until(token.expires_at, moment)
        merchant = token.merchant if is_owner else next(each for each in MERCHANTS if each is not token.merchant)
        is_accepted = is_owner and self.now < token.expires_at
        response, _ = self._send("GET", f"{DETAILS}{token.jti}", merchant)
        assert response.status == (200 if is_accepted else 404), response
        for name, value in (("transientTokenJwt", token.jwt), ("jti", token.jti)):
            content = {
                "tokenInformation": {name: value},
                "orderInformation": {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}},
            }
            response, _ = self._send("POST", PAYMENTS, merchant, content)
            assert response.status == (201 if is_accepted else 400), response

    @rule(merchant=merchants, moment=st.sampled_from([-1, 0]))
    def use_a_new_token(self, merchant: Merchant, moment: int) -> None:
        token = self.tokenize(self.issue(merchant), True)
        self.use_token(token, False, None)
        self.use_token(token, True, moment)

    # Signed requests

    @rule(merchant=merchants, seconds=st.sampled_from([0, 59, 61, 120, 179, 180, REPLAY, REPLAY + 1]))
    def send_a_request_twice(self, merchant: Merchant, seconds: int) -> None:
        """A signature is accepted once, also when the emulator has forgotten older ones."""
        self._issue(merchant)
        sent = self.last_sent
        self.clock.now += seconds
        self._issue(merchant)
        assert send(self.emulator, sent.method, sent.target, sent.headers, sent.body).status == 401


TestEmulator = EmulatorMachine.TestCase
TestEmulator.settings = machine_settings(22, 20)
