"""``tokenize_many``: order, failed items, back-pressure, interruptions, and card data in tracebacks and logs."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cybersource_flex import AsyncFlexClient, FlexClient, RetryPolicy, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import TEST_CARDS, Card
from cybersource_flex.client import TokenizeResult
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import Canaries

VISA = TEST_CARDS["visa"]
VALID_DATA = {"card": {"number": VISA, "expirationMonth": "12", "expirationYear": "2099", "securityCode": "123"}}
REJECTED_DATA = {"card": {"number": VISA[:-1] + "2"}}
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def host() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(host: Emulator) -> Iterator[Emulator]:
    host.reset_faults()
    host.clear()
    yield host
    host.reset_faults()
    assert not workers()


@pytest.fixture
def threaded(emulator: Emulator) -> Iterator[FlexClient]:
    """A synchronous client, for ``KeyboardInterrupt``, which would end an event loop."""
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        yield client


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flex-tokenize")]


def sent(emulator: Emulator, path: str) -> int:
    return sum(record.target == path for record in emulator.requests)


def test_results_are_in_the_order_of_the_items(client: FlexClient, emulator: Emulator) -> None:
    numbers = [VISA, TEST_CARDS["mastercard"], TEST_CARDS["amex"], TEST_CARDS["jcb"]] * 5
    # Some responses are delayed, so that later ones arrive first.
    emulator.inject_random_faults(rate=0.3, seed=3, scenarios=["latency;seconds=0.05"], path="/flex/v2/tokens")
    results = list(client.tokenize_many({"card": {"number": number}} for number in numbers))
    assert [result.index for result in results] == list(range(20))
    assert [result.token and result.token.masked_number and result.token.masked_number[-4:] for result in results] == [
        number[-4:] for number in numbers
    ]
    assert all(result.error is None for result in results)


def test_every_item_has_a_separate_context_for_its_fields(client: FlexClient, emulator: Emulator) -> None:
    billed = {**VALID_DATA, "bill_to": {"firstName": "Ann"}, "orderInformation.amountDetails.currency": "USD"}
    with Card(VISA, expiration="12/99") as card:
        results = list(client.tokenize_many([VALID_DATA, VALID_DATA, card, billed], concurrency=2))
    contexts = [result.context for result in results]
    assert len({context.jti for context in contexts if context}) == 4
    requested = [set(context.required_fields) for context in contexts if context]
    names = ("number", "expirationMonth", "expirationYear", "securityCode")
    assert requested[0] == requested[1] == {f"paymentInformation.card.{name}" for name in names}
    assert requested[2] == {f"paymentInformation.card.{name}" for name in (*names[:3], "type")}
    assert requested[3] == requested[0] | {
        "orderInformation.billTo.firstName",
        "orderInformation.amountDetails.currency",
    }
    for result in results:
        assert result.token is not None
        assert result.context is not None
        assert client.verify_transient_token(result.token.jwt, result.context) == result.token


def test_fields_argument(client: FlexClient) -> None:
    selected = fields(card=["number", "securityCode?"])
    first, second = client.tokenize_many([{"card": {"number": VISA}}, VALID_DATA], fields=selected)
    assert first.context is not None
    assert first.context.optional_fields == ("paymentInformation.card.securityCode",)
    assert isinstance(second.error, errors.InvalidDataError)
    assert second.error.field == "paymentInformation.card.expirationMonth"


def test_one_context_for_all_items(client: FlexClient, emulator: Emulator) -> None:
    context = client.create_capture_context(fields(card=["number"]))
    emulator.clear()
    results = list(client.tokenize_many([{"card": {"number": VISA}}] * 12, context=context, concurrency=3))
    assert sent(emulator, "/flex/v2/sessions") == 0
    # The emulator accepts ten uses of a context.
    assert sum(result.error is None for result in results) == 10
    assert {type(result.error) for result in results if result.error} == {errors.BadRequestError}


def test_a_context_in_the_item(client: FlexClient, emulator: Emulator) -> None:
    context = client.create_capture_context(fields(card=["number"]))
    item = (context, {"card": {"number": VISA}})
    first, second, third = client.tokenize_many([item, VALID_DATA, (context,)])  # type: ignore[list-item]
    assert first.context is context
    assert second.context is not context
    assert isinstance(third.error, errors.InvalidDataError)
    # A context needs no credentials.
    with FlexClient(None, environment=emulator.url) as client_without_auth:
        first, second = client_without_auth.tokenize_many([item, VALID_DATA])
    assert first.token is not None
    assert isinstance(second.error, errors.ConfigurationError)


def test_a_failed_item_does_not_stop_the_others(client: FlexClient, emulator: Emulator) -> None:
    class RaisingDict(dict[str, Any]):
        def items(self) -> Any:
            raise OSError(VISA)

    invalid: list[Any] = [REJECTED_DATA, 7, {"card": {"number": 7}}, {"card": {"pin": "1"}}, {}, {VISA: "1"}]
    items = [each for data in [*invalid, RaisingDict()] for each in (data, VALID_DATA)]
    progress: list[tuple[int, int]] = []
    results = list(client.tokenize_many(items, progress=lambda done, failed: progress.append((done, failed))))
    assert all(result.token is not None and result.error is None for result in results[1::2])
    assert all(result.token is None and result.context is None for result in results[::2])
    assert [type(result.error) for result in results[::2]] == [
        errors.BadRequestError,
        *[errors.InvalidDataError] * 5,
        OSError,
    ]
    assert [done for done, _ in progress] == list(range(1, 15))
    assert [failed for _, failed in progress] == sorted(failed for _, failed in progress)
    assert progress[-1] == (14, 7)
    assert VISA not in repr(results)
    assert "number: 7" not in repr(results)


def test_the_error_of_a_failed_call_has_its_outcome(client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios(["reset-after-request"], path="/flex/v2/tokens")
    (failed,) = client.tokenize_many([VALID_DATA])
    assert isinstance(failed.error, errors.ConnectionBrokenError)
    assert failed.error.outcome == "unknown"
    assert sent(emulator, "/flex/v2/tokens") == 1
    emulator.queue_scenarios(["reset-after-request"], path="/flex/v2/tokens")
    (repeated,) = client.tokenize_many([VALID_DATA], retry=RetryPolicy(initial_delay=0.01, retry_unsafe=True))
    assert repeated.error is None


class ItemSource:
    """An iterable of items. ``taken`` is the number of items that were taken."""

    def __init__(self, *, end: int | None = None, raises: bool = False) -> None:
        self.taken = 0
        self._end, self._raises = end, raises

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while self._end is None or self.taken < self._end:
            self.taken += 1
            yield VALID_DATA
        if self._raises:
            raise LookupError("the source failed")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_items_are_taken_with_back_pressure(client: FlexClient, concurrency: int, ordered: bool) -> None:
    source = ItemSource()
    results = client.tokenize_many(source, concurrency=concurrency, ordered=ordered)
    assert source.taken == 0
    for consumed in range(1, 20):
        assert next(results).error is None
        assert consumed <= source.taken <= consumed + 2 * concurrency
        assert len(workers()) <= concurrency
    results.close()
    assert not workers()


def test_as_many_items_are_tokenized_at_the_same_time_as_concurrency_says(threaded: FlexClient) -> None:
    # More threads than Python starts if it is not told a number, on any machine.
    together = threading.Barrier(40)

    class Meeting(dict[str, Any]):
        """Card data that can only be read when all items are being tokenized."""

        def items(self) -> Any:
            together.wait(30)
            raise LookupError("all met")

    results = threaded.tokenize_many([Meeting(VALID_DATA)] * 40, fields=fields(card=["number"]), concurrency=40)
    assert {type(result.error) for result in results} == {LookupError}


def test_the_error_of_pickling_a_failure_does_not_show_the_data(client: FlexClient) -> None:
    class Unreadable(dict[str, Any]):
        def items(self) -> Any:
            raise OSError(VISA)

    invalid, raised = client.tokenize_many([{"card": {"pin": "1"}}, Unreadable()])
    assert pickle.loads(pickle.dumps(invalid)).index == 0  # noqa: S301
    with pytest.raises(TypeError, match=r"cannot be pickled .*: a OSError may contain the data") as caught:
        pickle.dumps(raised)
    assert VISA not in str(caught.value)


def test_a_slow_first_item_limits_the_others(client: FlexClient, emulator: Emulator) -> None:
    source = ItemSource(end=40)
    emulator.queue_scenarios(["latency;seconds=0.3"], path="/flex/v2/tokens")
    progress: list[int] = []
    results = client.tokenize_many(source, concurrency=2, progress=lambda done, failed: progress.append(done))
    assert next(results).index == 0
    assert source.taken <= 4
    assert len(list(results)) == 39


def test_unordered_results(client: FlexClient, emulator: Emulator) -> None:
    # The first item is delayed, so the second worker returns later items first.
    emulator.queue_scenarios(["latency;seconds=0.5"], path="/flex/v2/tokens")
    results = [result.index for result in client.tokenize_many([VALID_DATA] * 6, concurrency=2, ordered=False)]
    assert sorted(results) == list(range(6))
    assert results != sorted(results)


def test_closing_the_iterator_starts_no_further_items(client: FlexClient, emulator: Emulator) -> None:
    source = ItemSource()
    results = client.tokenize_many(source, concurrency=2)
    assert next(results).error is None
    results.close()
    assert not workers()
    assert sent(emulator, "/flex/v2/sessions") <= source.taken <= 4
    with pytest.raises(StopIteration):
        next(results)


def test_an_interruption_ends_all_threads() -> None:
    # A separate emulator, because requests that the previous test cancelled may still arrive at the shared one.
    with Emulator() as emulator, FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        assert_interrupted(client, emulator, KeyboardInterrupt)


def test_an_exception_of_progress_leaves_no_item_in_progress(client_class: type[FlexClient]) -> None:
    with Emulator() as emulator, client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        assert_interrupted(client, emulator, RuntimeError)


def assert_interrupted(client: FlexClient, emulator: Emulator, exception_class: type[BaseException]) -> None:
    """Raise an exception from ``progress`` after the first item. No thread and no further request may remain."""

    def interrupt(done: int, failed: int) -> None:
        raise exception_class

    # The first item ends at once. Then both workers are busy, and the fourth item has not started.
    emulator.queue_scenarios(["ok", *["latency;seconds=2"] * 3], path="/flex/v2/tokens")
    source = ItemSource()
    with pytest.raises(exception_class):
        list(client.tokenize_many(source, concurrency=2, progress=interrupt))
    assert not workers()
    assert sent(emulator, "/flex/v2/sessions") <= 3
    assert source.taken <= 4


def test_items_in_progress_are_yielded_before_an_exception_of_the_source(client: FlexClient) -> None:
    results = client.tokenize_many(ItemSource(end=5, raises=True), concurrency=2)
    yielded: list[TokenizeResult] = []
    with pytest.raises(LookupError, match="the source failed"):
        yielded.extend(result for result in results)
    # `extend` keeps the results before the exception.
    assert [result.index for result in yielded] == list(range(5))
    assert all(result.error is None for result in yielded)


def test_no_items(client: FlexClient, emulator: Emulator) -> None:
    assert list(client.tokenize_many([])) == []
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 256"),
        ({"concurrency": 257}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"concurrency": 2.5}, "concurrency must be"),
        ({"progress": 1}, "progress must be a function"),
        ({"fields": ["number"]}, "fields must be CaptureFields"),
        ({"context": "ey..."}, "context must be a verified CaptureContext"),
    ],
)
def test_arguments_are_checked_immediately(client: FlexClient, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message):
        client.tokenize_many([VALID_DATA], **arguments)


def test_fields_cannot_be_combined_with_a_context(client: FlexClient) -> None:
    context = client.create_capture_context(fields(card=["number"]))
    with pytest.raises(errors.ConfigurationError, match="fields and context were both passed"):
        client.tokenize_many([VALID_DATA], context=context, fields=fields(card=["number"]))


def test_cards_are_not_in_tracebacks(client: FlexClient, emulator: Emulator) -> None:
    """Neither are they in results, in the local variables of exceptions, in logs or in output."""
    emulator.inject_random_faults(rate=0.5, seed=7, scenarios=["status-500", "reset-during", "html-502", "truncated"])
    with Canaries() as canaries:
        number = canaries.plant("card number", "4622943127013705")
        code = canaries.plant("security code", "739")
        card = {"number": number, "securityCode": code, "expirationMonth": "12", "expirationYear": "2099"}
        items: list[Any] = [{"card": card}] * 16 + [
            {"card": {**card, "expirationMonth": "13"}},
            {"card": {number: code}},
        ]
        items.append({"card": {**card, "number": [number]}})
        results = list(client.tokenize_many(items, retry=ONCE))
        failed = [result.error for result in results if result.error is not None]
        assert len(failed) >= 5
        for result in results:
            canaries.search(repr(result), "the result")
        for error in failed:
            canaries.watch(error, allow=("body", "headers", "data"))
            canaries.search("".join(traceback.format_exception(error)), "the traceback")
            trace = error.__traceback__
            while trace is not None:
                assert not trace.tb_frame.f_locals, trace.tb_frame
                trace = trace.tb_next


def test_cards_are_not_in_tracebacks_of_an_interruption(threaded: FlexClient) -> None:
    with Canaries() as canaries:
        number = canaries.plant("card number", "4622943127013705")

        def interrupt(done: int, failed: int) -> None:
            raise KeyboardInterrupt

        def begin(results: Iterator[TokenizeResult]) -> None:
            with pytest.raises(KeyboardInterrupt) as caught:
                next(results)
            canaries.watch(caught.value)

        begin(threaded.tokenize_many([{"card": {"number": number}}] * 5, progress=interrupt))


class Rows:
    """Yields a row, then raises an exception with a message. Its own frame contains no card when it raises."""

    def __init__(self, row: dict[str, Any], message: str) -> None:
        self._rows = [row]
        self._message = message

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._rows:
            return self._rows.pop()
        message = self._message
        del self._message
        raise LookupError(message)


class AsyncRows(Rows):
    def __aiter__(self) -> AsyncRows:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return next(self)


def test_cards_are_not_in_tracebacks_of_an_iterable_that_raises(client: FlexClient) -> None:
    async_classes = [AsyncRows] if not isinstance(client, FlexClient) else []
    with Canaries() as canaries:
        number = canaries.plant("card number", "4622943127013705")
        for iterable_class in (Rows, *async_classes):
            with pytest.raises(LookupError, match="bad row") as caught:
                list(client.tokenize_many(iterable_class({"card": {"number": number}}, "bad row")))
            frames = [frame.frame for frame in caught.traceback]
            assert any("bulk.py" in frame.code.path.name for frame in frames)  # type: ignore[union-attr]
            for frame in frames:
                if "cybersource_flex" in str(frame.code.path):
                    canaries.search(repr(frame.f_locals), f"the variables of {frame.code.name}")


def test_asyncio_debug_mode_does_not_show_cards(emulator: Emulator) -> None:
    """In debug mode, asyncio logs each slow task with its result or exception."""

    async def use(canaries: Canaries) -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.0
        number = canaries.plant("card number", "4622943127013705")
        canaries.plant("secret", emulator.auth["secret_key"])
        data = {"card": {"number": number, "securityCode": canaries.plant("security code", "739")}}
        async with AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
            sources: list[Any] = [[data], AsyncRows(data, f"bad row {number}"), Rows(data, f"bad row {number}")]
            for source in sources:
                with suppress(LookupError):
                    async for result in client.tokenize_many(source):
                        canaries.plant("token", result.token.jwt)  # type: ignore[union-attr]
            request = client.create_capture_context(fields(card=["number", "securityCode"]))
            context = await asyncio.create_task(request)
            canaries.plant("context", context.jwt)
            token = await asyncio.create_task(client.tokenize(context, data))
            canaries.plant("token of a task", token.jwt)

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        with Canaries() as canaries:
            asyncio.run(use(canaries), debug=True)
            canaries.search(log.getvalue(), "the log of asyncio")
    finally:
        logger.removeHandler(handler)
    assert "Executing <Task finished" in log.getvalue()
    assert "LookupError" not in log.getvalue()


def test_the_repr_of_a_result_does_not_contain_its_token(client: FlexClient) -> None:
    (result,) = client.tokenize_many([VALID_DATA])
    assert result.token is not None
    assert result.token.jwt not in repr(result)
    with pytest.raises(AttributeError):
        result.token = None  # type: ignore[misc]
