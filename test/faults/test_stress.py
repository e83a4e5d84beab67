"""What the pages say of threads and forks: one client, shared by all of them at once."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cybersource_flex import FlexClient, fields
from cybersource_flex.auth import BearerToken, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import KeyCache

THREADS = 32
ROUNDS = 12
# Each asks for other fields, so that an answer that reached somebody else is seen.
NAMES = ("expirationMonth", "expirationYear", "securityCode", "type")
# Numbers that differ in what a token shows of them.
NUMBERS = ("4111111111111111", "5555555555554444", "378282246310005", "4622943127013705")

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT TESTED: this system has no fork")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FlexClient]:
    emulator.clear()
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, pool_size=THREADS) as made:
        yield made


def round_trip(client: FlexClient, who: int) -> None:
    """The five steps with data of one's own, and what came back is one's own."""
    name = NAMES[who % len(NAMES)]
    number = NUMBERS[who // len(NAMES) % len(NUMBERS)]
    context = client.create_capture_context(fields(card=["number", f"{name}?"]))
    assert context.optional_fields == (f"paymentInformation.card.{name}",)
    token = client.tokenize(context, {"card": {"number": number}})
    shown = "X" * (len(number) - 4) + number[-4:]
    assert token.masked_number == shown
    assert client.payment_details(token)["paymentInformation"]["card"]["number"] == shown


def test_threads_share_a_client_and_each_gets_its_own_answers(client: FlexClient, emulator: Emulator) -> None:
    begin = threading.Barrier(THREADS)

    def work(who: int) -> int:
        begin.wait(10)
        for _ in range(ROUNDS):
            round_trip(client, who)
        return who

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(work, range(THREADS))) == list(range(THREADS))
    asked = [request.target for request in emulator.requests]
    assert sum("public-keys" in target for target in asked) == 1
    assert len(asked) == 3 * THREADS * ROUNDS + 1


def test_closing_meanwhile_costs_connections_and_no_call(client: FlexClient) -> None:
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            client.close()

    closing = threading.Thread(target=close)
    closing.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(round_trip, client, who) for who in range(48)]:
                each.result()
    finally:
        done.set()
        closing.join()


def in_child(work: Callable[[], None]) -> int:
    """Fork, work in the child, and return its process id. It leaves with 0 if nothing was raised."""
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of a fork with threads. That is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    left = 1
    try:
        # A deadlock ends too, and not with 0.
        signal.alarm(30)
        work()
        left = 0
    finally:
        os._exit(left)


def all_left_well(processes: list[int]) -> None:
    statuses = [os.waitpid(process, 0)[1] for process in processes]
    assert [os.waitstatus_to_exitcode(status) for status in statuses] == [0] * len(processes)


@forks
def test_forked_processes_share_the_client_and_no_connection(client: FlexClient, emulator: Emulator) -> None:
    for who in range(4):
        round_trip(client, who)  # there are idle connections to inherit

    def work(first: int) -> None:
        for who in range(first, first + 24):
            round_trip(client, who)

    processes = [in_child(lambda first=first: work(first)) for first in (1, 2, 3)]  # type: ignore[misc]
    work(0)
    all_left_well(processes)
    # What a child was answered, the parent was not: nothing is left over on its connections.
    work(0)
    asked = [request.target for request in emulator.requests]
    assert asked.count("/flex/v2/sessions") == asked.count("/flex/v2/tokens") == 4 + 24 * 5


@forks
def test_a_fork_in_the_middle_of_calls_leaves_no_lock_behind(client: FlexClient) -> None:
    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            client.close()
            round_trip(client, 5)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        all_left_well([in_child(lambda: round_trip(client, 6)) for _ in range(12)])
    finally:
        done.set()
        for thread in threads:
            thread.join()


@forks
def test_a_fork_while_a_key_is_fetched() -> None:
    under_way, go_on = threading.Event(), threading.Event()
    mine = os.getpid()
    jwk = {"kty": "RSA", "kid": "3g", "e": "AQAB", "n": "u" * 341 + "w"}

    def fetch(kid: str) -> dict[str, str]:
        if os.getpid() == mine:
            under_way.set()
            go_on.wait(20)
        return jwk

    keys = KeyCache(fetch)
    thread = threading.Thread(target=keys.get, args=("3g",))
    thread.start()
    under_way.wait(10)
    try:
        # The thread that fetches is not in the child: it must fetch for itself, and may.
        all_left_well([in_child(lambda: assert_key(keys))])
    finally:
        go_on.set()
        thread.join()
    assert_key(keys)


def assert_key(keys: KeyCache) -> None:
    assert keys.get("3g").kid == "3g"


@forks
def test_a_fork_while_an_access_token_is_fetched() -> None:
    under_way, go_on = threading.Event(), threading.Event()
    mine = os.getpid()

    def fetch() -> str:
        if os.getpid() == mine:
            under_way.set()
            go_on.wait(20)
        return "token"

    token = BearerToken(fetch)

    def sign() -> None:
        assert token.sign(None, 0.0) == {"Authorization": "Bearer token"}  # type: ignore[arg-type]

    thread = threading.Thread(target=sign)
    thread.start()
    under_way.wait(10)
    try:
        all_left_well([in_child(sign)])
    finally:
        go_on.set()
        thread.join()
